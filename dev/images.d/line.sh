# shellcheck shell=bash
# Whether the four results are images that run: each by its entry point, as its user, on a root that cannot be written.

# What a program may need of its base. Anything else would be missing there.
readonly LIBRARIES='libc.so.6 libgcc_s.so.1 libm.so.6 ld-linux-x86-64.so.2'

# Longest that a process may take until it is ready, in seconds.
readonly READY_WAIT_MAX=60

# Lays the layers of an image over each other, with nothing to write to, at ROOTS/NAME.
open_image() { # NAME
    mkdir -p "$WORK/roots/$1"
    mount -t overlay overlay -o "lowerdir=${LAYERS[$1]}" "$WORK/roots/$1"
}

check_programs() {
    local name program library said
    for name in "${TARGETS[@]}"; do
        open_image "$name"
        program=${ENTRYPOINTS[$name]}
        [[ -x $WORK/roots/$name$program ]] || die "$name: its entry point $program is not there"
        [[ ${USERS[$name]} == 65532:65532 ]] || die "$name: runs as ${USERS[$name]}"
        for library in $(readelf --dynamic "$WORK/roots/$name$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
            [[ " $LIBRARIES " == *" $library "* ]] || die "$name: needs $library, which its base does not have"
        done
        readelf --sections --wide "$WORK/roots/$name$program" | grep -q '\.dep-v0' || die "$name: does not list what it is made of"
        said=$(in_image "$name" --version) || die "$name: --version fails"
        [[ $said == *"$(version)" ]] || die "$name: says that it is $said"
        say "ok: $name says '$said'; $(du --bytes --summarize "$WORK/roots/$name$program" | cut -f 1) bytes of program," \
            "$(du --bytes --summarize --one-file-system "$WORK/roots/$name" | cut -f 1) of image"
    done
}

# Runs an image's entry point. Variables and arguments come after its name, as NAME=VALUE first.
in_image() { # NAME [VARIABLE=VALUE]... [ARGUMENT]...
    (become_image "$@")
}

# The same in the background, with its output in a file; its number is in PIDS.
start() { # NAME [VARIABLE=VALUE]... [ARGUMENT]...
    become_image "$@" >"$WORK/$1.log" 2>&1 &
    PIDS[$1]=$!
}

# Makes this shell the process of the image, so that signals reach it.
become_image() { # NAME [VARIABLE=VALUE]... [ARGUMENT]...
    local name=$1 variables=()
    shift
    while [[ ${1:-} =~ ^[A-Z_]+= ]]; do
        variables+=("$1")
        shift
    done
    # The words of ENV are a list.
    # shellcheck disable=SC2086
    exec env -i ${ENVIRONMENT[$name]} ${variables[@]+"${variables[@]}"} \
        /usr/sbin/chroot --userspec="${USERS[$name]}" "$WORK/roots/$name" "${ENTRYPOINTS[$name]}" "$@"
}

# The line, in a network that has a loopback alone.
run_line() {
    local name
    for name in "${TARGETS[@]}"; do
        mount --bind -o ro /dev "$WORK/roots/$name/dev"
    done
    export -f in_image start become_image say die line holds awaits stops asks has_row
    declare -p ENVIRONMENT ENTRYPOINTS USERS READY_WAIT_MAX WORK CACHE >"$WORK/state"
    BROKER=${LAYERS[build]} unshare --net --pid --fork --kill-child --mount --propagation private bash -euc '
        source "$1"
        ip link set lo up
        line
    ' line "$WORK/state"
}

# Says the sentence, and that it is so once the command succeeds.
holds() { # SENTENCE COMMAND...
    "${@:2}" || die "not so: $1"
    say "ok: $1"
}

awaits() { # NAME
    local look
    for ((look = 0; look < READY_WAIT_MAX * 5; look++)); do
        if [[ $1 == verdict ]]; then in_image verdict ready && return; else in_image "$1" --ready && return; fi >/dev/null 2>&1
        kill -0 "${PIDS[$1]}" 2>/dev/null || break
        sleep 0.2
    done
    tail -n 5 "$WORK/$1.log" >&2
    return 1
}

stops() { # NAME
    kill -TERM "${PIDS[$1]}"
    wait "${PIDS[$1]}"
}

# Posts a review to 8080 and looks for a word in what comes back.
asks() { # REVIEW WORD
    local answer
    answer=$(curl --silent --show-error --max-time 60 --header 'content-type: application/json' --header 'prefer: wait=30' \
        --data "{\"review\": \"$1\"}" http://127.0.0.1:8080/analyze) || return
    [[ $answer == *"$2"* ]] || {
        say "it says $answer"
        return 1
    }
}

has_row() {
    local look
    for ((look = 0; look < 50; look++)); do
        in_image verdict "$STORE" store digest 2>/dev/null | grep -q '^1 rows' && return
        sleep 0.2
    done
    return 1
}

line() {
    declare -A PIDS=()
    local name
    mount -t proc proc /proc
    # What a volume is to a container: the only folder that can be written.
    mkdir "$WORK/data"
    chown 65532:65532 "$WORK/data"
    mount --bind "$WORK/data" "$WORK/roots/verdict/data"
    for name in verdict ingest processor sink; do
        mount -t proc proc "$WORK/roots/$name/proc"
    done

    start verdict
    holds "verdict is ready, all in one process" awaits verdict
    holds "it answers" asks "The room was clean and affordable." '"label":"positive"'
    holds "it runs as 65532" test "$(stat --format=%u "/proc/${PIDS[verdict]}")" = 65532
    holds "it stops when it is told to" stops verdict
    if in_image verdict ready 2>/dev/null; then die "what is gone is ready"; fi

    # The same broker, on its own: the one part that compose.yaml has from elsewhere and that can be had here.
    mkdir -p "$WORK/broker" "$WORK/log"
    mount -t overlay overlay -o "lowerdir=$BROKER" "$WORK/broker"
    "$WORK/broker/verdict/target/release/embedded-kafka" --data "$WORK/log" >"$WORK/kafka.log" 2>&1 &
    PIDS[kafka]=$!
    holds "verdict topics makes the topics" in_image verdict topics --kafka 127.0.0.1:9092 --partitions 4 >&2
    # Rows in a file that both may write stand for a store that both reach.
    mkdir "$WORK/rows"
    chown 65532:65532 "$WORK/rows"
    for name in ingest sink verdict; do
        mount --bind "$WORK/rows" "$WORK/roots/$name/home/nonroot"
    done
    STORE=VERDICT_STORE__URL=sqlite:/home/nonroot/verdicts.db
    start processor
    start sink "$STORE"
    start ingest "$STORE"
    for name in processor sink ingest; do
        holds "$name is ready" awaits "$name"
    done
    holds "the three together answer" asks "Cold soup, slow waiter." '"label":"negative"'
    holds "its row is in the store" has_row
    for name in ingest processor sink kafka; do
        holds "$name stops when it is told to" stops "$name"
    done
}
