package peers;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;

/** What one writes around the model in Java: a record with a review becomes a record with its verdict. */
final class Scorer {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String[] LABELS = {"negative", "positive"};
    private static final int TOKENS_MAX = 256;

    private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
    private final OrtSession session;
    private final HuggingFaceTokenizer tokenizer;

    Scorer(Path bundle, String model) throws IOException, OrtException {
        OrtSession.SessionOptions options = new OrtSession.SessionOptions();
        options.setIntraOpNumThreads(1);
        options.setInterOpNumThreads(1);
        session = environment.createSession(model, options);
        tokenizer = HuggingFaceTokenizer.newInstance(bundle.resolve("tokenizer.json"), Map.of("padding", "false", "truncation", "false"));
    }

    /** The first and the last half of the limit, as the bundle's manifest has it. */
    private static long[] cut(long[] ids) {
        if (ids.length <= TOKENS_MAX) {
            return ids;
        }
        long[] kept = Arrays.copyOf(ids, TOKENS_MAX);
        int first = TOKENS_MAX / 2;
        System.arraycopy(ids, ids.length - (TOKENS_MAX - first), kept, first, TOKENS_MAX - first);
        return kept;
    }

    byte[] verdict(byte[] record) {
        try {
            ObjectNode review = (ObjectNode) JSON.readTree(record);
            long[] ids = cut(tokenizer.encode(review.get("review").asText()).getIds());
            long[] mask = new long[ids.length];
            Arrays.fill(mask, 1);
            float[] logits;
            try (OnnxTensor idsTensor = OnnxTensor.createTensor(environment, new long[][] {ids});
                    OnnxTensor maskTensor = OnnxTensor.createTensor(environment, new long[][] {mask});
                    OrtSession.Result result = session.run(Map.of("input_ids", idsTensor, "attention_mask", maskTensor))) {
                logits = ((float[][]) result.get("logits").orElseThrow().getValue())[0];
            }
            double positive = 1 / (1 + Math.exp(logits[0] - logits[1]));
            ObjectNode verdict = JSON.createObjectNode();
            verdict.set("id", review.get("id"));
            verdict.set("review", review.get("review"));
            verdict.put("label", LABELS[logits[0] < logits[1] ? 1 : 0]);
            verdict.put("confidence", Math.max(positive, 1 - positive));
            verdict.putObject("probabilities").put(LABELS[0], 1 - positive).put(LABELS[1], positive);
            return JSON.writeValueAsBytes(verdict);
        } catch (IOException | OrtException error) {
            throw new IllegalStateException(error);
        }
    }
}
