# shellcheck shell=bash
# What the proof runs and holds the manifests against, built once into a cache: the control plane, kubectl, helm and kwok from Go modules,
# and the definitions of foreign kinds from their own.

# Versions stand here, in plane/go.mod and in strimzi.xml, and nowhere else. A change of one is another folder of the cache.
KUBERNETES_VERSION=v1.36.3
KWOK_VERSION=v0.8.0
HELM_VERSION=v3.22.0
KEDA=github.com/kedacore/keda/v2@v2.21.0
PROMETHEUS_OPERATOR=github.com/prometheus-operator/prometheus-operator@v0.85.0

CACHE=${VERDICT_KUBERNETES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/verdict/kubernetes}
BIN=$CACHE/bin-$KUBERNETES_VERSION
DEFINITIONS=$CACHE/definitions-keda-2.21.0-prometheus-0.85.0-strimzi-0.51.0
STAGES=$CACHE/stages-$KWOK_VERSION.yaml

# Builds what the cache lacks; some 14 minutes of processor time from nothing. One at a time: others wait for it.
build_plane() {
    command -v go >/dev/null || die "this needs Go 1.26 or later on PATH: the control plane is built from its modules"
    mkdir -p "$BIN"
    exec 8>"$CACHE/lock"
    flock 8
    local -x CGO_ENABLED=0 GOFLAGS="-buildvcs=false -p=$(nproc)" GOBIN=$BIN
    build_own
    build_installed
    [[ -d $DEFINITIONS ]] || fetch_definitions
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
        go install -trimpath -ldflags "-s -w" "sigs.k8s.io/kwok/cmd/kwok@$KWOK_VERSION"
    }
    [[ -x $BIN/helm ]] || {
        say "building helm $HELM_VERSION"
        go install -trimpath -ldflags "-s -w" "helm.sh/helm/v3/cmd/helm@$HELM_VERSION"
    }
    # How kwok's nodes and pods live: pods take a second or more for each step, so that what is in between can be seen.
    [[ -s $STAGES ]] || {
        local stage source
        source=$(module_folder "sigs.k8s.io/kwok@$KWOK_VERSION")
        for stage in node/fast node/heartbeat-with-lease pod/general; do
            "$BIN/kubectl" kustomize "$source/kustomize/stage/$stage"
            echo ---
        done >"$STAGES.part"
        mv "$STAGES.part" "$STAGES"
    }
}

# Prints the folder of a module's source, fetched where it is not there yet.
module_folder() { # MODULE@VERSION
    (
        cd "$(mktemp -d)"
        go mod init none 2>/dev/null
        go mod download -json "$1"
    ) | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'
}

fetch_definitions() {
    local part=$DEFINITIONS.part source kind said
    rm -rf "$part"
    mkdir -p "$part"
    say "fetching the definitions of KEDA's, the Prometheus operator's and Strimzi's kinds"
    source=$(module_folder "$KEDA")
    for kind in scaledobjects triggerauthentications; do
        cp --no-preserve=mode "$source/config/crd/bases/keda.sh_$kind.yaml" "$part/"
    done
    source=$(module_folder "$PROMETHEUS_OPERATOR")
    for kind in podmonitors prometheusrules; do
        cp --no-preserve=mode "$source/example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml" "$part/"
    done
    command -v mvn >/dev/null && command -v java >/dev/null || die "Strimzi's definitions need a JDK 17 or later and Maven"
    said=$(mvn --quiet --batch-mode --no-transfer-progress --file "$PARTS/strimzi.xml" \
        org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$part/jars" 2>&1) || die "fetching Strimzi's model: $said"
    said=$(java -cp "$part/jars/*" io.strimzi.crdgenerator.CrdGenerator --yaml \
        "io.strimzi.api.kafka.model.topic.KafkaTopic=$part/kafkatopics.yaml" 2>&1) || die "writing Strimzi's definition: $said"
    rm -rf "$part/jars"
    mv "$part" "$DEFINITIONS"
}
