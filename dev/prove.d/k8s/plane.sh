# shellcheck shell=bash
# A control plane on loopback: etcd, API server, scheduler, controllers, and kwok, whose nodes run no containers.

NODES=4
# Pid of each process of ours.
declare -A PROCESSES=()

k() {
    "$BIN/kubectl" --kubeconfig="$DIR/kubeconfig" "$@"
}

run() { # NAME COMMAND...
    local name=$1
    shift
    setsid "$@" >"$DIR/$name.log" 2>&1 </dev/null &
    PROCESSES[$name]=$!
    # Bash would tell how each of them ended.
    disown
}

# Waits until COMMAND holds, at most SECONDS.
within() { # SECONDS WHAT COMMAND...
    local limit=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < limit)) || die "waited too long until $what"
        sleep 0.2
    done
}

# Four ports in a row that nobody listens on.
choose_port() {
    local tries base port
    for ((tries = 0; tries < 100; tries++)); do
        base=$((20000 + RANDOM % 10000))
        for ((port = base; port < base + 4; port++)); do
            ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || continue 2
        done
        echo "$base"
        return
    done
    die "no four free ports in a row"
}

start_plane() {
    local port token
    port=$(choose_port)
    token=$(openssl rand -hex 16)
    mkdir -p "$DIR/metrics"
    (umask 077 && echo "$token,admin,admin,system:masters" >"$DIR/tokens.csv")
    openssl genrsa -out "$DIR/accounts.key" 2048 2>/dev/null
    openssl rsa -in "$DIR/accounts.key" -pubout -out "$DIR/accounts.pub" 2>/dev/null
    local etcd=http://127.0.0.1:$port peers=http://127.0.0.1:$((port + 1))
    run etcd "$BIN/etcd" --data-dir "$DIR/etcd" --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
        --listen-peer-urls "$peers" --initial-advertise-peer-urls "$peers" --initial-cluster "default=$peers" --unsafe-no-fsync
    run apiserver "$BIN/kube-apiserver" --etcd-servers="$etcd" --bind-address=127.0.0.1 --advertise-address=127.0.0.1 \
        --secure-port=$((port + 2)) --cert-dir="$DIR/certificates" --service-cluster-ip-range=10.96.0.0/16 \
        --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$DIR/accounts.pub" \
        --service-account-signing-key-file="$DIR/accounts.key" --authorization-mode=RBAC --token-auth-file="$DIR/tokens.csv" \
        --endpoint-reconciler-type=none --profiling=false
    within 120 "the API server has its certificate" test -s "$DIR/certificates/apiserver.crt"
    (umask 077 && cat >"$DIR/kubeconfig" <<Y
apiVersion: v1
kind: Config
current-context: proof
clusters: [{ name: proof, cluster: { server: "https://127.0.0.1:$((port + 2))", certificate-authority: "$DIR/certificates/apiserver.crt" } }]
users: [{ name: admin, user: { token: "$token" } }]
contexts: [{ name: proof, context: { cluster: proof, user: admin } }]
Y
    )
    within 120 "the API server is ready" k get --raw /readyz
    run scheduler "$BIN/kube-scheduler" --kubeconfig="$DIR/kubeconfig" --leader-elect=false --secure-port=0 --authentication-skip-lookup
    run controllers "$BIN/kube-controller-manager" --kubeconfig="$DIR/kubeconfig" --leader-elect=false --secure-port=0 \
        --service-account-private-key-file="$DIR/accounts.key" --use-service-account-credentials=false \
        --horizontal-pod-autoscaler-sync-period=2s
    METRICS_PORT=$((port + 3))
    run metrics "$BIN/metrics" "127.0.0.1:$METRICS_PORT" "$DIR/metrics" metrics.proof.svc
    run kwok "$BIN/kwok" --config="$STAGES" --kubeconfig="$DIR/kubeconfig" --manage-all-nodes=true --node-lease-duration-seconds=40
    add_nodes
}

# Four nodes in three zones.
add_nodes() {
    local number
    for ((number = 1; number <= NODES; number++)); do
        cat <<Y
---
apiVersion: v1
kind: Node
metadata:
  name: node-$number
  annotations: { kwok.x-k8s.io/node: fake }
  labels:
    kubernetes.io/hostname: node-$number
    kubernetes.io/os: linux
    kubernetes.io/arch: amd64
    topology.kubernetes.io/zone: $(printf '%b' "\\x$((61 + number % 3))")
status:
  allocatable: { cpu: "8", memory: 32Gi, pods: "110" }
  capacity: { cpu: "8", memory: 32Gi, pods: "110" }
Y
    done | k apply -f - >/dev/null
    within 60 "all nodes are ready" nodes_are_ready
}

nodes_are_ready() {
    (($(k get nodes --no-headers | grep -cw Ready) == NODES))
}

stop_plane() {
    local name pid
    for name in kwok metrics controllers scheduler apiserver etcd; do
        pid=${PROCESSES[$name]:-}
        [[ -z $pid ]] || kill "$pid" 2>/dev/null || true
    done
    for pid in "${PROCESSES[@]}"; do
        timeout 20 tail --pid="$pid" -f /dev/null 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
    done
    PROCESSES=()
}
