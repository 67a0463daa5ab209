package peers;

import java.nio.file.Path;
import java.time.Duration;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/**
 * Flink as its documents have it: a Kafka source, a function that has its model from {@code open}, a Kafka sink; in its own small cluster in this process.
 *
 * <p>Guarantee: exactly once from topic to topic, by transactions that end with the checkpoints. The function gets one record at a time.
 */
public final class Flink {
    /** Verdicts can be read after the checkpoint that holds them, so this is also how late they are. */
    private static final Duration CHECKPOINT_EVERY = Duration.ofSeconds(1);

    private Flink() {}

    /** The model belongs to a task, not to the job, so it is loaded where the task runs. */
    private static final class Scoring extends RichMapFunction<byte[], byte[]> {
        private final String bundle;
        private final String model;
        private transient Scorer scorer;

        private Scoring(String bundle, String model) {
            this.bundle = bundle;
            this.model = model;
        }

        @Override
        public void open(OpenContext context) throws Exception {
            scorer = new Scorer(Path.of(bundle), model);
        }

        @Override
        public byte[] map(byte[] record) {
            return scorer.verdict(record);
        }
    }

    /** A record's bytes as they are. */
    private static final class Bytes implements SerializationSchema<byte[]>, DeserializationSchema<byte[]> {
        @Override
        public byte[] serialize(byte[] record) {
            return record;
        }

        @Override
        public byte[] deserialize(byte[] record) {
            return record;
        }

        @Override
        public boolean isEndOfStream(byte[] record) {
            return false;
        }

        @Override
        public TypeInformation<byte[]> getProducedType() {
            return PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO;
        }
    }

    public static void main(String[] arguments) throws Exception {
        String servers = arguments[0];
        String group = arguments[1];
        Configuration settings = new Configuration();
        // One task moves little, and nothing of it is sorted or kept.
        settings.set(TaskManagerOptions.NETWORK_MEMORY_MIN, MemorySize.ofMebiBytes(32));
        settings.set(TaskManagerOptions.NETWORK_MEMORY_MAX, MemorySize.ofMebiBytes(32));
        settings.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ZERO);
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(1, settings);
        environment.enableCheckpointing(CHECKPOINT_EVERY.toMillis());
        KafkaSource<byte[]> reviews = KafkaSource.<byte[]>builder()
                .setBootstrapServers(servers)
                .setGroupId(group)
                .setTopics(arguments[2])
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setValueOnlyDeserializer(new Bytes())
                .build();
        KafkaSink<byte[]> verdicts = KafkaSink.<byte[]>builder()
                .setBootstrapServers(servers)
                .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                .setTransactionalIdPrefix(group)
                .setProperty("transaction.timeout.ms", "600000")
                .setRecordSerializer(KafkaRecordSerializationSchema.<byte[]>builder()
                        .setTopic(arguments[3])
                        .setValueSerializationSchema(new Bytes())
                        .build())
                .build();
        environment.fromSource(reviews, WatermarkStrategy.noWatermarks(), "reviews")
                .map(new Scoring(arguments[4], arguments[5]))
                .returns(PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO)
                .sinkTo(verdicts);
        environment.execute(group);
    }
}
