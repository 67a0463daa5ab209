# shellcheck shell=bash
# One node of a cluster: a JVM of ours in a session of its own, or a container. Whatever is said to it goes by its pid or name.

# Much longer than a start takes on a busy machine: past it, the node hangs.
readonly READY_WAIT_MAX=240
readonly STOP_WAIT_MAX=20

container() { # NODE
    local name
    name=$(sha256sum <<<"$DIR")
    echo "verdict-$KIND-${name:0:12}-$1"
}

node_runs() { # NODE
    if [[ $ENGINE == docker ]]; then
        [[ $(docker inspect --format '{{.State.Running}}' "$(container "$1")" 2>/dev/null) == true ]]
    else
        recorded_process "$DIR/node$1.process" >/dev/null
    fi
}

# Starts the program `java`, with the arguments that ARGUMENTS holds.
node_launch() { # NODE
    (
        flock 9
        # The watcher takes the same lock to say so: afterwards nothing starts that it has not seen.
        [[ ! -e $DIR/abandoned ]] || die "the process that $DIR was started for is gone"
        if [[ $ENGINE == docker ]]; then
            node_launch_container "$1" 9>&-
        else
            # No child holds the lock; a session of its own keeps the keyboard's signals from the node.
            setsid nohup "$JAVA" "-XX:ErrorFile=$DIR/node$1.crash.log" "${ARGUMENTS[@]}" >>"$DIR/node$1.log" 2>&1 </dev/null 9>&- &
            record_process $! "$DIR/node$1.process"
        fi
    ) 9>"$DIR/lock"
}

node_launch_container() { # NODE
    local name
    name=$(container "$1")
    docker rm --force "$name" >/dev/null 2>&1 || true
    # The folder has the same path inside, so that the files written for a JVM of ours serve here as well.
    # shellcheck disable=SC2016
    docker run --detach --name "$name" --network host --user "$(id -u):$(id -g)" --volume "$DIR:$DIR" \
        --entrypoint sh "${IMAGES[$KIND]}" -c 'exec java "$@" >>"$0" 2>&1' "$DIR/node$1.log" "${ARGUMENTS[@]}" >/dev/null
}

# Runs one of the server's tools to its end, with ARGUMENTS.
run_tool() {
    if [[ $ENGINE == docker ]]; then
        docker run --rm --network none --user "$(id -u):$(id -g)" --volume "$DIR:$DIR" --entrypoint java \
            "${IMAGES[$KIND]}" "${ARGUMENTS[@]}"
    else
        "$JAVA" "${ARGUMENTS[@]}"
    fi
}

# Waits until the node says PATTERN in what it logs after the first OFFSET bytes, and takes connections.
node_wait() { # NODE OFFSET PATTERN HOST PORT
    local log=$DIR/node$1.log deadline=$((SECONDS + READY_WAIT_MAX))
    until grep -q "$3" < <(tail -c "+$(($2 + 1))" "$log" 2>/dev/null) && port_listens "$5" "$4"; do
        [[ ! -e $DIR/abandoned ]] || die "the process that $DIR was started for is gone"
        node_runs "$1" || node_died "$1" "died"
        ((SECONDS < deadline)) || node_died "$1" "is not ready after $READY_WAIT_MAX s"
        sleep 0.1
    done
}

node_died() { # NODE HOW
    tail -n 25 "$DIR/node$1.log" >&2 || true
    die "$KIND node $1 $2; the end of $DIR/node$1.log is above"
}

node_signal() { # NODE KILL|STOP|CONT|TERM
    if [[ $ENGINE == docker ]]; then
        case $2 in
        STOP) docker pause "$(container "$1")" >/dev/null ;;
        CONT) docker unpause "$(container "$1")" >/dev/null ;;
        *) docker kill --signal "$2" "$(container "$1")" >/dev/null ;;
        esac
    else
        local pid
        pid=$(recorded_process "$DIR/node$1.process") || return 1
        kill -s "$2" "$pid" 2>/dev/null
    fi
}

node_is_paused() { # NODE
    if [[ $ENGINE == docker ]]; then
        [[ $(docker inspect --format '{{.State.Paused}}' "$(container "$1")" 2>/dev/null) == true ]]
    else
        process_is_paused "$(recorded_process "$DIR/node$1.process")"
    fi
}

# Waits until the node is gone; status 1 where it is still there after SECONDS.
node_wait_gone() { # NODE SECONDS
    local deadline=$((SECONDS + $2))
    while node_runs "$1"; do
        ((SECONDS <= deadline)) || return 1
        sleep 0.05
    done
}

node_kill() { # NODE
    node_signal "$1" KILL || return 0
    node_wait_gone "$1" "$STOP_WAIT_MAX" || die "$KIND node $1 outlives SIGKILL"
}

# What is left of a node that is gone for good.
node_forget() { # NODE
    if [[ $ENGINE == docker ]]; then
        docker rm --force "$(container "$1")" >/dev/null 2>&1 || true
    fi
    rm -f "$DIR/node$1.process"
}

# Changes one setting in a file of KEY SEPARATOR VALUE lines, or adds it.
set_property() { # FILE SEPARATOR KEY=VALUE
    local key=${3%%=*} value=${3#*=} rest
    rest=$(awk -v start="$key$2" 'index($0, start) != 1' "$1")
    printf '%s\n%s%s%s\n' "$rest" "$key" "$2" "$value" >"$1"
}
