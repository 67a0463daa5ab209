# shellcheck shell=bash
# Apache Kafka in KRaft mode: each node is broker and controller, but for two that are one of them each (--controller-apart).

# Clients and controller of each node in turn, then for each node the port of the brokers' own talk (used with --secure), then
# the listener of --advertise.
kafka_port_count() {
    echo $((3 * NODES + 1))
}

kafka_client_port() { # NODE
    echo $((PORT + 2 * ($1 - 1)))
}

# How many nodes are brokers; they are the first.
kafka_brokers() {
    if ((APART)); then echo 1; else echo "$NODES"; fi
}

kafka_addresses() {
    local node addresses=''
    for ((node = 1; node <= $(kafka_brokers); node++)); do
        addresses+=${addresses:+,}127.0.0.1:$(kafka_client_port "$node")
    done
    echo "$addresses"
}

kafka_prepare() {
    ((NODES == 1)) || [[ -z $ADVERTISE ]] || die "--advertise is for one node"
    rm -f "$DIR/proxied"
    [[ -z $ADVERTISE ]] || echo "127.0.0.1:$((PORT + 3 * NODES))" >"$DIR/proxied"
    kafka_write_logging
    # A random id each, so that no node ever takes part in another test's cluster: 16 bytes in the base64 of URLs, which the
    # replacements keep from looking like an option.
    [[ -f $DIR/cluster-id ]] || head -c 16 /dev/urandom | base64 | tr '+/' 'ab' | tr -d '=' >"$DIR/cluster-id"
    local node formats=()
    for ((node = 1; node <= NODES; node++)); do
        kafka_write_properties "$node"
        if [[ ! -f $DIR/data$node/meta.properties ]]; then
            kafka_format "$node" >"$DIR/format$node.log" 2>&1 &
            formats+=($!)
        fi
    done
    local format
    for format in ${formats[@]+"${formats[@]}"}; do
        wait "$format" || {
            cat "$DIR"/format*.log >&2
            die "formatting the data folder failed: see above"
        }
    done
}

kafka_format() { # NODE
    kafka_java 128m kafka.tools.StorageTool format --cluster-id "$(<"$DIR/cluster-id")" --config "$DIR/node$1.properties"
    if ((SECURE)); then
        ARGUMENTS+=(--add-scram "SCRAM-SHA-256=[name=$(<"$DIR/secure/user"),password=$(<"$DIR/secure/password")]")
    fi
    run_tool
}

# Sets ARGUMENTS to what `java` takes.
kafka_java() { # HEAP CLASS ARGUMENT...
    local classes
    if [[ $ENGINE == docker ]]; then classes='/opt/kafka/libs/*'; else classes="$(jars_folder kafka)/*"; fi
    # Short runs on few cores: the quick compiler and the small collector start faster and share the machine.
    ARGUMENTS=(-Xms64m "-Xmx$1" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss512k -XX:+ExitOnOutOfMemoryError
        -Djava.awt.headless=true "-Dlog4j2.configurationFile=$DIR/log4j2.yaml")
    if [[ $ENGINE == jvm ]]; then
        # A JVM that the archive does not fit goes without it.
        [[ ! -s $(kafka_archive) ]] || ARGUMENTS+=("-XX:SharedArchiveFile=$(kafka_archive)")
        [[ -z ${ARCHIVE_TO:-} || $2 != kafka.Kafka ]] || ARGUMENTS+=("-XX:ArchiveClassesAtExit=$ARCHIVE_TO")
    fi
    ARGUMENTS+=(-cp "$classes" "${@:2}")
}

# Where the classes of Kafka are, loaded and verified, for the JVM to map: a start then takes half the time.
kafka_archive() {
    local java
    java=$(stat --dereference --format '%n %Y %s' "$JAVA" | sha256sum)
    echo "$(jars_folder kafka)-${java:0:12}.jsa"
}

# Lets a broker run once and leave the archive.
kafka_archive_classes() {
    [[ ! -e $(kafka_archive) ]] || return 0
    (
        flock 9
        archive=$(kafka_archive)
        [[ ! -e $archive ]] || exit 0
        say "archiving Kafka's classes, once, for faster starts"
        DIR=$(mktemp -d) KIND=kafka ENGINE=jvm NODES=1 SECURE=0 APART=0 ADVERTISE='' HEAP='' PROPS=() OWNER=$$ WIPE_AFTER=1
        choose_ports PORT "$(kafka_port_count)"
        save_settings
        start_watcher 9>&-
        ARCHIVE_TO=$archive.part
        if (kafka_prepare && start_nodes) && node_signal 1 TERM && node_wait_gone 1 "$READY_WAIT_MAX" && [[ -s $ARCHIVE_TO ]]; then
            mv "$ARCHIVE_TO" "$archive"
        else
            # It goes without; an empty file keeps the next start from another try.
            say "archiving failed; starts stay slower"
            : >"$archive"
        fi
        cluster_wipe
    ) 9>"$CACHE/archive.lock"
}

kafka_launch() { # NODE
    kafka_java "${HEAP:-256m}" kafka.Kafka "$DIR/node$1.properties"
    node_launch "$1"
}

kafka_wait() { # NODE OFFSET
    local port
    port=$(kafka_client_port "$1")
    # What is only a controller has no clients' port.
    (($1 <= $(kafka_brokers))) || port=$((port + 1))
    node_wait "$1" "$2" "Kafka Server started" 127.0.0.1 "$port"
}

kafka_settle() {
    :
}

kafka_write_logging() {
    cat >"$DIR/log4j2.yaml" <<'YAML'
Configuration:
  Appenders:
    Console:
      name: OUT
      PatternLayout: { pattern: "%d{ISO8601} %p %m (%c)%n" }
  Loggers:
    Root:
      level: INFO
      AppenderRef: { ref: OUT }
    Logger:
      - { name: org.apache.kafka.clients, level: WARN }
      - { name: state.change.logger, level: WARN }
YAML
}

kafka_write_properties() { # NODE
    local file=$DIR/node$1.properties roles=broker,controller node voters='' port property brokers
    brokers=$(kafka_brokers)
    for ((node = 1 + APART; node <= NODES; node++)); do
        voters+=${voters:+,}$node@127.0.0.1:$((PORT + 2 * (node - 1) + 1))
    done
    port=$(kafka_client_port "$1")
    local listeners=CLIENTS://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
    local advertised=CLIENTS://127.0.0.1:$port between=CLIENTS protocol=PLAINTEXT
    if ((APART && $1 <= brokers)); then
        roles=broker listeners=CLIENTS://127.0.0.1:$port
    elif ((APART)); then
        roles=controller listeners=CONTROLLER://127.0.0.1:$((port + 1)) advertised=
    fi
    if ((SECURE)); then
        protocol=SASL_SSL between=BROKERS
        local own=BROKERS://127.0.0.1:$((PORT + 2 * NODES + $1 - 1))
        listeners+=,$own advertised+=,$own
    fi
    if [[ -n $ADVERTISE ]]; then
        listeners+=,PROXIED://$(<"$DIR/proxied")
        advertised+=,PROXIED://127.0.0.1:$ADVERTISE
    fi
    local in_sync=$((brokers < 3 ? 1 : 2))
    cat >"$file" <<PROPERTIES
process.roles=$roles
node.id=$1
controller.quorum.voters=$voters
listeners=$listeners
${advertised:+advertised.listeners=$advertised}
listener.security.protocol.map=CLIENTS:$protocol,PROXIED:$protocol,BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=$between
controller.listener.names=CONTROLLER
log.dirs=$DIR/data$1
num.partitions=3
auto.create.topics.enable=true
default.replication.factor=$brokers
min.insync.replicas=$in_sync
offsets.topic.replication.factor=$brokers
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$brokers
transaction.state.log.min.isr=$in_sync
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=$brokers
share.coordinator.state.topic.min.isr=$in_sync
share.coordinator.state.topic.num.partitions=4
# A test says itself when its records go; records about long ago must not go before it looks.
log.retention.ms=-1
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=500
log.segment.bytes=67108864
log.cleaner.dedupe.buffer.size=8388608
# A dead node, member or transaction is noticed in seconds, so that tests of it take seconds.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1500
replica.lag.time.max.ms=5000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
num.network.threads=2
num.io.threads=2
PROPERTIES
    if ((SECURE)); then
        cat >>"$file" <<PROPERTIES
sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.clients.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.proxied.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location=$DIR/secure/server.pem
PROPERTIES
    fi
    for property in ${PROPS[@]+"${PROPS[@]}"}; do
        set_property "$file" = "$property"
    done
}
