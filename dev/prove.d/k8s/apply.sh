# shellcheck shell=bash
# Everything applied by the server, dry and for real, where `restricted` is enforced; and what has to be refused, refused.

define_kinds() {
    k apply --server-side -f "$DEFINITIONS" >/dev/null
    k wait --for=condition=Established --timeout=60s crd --all >/dev/null
    # Volumes that wait to be claimed: there is nobody here who would make some.
    local number
    k apply -f - >/dev/null <<'Y'
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: { name: standard, annotations: { storageclass.kubernetes.io/is-default-class: "true" } }
provisioner: kubernetes.io/no-provisioner
Y
    for number in 1 2 3 4 5 6; do
        cat <<Y
---
apiVersion: v1
kind: PersistentVolume
metadata: { name: volume-$number }
spec:
  storageClassName: standard
  accessModes: [ReadWriteOnce, ReadOnlyMany]
  capacity: { storage: 10Gi }
  persistentVolumeReclaimPolicy: Delete
  hostPath: { path: /nowhere/$number }
Y
    done | k apply -f - >/dev/null
    for number in verdict kafka scylla monitoring; do
        k create namespace "$number" >/dev/null
    done
}

# The Pod Security level that the namespace of the line enforces.
level() {
    k get namespace verdict -o jsonpath='{.metadata.labels.pod-security\.kubernetes\.io/enforce}'
}

# The guards are there: what they are to refuse is refused.
prove_refusals() {
    local said
    k apply --server-side -f "$K8S/base/namespace.yaml" >/dev/null
    said=$(k -n verdict run bad --image=verdict/ingest:0 --dry-run=server 2>&1) && die "a pod without a security context was admitted"
    grep -q 'violates PodSecurity "restricted' <<<"$said" || die "the pod was refused for another reason: $said"
    said=$(sed 's/livenessProbe/livenesProbe/' "$K8S/base/ingest.yaml" | k -n verdict apply --server-side --dry-run=server -f - 2>&1) &&
        die "an unknown field was admitted"
    grep -q 'livenesProbe' <<<"$said" || die "the manifest was refused for another reason: $said"
    row "refused as they should be" "a pod that is not restricted, a field that is unknown"
}

# Objects of a file by kind: how many.
objects() { # FILE
    grep -c '^kind:' "$1"
}

# Applies one rendering, waits until its pods run, and removes it.
prove_application() { # NAME
    local name=$1 file=$DIR/rendered/$1.yaml count skipped=""
    if grep -q '^kind: ScyllaCluster' "$file"; then
        # Its operator's module cannot be had from the proxy, so that nobody here knows its kind.
        without_kind ScyllaCluster "$file" >"$file.part"
        file=$file.part
        skipped=", without ScyllaCluster"
    fi
    count=$(objects "$file")
    k apply --server-side -n verdict -f "$K8S/base/namespace.yaml" >/dev/null
    said=$(k apply --server-side --dry-run=server -f "$file" 2>&1) || die "$name, dry run: $said"
    ! grep -i 'warning' <<<"$said" >&2 || die "$name: the server warns"
    said=$(k apply --server-side -f "$file" 2>&1) || die "$name: $said"
    [[ $(level) == restricted ]] || die "$name: the namespace enforces $(level)"
    within 180 "the pods of $name run" settled
    local pods ready
    pods=$(k get pods -A --no-headers | wc -l)
    ready=$(running | wc -l)
    row "$name" "$count objects$skipped, $pods pods scheduled, $ready ready, $(k get jobs -A --no-headers | wc -l) jobs done, $(level)"
    figure "$name" "{\"objects\":$count,\"pods\":$pods,\"ready\":$ready}"
    remove "$file"
}

running() {
    k get pods -A --no-headers --field-selector=status.phase=Running | awk '{ split($3, part, "/"); if (part[1] == part[2]) print }'
}

# Every workload has all its replicas ready, and every Job is done.
settled() {
    local kind want have
    for kind in deployments statefulsets; do
        while read -r want have; do
            [[ $want == "${have:-0}" ]] || return 1
        done < <(k get "$kind" -A -o jsonpath='{range .items[*]}{.spec.replicas} {.status.readyReplicas}{"\n"}{end}')
    done
    while read -r have; do
        ((${have:-0} == 1)) || return 1
    done < <(k get jobs -A -o jsonpath='{range .items[*]}{.status.succeeded}{"\n"}{end}')
}

remove() { # FILE
    without_kind Namespace "$1" >"$1.removed"
    k delete --wait=false --ignore-not-found -f "$1.removed" >/dev/null
    k delete --wait=false pods,persistentvolumeclaims --all -n kafka >/dev/null
    k delete --wait=false pods,persistentvolumeclaims --all -n scylla >/dev/null
    k delete --wait=false pods,persistentvolumeclaims --all -n verdict >/dev/null
    within 120 "what was applied is gone" nothing_is_left
    # A claim's volume is not made new by anybody: it is free again as soon as it forgets who had it.
    local volume
    for volume in $(k get persistentvolumes -o name); do
        k patch "$volume" --type=json -p '[{ "op": "remove", "path": "/spec/claimRef" }]' >/dev/null 2>&1 || true
    done
}

nothing_is_left() {
    [[ -z $(k get pods,persistentvolumeclaims,jobs -A --no-headers 2>/dev/null) ]]
}

# The documents of FILE but those of KIND.
without_kind() { # KIND FILE
    awk -v kind="kind: $1" '
        function tell() { if (text != "" && !skip) printf "%s%s", (told++ ? "---\n" : ""), text; text = ""; skip = 0 }
        /^---$/ { tell(); next }
        { text = text $0 "\n"; if ($0 == kind) skip = 1 }
        END { tell() }' "$2"
}
