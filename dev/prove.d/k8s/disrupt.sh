# shellcheck shell=bash
# An upgrade and a drained node, with everybody watching how many pods are ready meanwhile.

ready_pods() { # NAME
    k -n verdict get pods -l "app.kubernetes.io/name=$1" --no-headers 2>/dev/null | awk '$2 == "1/1" && $3 == "Running"' | wc -l
}

# Writes the least number of ready pods of NAME seen until the file STOP is there.
watch_ready() { # NAME STOP INTO
    local least=999 now
    while [[ ! -e $2 ]]; do
        now=$(ready_pods "$1")
        ((now < least)) && least=$now
        echo "$least" >"$3"
        sleep 0.1
    done
}

# Runs COMMAND while ingest, processor and sink are watched; sets LEAST_<name>.
watched() { # COMMAND...
    local stop=$DIR/stop name watchers=()
    rm -f "$stop"
    for name in ingest processor sink; do
        watch_ready "$name" "$stop" "$DIR/least-$name" &
        watchers+=($!)
    done
    "$@"
    touch "$stop"
    wait "${watchers[@]}"
    for name in ingest processor sink; do
        printf -v "LEAST_$name" %s "$(<"$DIR/least-$name")"
    done
}

roll() {
    local name
    sed "s#\(verdict/\(ingest\|processor\|sink\)\):$VERSION#\1:next#" "$DIR/rendered/three.yaml" | k apply --server-side -f - >/dev/null
    for name in deployment/ingest statefulset/processor statefulset/sink; do
        k -n verdict rollout status "$name" --timeout=240s >/dev/null || die "the upgrade of $name does not end"
    done
}

drain() {
    local node
    for node in node-1 node-2; do
        k drain "$node" --ignore-daemonsets --delete-emptydir-data --timeout=180s >"$DIR/drain.log" 2>&1 || die "draining $node: $(tail -n 3 "$DIR/drain.log")"
        within 180 "the pods of $node run elsewhere" settled
    done
}

# The PDB's own word: of two evictions in a row the second is refused.
evict_two() { # NAME
    local pod said refused=0
    for pod in $(k -n verdict get pods -l "app.kubernetes.io/name=$1" -o jsonpath='{.items[*].metadata.name}' | cut -d' ' -f1,2); do
        said=$(printf '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"%s","namespace":"verdict"}}' "$pod" |
            k create --raw "/api/v1/namespaces/verdict/pods/$pod/eviction" -f - 2>&1) || {
            grep -q 'disruption budget' <<<"$said" || die "evicting $pod: $said"
            refused=$((refused + 1))
        }
    done
    ((refused == 1)) || die "of two evictions of $1 in a row $refused were refused"
}

prove_disruptions() {
    local name
    # Three of each, so that there is something to see.
    sed 's/^  replicas: 2$/  replicas: 3/' "$DIR/rendered/base.yaml" >"$DIR/rendered/three.yaml"
    k apply --server-side -f "$DIR/rendered/three.yaml" >/dev/null
    within 180 "three of each run" settled
    watched roll
    ((LEAST_ingest >= 3 && LEAST_processor >= 2 && LEAST_sink >= 2)) ||
        die "the upgrade left $LEAST_ingest, $LEAST_processor and $LEAST_sink of 3 ready"
    row "upgrade of three of each, least ready" "ingest $LEAST_ingest, processor $LEAST_processor, sink $LEAST_sink"
    figure upgrade "{\"ingest\":$LEAST_ingest,\"processor\":$LEAST_processor,\"sink\":$LEAST_sink}"
    within 180 "three of each run" settled
    watched drain
    ((LEAST_ingest >= 2 && LEAST_processor >= 2 && LEAST_sink >= 2)) ||
        die "the drains left $LEAST_ingest, $LEAST_processor and $LEAST_sink of 3 ready"
    row "two nodes drained, least ready of three" "ingest $LEAST_ingest, processor $LEAST_processor, sink $LEAST_sink"
    figure drain "{\"ingest\":$LEAST_ingest,\"processor\":$LEAST_processor,\"sink\":$LEAST_sink}"
    for name in ingest processor sink; do
        within 180 "three of each run" settled
        evict_two "$name"
    done
    row "PDB respected" "yes; of two evictions in a row the second was refused, for each service"
}
