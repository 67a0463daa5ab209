# shellcheck shell=bash
# Ports that nobody else takes: neither another server of today, nor another cluster of ours whose node is dead at the moment.

# Below the ports that the system gives to outgoing connections.
readonly PORT_FIRST=20000
readonly PORT_COUNT=10000

port_listens() { # PORT [HOST]
    (exec 3<>"/dev/tcp/${2:-127.0.0.1}/$1") 2>/dev/null
}

# A claim is a link from the port to the cluster's folder, void when the folder is gone.
port_claim() { # PORT
    ln -sfn "$DIR" "$CACHE/ports/$1"
}

port_is_free() { # PORT
    local owner
    owner=$(readlink "$CACHE/ports/$1") || owner=
    [[ $owner == "$DIR" || ! -d $owner ]] && ! port_listens "$1"
}

# Sets the variable NAME to the first of COUNT free ports in a row, and claims them.
choose_ports() { # NAME COUNT
    local base port tries
    mkdir -p "$CACHE/ports"
    exec 8>"$CACHE/ports.lock"
    flock 8
    for ((tries = 0; tries < 200; tries++)); do
        base=$((PORT_FIRST + (RANDOM * 32768 + RANDOM) % (PORT_COUNT - $2)))
        for ((port = base; port < base + $2; port++)); do
            port_is_free "$port" || continue 2
        done
        for ((port = base; port < base + $2; port++)); do
            port_claim "$port"
        done
        exec 8>&-
        printf -v "$1" %s "$base"
        return
    done
    die "no $2 free ports in a row between $PORT_FIRST and $((PORT_FIRST + PORT_COUNT))"
}

# Claims the ports that were asked for, which must be free now.
take_ports() { # PORT COUNT
    local port
    mkdir -p "$CACHE/ports"
    for ((port = $1; port < $1 + $2; port++)); do
        port_listens "$port" && die "port $port is taken by another server"
        port_claim "$port"
    done
}

release_ports() {
    local claim
    for claim in "$CACHE"/ports/*; do
        [[ $(readlink "$claim") != "$DIR" ]] || rm -f "$claim"
    done
}
