# shellcheck shell=bash
# Apache Cassandra: the daemon on a bare JVM, node i at 127.0.0.i.

# Only the clients' port; the nodes' own talk has a port elsewhere.
cassandra_port_count() {
    echo 1
}

cassandra_addresses() {
    local node addresses=
    for ((node = 1; node <= NODES; node++)); do
        addresses+=${addresses:+,}127.0.0.$node:$PORT
    done
    echo "$addresses"
}

cassandra_prepare() {
    [[ -z $ADVERTISE ]] || die "--advertise is for Kafka"
    [[ -n $STORAGE_PORT ]] || choose_ports STORAGE_PORT 1
    cassandra_write_logging
    local node
    for ((node = 1; node <= NODES; node++)); do
        mkdir -p "$DIR/node$node/triggers"
        cassandra_write_settings "$node"
    done
}

# Nodes join one after the other: a node that finds none of the others begins a ring of its own.
cassandra_launch() { # NODE
    local folder=$DIR/node$1 classes agent name
    if [[ $ENGINE == docker ]]; then
        classes='/opt/cassandra/lib/*' agent=/opt/cassandra/lib/jamm-0.4.0.jar
    else
        classes="$(jars_folder cassandra)/*" agent=$(jars_folder cassandra)/jamm-0.4.0.jar
    fi
    ARGUMENTS=("-javaagent:$agent" -Djdk.attach.allowAttachSelf=true)
    # What Cassandra 5 opens for itself on a JDK 17 (its conf/jvm17-server.options).
    for name in java.base/jdk.internal.misc java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry \
        java.rmi/sun.rmi.server java.sql/java.sql java.base/java.lang.ref jdk.unsupported/sun.misc \
        java.rmi/sun.rmi.transport.tcp; do
        ARGUMENTS+=("--add-exports=$name=ALL-UNNAMED")
    done
    for name in java.base/java.lang.module java.base/jdk.internal.loader java.base/jdk.internal.ref \
        java.base/jdk.internal.reflect java.base/jdk.internal.math java.base/jdk.internal.module \
        java.base/jdk.internal.util.jar jdk.management/com.sun.management.internal java.base/sun.nio.ch java.base/java.io \
        java.base/java.nio java.base/java.util.concurrent java.base/java.util java.base/java.util.concurrent.atomic \
        java.base/java.lang java.base/java.math java.base/java.lang.reflect java.base/java.net; do
        ARGUMENTS+=("--add-opens=$name=ALL-UNNAMED")
    done
    ARGUMENTS+=("-Xms${HEAP:-512m}" "-Xmx${HEAP:-512m}" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss512k
        -XX:MaxDirectMemorySize=256m -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true -Djava.net.preferIPv4Stack=true
        "-Dcassandra.config=file://$folder/cassandra.yaml" "-Dcassandra.storagedir=$folder" "-Dcassandra.logdir=$folder"
        "-Dcassandra.triggers_dir=$folder/triggers" "-Dlogback.configurationFile=$DIR/logback.xml"
        -Dcassandra-foreground=yes -Dcassandra.jmx.local.port=0
        -Dcassandra.available_processors=2 -Dio.netty.eventLoopThreads=2
        # The cluster is new and all on one machine: nothing to wait for.
        -Dcassandra.ring_delay_ms=100 -Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.superuser_setup_delay_ms=0
        "-Dcassandra.system_auth.default_rf=$NODES")
    if ((FAST)); then
        # Without these two, every change of a schema is flushed. With them, a node that was killed does not know its latest
        # tables, and skips in its commit log what was written to them.
        ARGUMENTS+=(-Dcassandra.unsafesystem=true -Dcassandra.test.flush_local_schema_changes=false)
    fi
    ARGUMENTS+=(-cp "$classes" org.apache.cassandra.service.CassandraDaemon)
    node_launch "$1"
}

cassandra_wait() { # NODE OFFSET
    node_wait "$1" "$2" "Starting listening for CQL clients" "127.0.0.$1" "$PORT"
}

# What is left to do once all nodes of a cluster run.
cassandra_settle() {
    ((SECURE == 0)) || cql_create_role
}

cassandra_write_logging() {
    cat >"$DIR/logback.xml" <<'XML'
<configuration scan="false">
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss.SSS} %-5level [%thread] %logger{1}: %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
XML
}

cassandra_write_settings() { # NODE
    local folder=$DIR/node$1 node seeds='' property
    local file=$folder/cassandra.yaml
    for ((node = 1; node <= NODES; node++)); do
        seeds+=${seeds:+,}127.0.0.$node:$STORAGE_PORT
    done
    # The ring in equal parts; 2^64 / 1, 2 or 3 in numbers that wrap as the ring does.
    local steps=(0 0 -9223372036854775808 6148914691236517205)
    cat >"$file" <<YAML
cluster_name: $(basename "$DIR")-$STORAGE_PORT
num_tokens: 1
initial_token: $((-9223372036854775807 - 1 + steps[NODES] * ($1 - 1)))
auto_bootstrap: false
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "$seeds"
listen_address: 127.0.0.$1
rpc_address: 127.0.0.$1
native_transport_port: $PORT
storage_port: $STORAGE_PORT
start_native_transport: true
data_file_directories: [$folder/data]
commitlog_directory: $folder/commitlog
saved_caches_directory: $folder/saved_caches
hints_directory: $folder/hints
cdc_enabled: false
commitlog_segment_size: 8MiB
commitlog_total_space: 256MiB
commitlog_disk_access_mode: legacy
memtable_heap_space: 96MiB
memtable_offheap_space: 64MiB
memtable_allocation_type: heap_buffers
concurrent_reads: 8
concurrent_writes: 32
concurrent_counter_writes: 4
concurrent_materialized_view_writes: 2
concurrent_compactors: 1
native_transport_max_threads: 16
file_cache_size: 64MiB
networking_cache_size: 32MiB
key_cache_size: 8MiB
counter_cache_size: 4MiB
row_cache_size: 0MiB
prepared_statements_cache_size: 8MiB
disk_access_mode: mmap_index_only
disk_failure_policy: die
commit_failure_policy: die
auto_snapshot: false
snapshot_before_compaction: false
materialized_views_enabled: false
user_defined_functions_enabled: false
authorizer: AllowAllAuthorizer
read_request_timeout: 5000ms
range_request_timeout: 10000ms
write_request_timeout: 5000ms
request_timeout: 10000ms
YAML
    if ((FAST)); then
        printf '%s\n' "commitlog_sync: periodic" "commitlog_sync_period: 10000ms" >>"$file"
    else
        # An acknowledged write must outlive SIGKILL. In periodic mode it does not, though it is in mapped memory: a replay reads
        # up to the last marker, and a marker is set every 100 ms only. In batch mode the marker is set, and the file synced,
        # before the acknowledgement; writers that wait share one sync.
        echo "commitlog_sync: batch" >>"$file"
    fi
    if ((SECURE)); then
        cat >>"$file" <<YAML
authenticator: PasswordAuthenticator
role_manager: CassandraRoleManager
client_encryption_options:
  enabled: true
  optional: false
  ssl_context_factory:
    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory
  keystore: $DIR/secure/server.pem
  require_client_auth: false
YAML
    else
        echo "authenticator: AllowAllAuthenticator" >>"$file"
    fi
    for property in ${PROPS[@]+"${PROPS[@]}"}; do
        set_property "$file" ": " "$property"
    done
}
