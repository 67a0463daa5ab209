# shellcheck shell=bash
# The life of one cluster, all of whose state is in its folder.

# What `start` was told, for the commands that come later.
save_settings() {
    local name
    for name in KIND ENGINE JAVA PORT STORAGE_PORT NODES HEAP SECURE FAST APART ADVERTISE; do
        printf '%s=%q\n' "$name" "${!name}"
    done >"$DIR/settings"
}

load_settings() {
    [[ -f $DIR/settings ]] || die "there is no cluster in $DIR"
    DIR=$(cd "$DIR" && pwd -P)
    # shellcheck disable=SC1091
    source "$DIR/settings"
}

# The nodes that a command is about: the one of --node, or all.
chosen_nodes() {
    [[ -z $NODE ]] || ((1 <= NODE && NODE <= NODES)) || die "there is no node $NODE in $DIR, only $NODES"
    if [[ -n $NODE ]]; then echo "$NODE"; else seq "$NODES"; fi
}

one_node() {
    [[ -n $NODE ]] || die "--node is needed"
    chosen_nodes >/dev/null
}

cluster_start() {
    local kind=$KIND port=$PORT nodes=${NODES:-1} heap=$HEAP secure=$SECURE fast=$FAST apart=$APART advertise=$ADVERTISE
    ((apart == 0)) || [[ $kind == kafka && $nodes == 1 && $secure == 0 && -z $advertise ]] ||
        die "--controller-apart is for Kafka of one node, without --secure and --advertise"
    ((apart == 0)) || nodes=2
    mkdir -p "$DIR"
    DIR=$(cd "$DIR" && pwd -P)
    [[ $DIR =~ ^[A-Za-z0-9/._+@-]+$ ]] || die "the path $DIR has characters that settings of the servers do not take"
    if [[ -f $DIR/settings ]]; then
        load_settings
        [[ $KIND == "$kind" && $NODES == "$nodes" && $SECURE == "$secure" && $APART == "$apart" ]] ||
            die "$DIR holds a cluster of another kind, size or security: wipe it first"
        local node
        for ((node = 1; node <= NODES; node++)); do
            ! node_runs "$node" || die "$KIND already runs in $DIR"
        done
    elif [[ -n $(ls -A "$DIR") ]]; then
        die "$DIR is not empty, and not the folder of a cluster"
    fi
    KIND=$kind PORT=${port:-$PORT} NODES=$nodes HEAP=$heap SECURE=$secure FAST=$fast APART=$apart ADVERTISE=$advertise
    ENGINE=$(engine)

    install_servers "$KIND"
    local count
    count=$("${KIND}_port_count")
    if [[ -n $PORT ]]; then take_ports "$PORT" "$count"; else choose_ports PORT "$count"; fi
    rm -f "$DIR/abandoned"
    # From here on, a start that ends early, by a signal too, leaves nothing that runs.
    trap start_undone EXIT
    record_process $$ "$DIR/starter.process"
    save_settings
    [[ -z $OWNER ]] || start_watcher

    local begun prepared
    begun=$(milliseconds)
    if ((SECURE)); then make_certificates; fi
    "${KIND}_prepare"
    save_settings
    prepared=$(milliseconds)
    start_nodes
    "${KIND}_settle"
    trap - EXIT
    say "$KIND is ready: $NODES node(s), prepared in $((prepared - begun)) ms, started in $(($(milliseconds) - prepared)) ms, in $DIR"
    "${KIND}_addresses"
}

# Brokers of Kafka start together, because one alone has no quorum; nodes of Cassandra in turn.
start_nodes() {
    local node offsets=()
    for ((node = 1; node <= NODES; node++)); do
        offsets[node]=$(log_size "$node")
        "${KIND}_launch" "$node"
        [[ $KIND == kafka ]] || "${KIND}_wait" "$node" "${offsets[node]}"
    done
    [[ $KIND == kafka ]] || return 0
    for ((node = 1; node <= NODES; node++)); do
        "${KIND}_wait" "$node" "${offsets[node]}"
    done
}

start_undone() {
    kill_all
    # The watcher stays: it removes the folder in the end, where it was told so.
}

cluster_kill() {
    load_settings
    one_node
    node_signal "$NODE" KILL || die "$KIND node $NODE does not run"
    node_wait_gone "$NODE" "$STOP_WAIT_MAX" || die "$KIND node $NODE outlives SIGKILL"
}

cluster_restart() {
    load_settings
    one_node
    ! node_runs "$NODE" || die "$KIND node $NODE runs"
    local begun offset
    begun=$(milliseconds)
    offset=$(log_size "$NODE")
    "${KIND}_launch" "$NODE"
    "${KIND}_wait" "$NODE" "$offset"
    say "$KIND node $NODE is ready again after $(($(milliseconds) - begun)) ms"
}

cluster_pause() {
    local node
    load_settings
    for node in $(chosen_nodes); do
        node_signal "$node" STOP || die "$KIND node $node does not run"
    done
}

cluster_resume() {
    local node
    load_settings
    for node in $(chosen_nodes); do
        node_signal "$node" CONT || die "$KIND node $node does not run"
    done
}

cluster_status() {
    local node pid state all=0
    load_settings
    for ((node = 1; node <= NODES; node++)); do
        state=dead
        if ! node_runs "$node"; then
            all=1
        elif node_is_paused "$node"; then
            state=paused
        else
            state=running
        fi
        if [[ $ENGINE == docker ]]; then
            echo "$KIND node $node $state container=$(container "$node")"
        elif pid=$(recorded_process "$DIR/node$node.process"); then
            echo "$KIND node $node $state pid=$pid memory_mb=$(process_memory_mb "$pid")"
        else
            echo "$KIND node $node $state"
        fi
    done
    return $all
}

cluster_stop() {
    local node
    load_settings
    stop_watcher
    for ((node = 1; node <= NODES; node++)); do
        node_runs "$node" || continue
        if node_is_paused "$node"; then node_signal "$node" CONT || true; fi
        node_signal "$node" TERM || true
    done
    for ((node = 1; node <= NODES; node++)); do
        node_wait_gone "$node" "$STOP_WAIT_MAX" || node_kill "$node"
        node_forget "$node"
    done
}

cluster_wipe() {
    [[ -e $DIR ]] || return 0
    load_settings
    stop_watcher
    kill_all
    release_ports
    rm -rf "$DIR"
}

kill_all() {
    local node
    for ((node = 1; node <= NODES; node++)); do
        node_kill "$node"
        node_forget "$node"
    done
}

# The watcher: it outlives whoever called `start`, and ends with the process that the cluster is for.

start_watcher() {
    stop_watcher
    local start wipe=()
    start=$(process_start "$OWNER") || die "there is no process $OWNER to go with"
    ((WIPE_AFTER == 0)) || wipe=(--wipe-after)
    VERDICT_SERVICES_OWNER_START=$start setsid nohup "$SELF" watch --dir "$DIR" --with "$OWNER" ${wipe[@]+"${wipe[@]}"} \
        >>"$DIR/watcher.log" 2>&1 </dev/null &
    record_process $! "$DIR/watcher.process"
    disown
}

stop_watcher() {
    local pid
    pid=$(recorded_process "$DIR/watcher.process") && kill -s KILL "$pid"
    rm -f "$DIR/watcher.process"
}

cluster_watch() {
    [[ -n $OWNER && -n ${VERDICT_SERVICES_OWNER_START:-} ]] || die "start --with runs this"
    load_settings
    cd /
    # Remembered here as well, because the folder may be gone before the process that it was made for.
    local -A seen=()
    local file pid start
    while process_runs "$OWNER" "$VERDICT_SERVICES_OWNER_START" && [[ -f $DIR/settings ]]; do
        for file in "$DIR"/node*.process; do
            { read -r pid start <"$file" && seen[$pid]=$start; } 2>/dev/null || true
        done
        sleep 0.3
    done
    if [[ -d $DIR ]]; then
        (
            flock 9
            touch "$DIR/abandoned"
            kill_all
        ) 9>"$DIR/lock"
        # A start that was under way sees the file, and ends.
        local deadline=$((SECONDS + STOP_WAIT_MAX))
        while pid=$(recorded_process "$DIR/starter.process"); do
            ((SECONDS < deadline)) || kill -s KILL "$pid" || true
            sleep 0.1
        done
    fi
    for pid in "${!seen[@]}"; do
        ! process_runs "$pid" "${seen[$pid]}" || kill -s KILL "$pid" || true
    done
    if [[ $ENGINE == docker ]]; then kill_all; fi
    if ((WIPE_AFTER)); then
        release_ports
        rm -rf "$DIR"
    else
        rm -f "$DIR/watcher.process"
    fi
}

log_size() { # NODE
    if [[ -f $DIR/node$1.log ]]; then stat --format %s "$DIR/node$1.log"; else echo 0; fi
}

milliseconds() {
    date +%s%3N
}
