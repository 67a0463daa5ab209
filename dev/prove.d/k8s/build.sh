# Sourced by proof.sh: the control plane, kubectl, helm, kwok and the definitions of foreign kinds, built once into a cache.

# Versions stand here and in plane/go.mod, nowhere else.
KUBERNETES_VERSION=v1.36.3
KWOK_VERSION=v0.8.0
HELM_VERSION=v3.22.0
KEDA_VERSION=v2.21.0
PROMETHEUS_OPERATOR_VERSION=v0.93.0
SCYLLA_OPERATOR_VERSION=v1.21.0
STRIMZI_VERSION=1.0.0

CACHE=${VERDICT_KUBERNETES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/verdict/kubernetes}
BIN=$CACHE/bin-$KUBERNETES_VERSION

# Builds what the cache lacks; about 14 minutes of processor time from nothing. One build at a time: others wait for it.
build_plane() {
    command -v go >/dev/null || die "this needs Go 1.26 or later on PATH: the control plane is built from its modules"
    mkdir -p "$BIN"
    exec 8>"$CACHE/lock"
    flock 8
    local -x CGO_ENABLED=0 GOFLAGS="-buildvcs=false -p=$(nproc)" GOBIN=$BIN
    build_own
    build_installed
    exec 8>&-
}

# What is built in our module, whose replacements `go install` of a foreign module would refuse.
build_own() {
    local work=$CACHE/plane part stamp
    stamp="-X k8s.io/component-base/version.gitVersion=$KUBERNETES_VERSION"
    stamp+=" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
    mkdir -p "$work"
    # The sums that Go writes stay in the cache: they are checked against the checksum database when they are made.
    cp -r "$PARTS/plane/." "$work/"
    for part in kube-apiserver kube-scheduler kube-controller-manager kubectl; do
        [[ -x $BIN/$part ]] || {
            say "building $part $KUBERNETES_VERSION"
            (cd "$work" && go build -mod=mod -trimpath -ldflags "-s -w $stamp" -o "$BIN/$part" "k8s.io/kubernetes/cmd/$part")
        }
    done
    for part in etcd metrics; do
        [[ -x $BIN/$part && ! $PARTS/plane/$part/main.go -nt $BIN/$part ]] || {
            say "building $part"
            (cd "$work" && go build -mod=mod -trimpath -ldflags "-s -w" -o "$BIN/$part" "./$part")
        }
    done
}

build_installed() {
    [[ -x $BIN/kwok ]] || {
        say "building kwok $KWOK_VERSION"
        go install "sigs.k8s.io/kwok/cmd/kwok@$KWOK_VERSION"
    }
    [[ -x $BIN/helm ]] || {
        say "building helm $HELM_VERSION"
        go install "helm.sh/helm/v3/cmd/helm@$HELM_VERSION"
    }
}
