# shellcheck shell=bash
# The HPA on our two metrics: up when reviews wait, not with every wave.

metric() { # NAME VALUE
    echo "$2" >"$DIR/metrics/$1.part"
    mv "$DIR/metrics/$1.part" "$DIR/metrics/$1"
}

replicas() { # STATEFULSET
    k -n verdict get statefulset "$1" -o jsonpath='{.spec.replicas}'
}

has_replicas() { # STATEFULSET COUNT
    [[ $(replicas "$1") == "$2" && $(k -n verdict get statefulset "$1" -o jsonpath='{.status.readyReplicas}') == "$2" ]]
}

# The metrics as a cluster has them: an API behind the API server.
serve_metrics() {
    within 30 "the metrics are served" test -s "$DIR/metrics/ca.pem"
    k create namespace proof >/dev/null
    k apply -f - >/dev/null <<Y
apiVersion: v1
kind: Service
metadata: { name: metrics, namespace: proof }
spec: { type: ExternalName, externalName: localhost, ports: [{ port: $METRICS_PORT }] }
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: { name: v1beta1.external.metrics.k8s.io }
spec:
  group: external.metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  caBundle: $(base64 -w0 "$DIR/metrics/ca.pem")
  service: { name: metrics, namespace: proof, port: $METRICS_PORT }
Y
    within 60 "the metrics are asked through the API server" \
        k get --raw /apis/external.metrics.k8s.io/v1beta1/namespaces/verdict/verdict_reviews_lag
}

prove_scaling() {
    local began second last now changes=0 steps
    metric verdict_reviews_lag 100
    metric verdict_reviews_seconds_behind 1
    serve_metrics
    k apply --server-side -f "$DIR/rendered/component-hpa.yaml" >/dev/null
    within 120 "two processors run" has_replicas processor 2
    # A wave that is over within the stabilisation of 30 s: it asks for eight, and then for two.
    last=$(replicas processor)
    for second in {1..40}; do
        metric verdict_reviews_lag $((second % 8 < 4 ? 12000 : 100))
        sleep 1
        now=$(replicas processor)
        ((now == last)) || changes=$((changes + 1)) last=$now
    done
    ((changes == 0)) || die "the HPA followed waves of eight seconds: $changes changes in 40 s"
    row "HPA, lag 100 and 12,000 in turns of 4 s, 40 s" "2 replicas, no change"
    # A backlog that stays: 12,000 reviews are eight replicas' work.
    began=$SECONDS steps=$last
    metric verdict_reviews_lag 12000
    until has_replicas processor 8; do
        ((SECONDS - began < 300)) || die "no eight replicas after 300 s: $(k -n verdict describe hpa processor | tail -n 20)"
        sleep 0.5
        now=$(replicas processor)
        ((now == last)) || steps+=" -> $now" last=$now
    done
    row "HPA, lag 12,000 (1,500 a replica)" "$steps replicas, all ready, $((SECONDS - began)) s"
    figure hpa "{\"before\":2,\"after\":8,\"seconds\":$((SECONDS - began)),\"changes_in_waves\":0}"
    # Twice as far behind as is wanted asks for twice as many, and no more than there are partitions.
    began=$SECONDS
    metric verdict_reviews_seconds_behind 60
    within 300 "there are as many replicas as partitions" has_replicas processor 12
    row "HPA, 60 s behind (30 s wanted)" "8 -> 12 replicas, as many as partitions, $((SECONDS - began)) s"
    # Level again: nothing is taken away at once.
    metric verdict_reviews_lag 100
    metric verdict_reviews_seconds_behind 1
    for second in {1..20}; do
        sleep 1
        (($(replicas processor) == 12)) || die "a replica was taken away $second s after the backlog was gone"
    done
    row "HPA, level again" "12 replicas after 20 s: down begins after 10 minutes, by one in 5"
    remove "$DIR/rendered/component-hpa.yaml"
}
