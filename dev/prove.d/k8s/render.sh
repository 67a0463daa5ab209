# shellcheck shell=bash
# What k8s/ comes to: each overlay, each component over the base, and the chart.

# Those that are kept in k8s/rendered for the tests of every machine, and proven.
RENDERED=()

render() { # FOLDER
    local overlay component work=$DIR/kustomize
    mkdir -p "$1" "$work"
    render_one "$1" base "$K8S/base"
    for overlay in "$K8S"/overlays/*/; do
        render_one "$1" "overlay-$(basename "$overlay")" "$overlay"
    done
    for component in "$K8S"/components/*/; do
        component=$(basename "$component")
        mkdir -p "$work/$component"
        cat >"$work/$component/kustomization.yaml" <<Y
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [$(realpath --relative-to="$work/$component" "$K8S/base")]
components: [$(realpath --relative-to="$work/$component" "$K8S/components/$component")]
Y
        render_one "$1" "component-$component" "$work/$component"
    done
    chart "$1" chart-default
    local values
    # Each as a person would, and those that the tests compare with a component.
    for values in "$K8S"/chart/values-*.yaml "$PARTS"/values/*.yaml; do
        chart "$1" "chart-$(basename "$values" .yaml | sed 's/^values-//')" --values "$values"
    done
    # By this the tests know, without kubectl and helm, whether what is kept is of today.
    find -L k8s/base k8s/components k8s/overlays k8s/chart dev/prove.d/k8s/values -type f | LC_ALL=C sort |
        xargs sha256sum | sha256sum >"$1/sources.sha256"
}

render_one() { # FOLDER NAME SOURCE
    "$BIN/kubectl" kustomize "$3" >"$1/$2.yaml" || die "kubectl kustomize $3"
    RENDERED+=("$2")
}

chart() { # FOLDER NAME OPTIONS...
    local folder=$1 name=$2
    shift 2
    helm_quietly lint --strict --quiet --kube-version "$KUBERNETES_VERSION" "$K8S/chart/verdict" "$@" >&2 ||
        die "helm lint finds fault with k8s/chart/verdict"
    helm_quietly template verdict "$K8S/chart/verdict" --namespace verdict --kube-version "$KUBERNETES_VERSION" "$@" >"$folder/$name.yaml" ||
        die "helm template k8s/chart/verdict $*"
    RENDERED+=("$name")
}

# Helm tells of each link that it follows, each time.
helm_quietly() {
    "$BIN/helm" "$@" 2> >(grep -v 'found symbolic link in path' >&2)
}
