# shellcheck shell=bash
# Both servers in one folder of the tree, at the ports where everybody expects them.

readonly PEOPLE=$ROOT/verdict-services

people_up() {
    [[ -z $DIR$PORT$NODE ]] || die "up takes no --dir, --port or --node: its folder is verdict-services, its ports are 9092 and 9042"
    local kafka cassandra
    kafka=$(person_starts kafka 9092)
    cassandra=$(person_starts cassandra 9042)
    cat <<TEXT

Kafka is at $kafka, CQL at $cassandra. For the three services, each in a terminal of its own:

    export VERDICT_KAFKA__BOOTSTRAP_SERVERS=$kafka VERDICT_STORE__URL=cql://$cassandra/verdict
    cargo run --release -- store migrate
    cargo run --release --bin ingest
    cargo run --release --bin processor
    cargo run --release --bin sink

dev/services down stops the servers, dev/services wipe removes their data as well.
TEXT
}

person_starts() { # KIND PORT
    local folder=$PEOPLE/$1
    if [[ -f $folder/settings ]] && "$SELF" status --dir "$folder" >/dev/null 2>&1; then
        say "$1 already runs"
        echo "127.0.0.1:$2"
    else
        "$SELF" start "$1" --dir "$folder" --port "$2"
    fi
}

people_down() {
    each_of_people stop
}

people_wipe() {
    each_of_people wipe
    if [[ -d $PEOPLE ]]; then rmdir --ignore-fail-on-non-empty "$PEOPLE"; fi
}

each_of_people() { # COMMAND
    local kind
    for kind in kafka cassandra; do
        [[ ! -f $PEOPLE/$kind/settings ]] || "$SELF" "$1" --dir "$PEOPLE/$kind"
    done
}
