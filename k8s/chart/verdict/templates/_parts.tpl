{{- /* The labels of everything. */ -}}
{{- define "verdict.labels" -}}
app.kubernetes.io/part-of: verdict
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "verdict.selector" -}}
app.kubernetes.io/name: {{ . }}
app.kubernetes.io/part-of: verdict
{{- end }}

{{- define "verdict.image" -}}
{{ .root.Values.image.registry }}verdict/{{ .name }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- /* Dotted keys as variables. */ -}}
{{- define "verdict.variable" -}}
VERDICT_{{ . | upper | replace "." "__" }}
{{- end }}

{{- define "verdict.endpoint" -}}
{{ .Values.telemetry.endpoint | default (ternary "http://collector:4318" "" .Values.collector.enabled) }}
{{- end }}

{{- /* What all programs are told: the content of the ConfigMap `addresses`. */ -}}
{{- define "verdict.addresses" -}}
VERDICT_KAFKA__BOOTSTRAP_SERVERS: {{ .Values.kafka.bootstrapServers | quote }}
{{- if .Values.kafka.secured }}
VERDICT_KAFKA__PROPERTIES__SECURITY_PROTOCOL: SASL_SSL
VERDICT_KAFKA__PROPERTIES__SASL_MECHANISM: {{ .Values.kafka.mechanism }}
VERDICT_KAFKA__PROPERTIES__SSL_CA_LOCATION: /run/secrets/kafka/ca.crt
VERDICT_KAFKA__PROPERTIES__SASL_USERNAME: '{file="/run/secrets/kafka/user"}'
VERDICT_KAFKA__PROPERTIES__SASL_PASSWORD: '{file="/run/secrets/kafka/password"}'
{{- end }}
VERDICT_STORE__URL: {{ .Values.store.url | quote }}
{{- with include "verdict.endpoint" . }}
VERDICT_TELEMETRY__OTLP_ENDPOINT: {{ . | quote }}
{{- end }}
{{- range $key, $value := .Values.settings }}
{{ include "verdict.variable" $key }}: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "verdict.pod-security" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "verdict.container-security" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{- define "verdict.pull-secrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Scaled by somebody else: the number is not ours to set. */ -}}
{{- define "verdict.replicas" -}}
{{- $by := .root.Values.autoscaling.by -}}
{{- if not (or (eq $by "keda") (and (eq $by "hpa") (ne .name "sink"))) -}}
replicas: {{ (index .root.Values .name).replicas }}
{{- end }}
{{- end }}

{{- /* The account, the PodDisruptionBudget and the pod's template of a service: root, name, port, grace, revision. */ -}}
{{- define "verdict.around" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .name }}
  labels:
    app.kubernetes.io/name: {{ .name }}
    {{- include "verdict.labels" .root | nindent 4 }}
automountServiceAccountToken: false
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels:
    app.kubernetes.io/name: {{ .name }}
    {{- include "verdict.labels" .root | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "verdict.selector" .name | nindent 6 }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .name }}
  labels:
    {{- include "verdict.labels" .root | nindent 4 }}
data:
  {{ .name }}.toml: |
    {{- .root.Files.Get (printf "files/config/%s.toml" .name) | nindent 4 }}
{{- end }}

{{- define "verdict.template" -}}
{{- $values := index .root.Values .name -}}
{{- $store := and .root.Values.store.secured (ne .name "processor") -}}
{{- $models := ne .name "ingest" -}}
metadata:
  labels:
    {{- include "verdict.selector" .name | nindent 4 }}
  annotations:
    # A changed setting starts the pods anew, one by one.
    checksum/settings: {{ printf "%s%s" (include "verdict.addresses" .root) (.root.Files.Get (printf "files/config/%s.toml" .name)) | sha256sum }}
spec:
  serviceAccountName: {{ .name }}
  automountServiceAccountToken: false
  # Variables of services whose names begin with `verdict` would be taken for settings.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .grace }}
  {{- include "verdict.pull-secrets" .root | nindent 2 }}
  {{- include "verdict.pod-security" . | nindent 2 }}
  topologySpreadConstraints:
    {{- range list (list "topology.kubernetes.io/zone" "ScheduleAnyway") (list "kubernetes.io/hostname" .root.Values.spread) }}
    - maxSkew: 1
      topologyKey: {{ index . 0 }}
      whenUnsatisfiable: {{ index . 1 }}
      labelSelector:
        matchLabels:
          {{- include "verdict.selector" $.name | nindent 10 }}
      matchLabelKeys: [{{ $.revision }}]
    {{- end }}
  {{- if and $models (eq .root.Values.bundles.from "store") }}
  initContainers:
    {{- include "verdict.copy" .root | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .name }}
      image: {{ include "verdict.image" . }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      envFrom:
        - configMapRef: { name: addresses }
        {{- if $store }}
        - configMapRef: { name: store }
        {{- end }}
      env:
        - { name: VERDICT_CONFIG, value: /etc/verdict/{{ .name }}.toml }
        {{- if $store }}
        - { name: VERDICT_STORE__USERNAME, valueFrom: { secretKeyRef: { name: {{ .root.Values.store.secret }}, key: user } } }
        {{- end }}
        {{- range $key, $value := $values.settings }}
        - { name: {{ include "verdict.variable" $key }}, value: {{ $value | quote }} }
        {{- end }}
      ports:
        - { name: http, containerPort: {{ .port }} }
      startupProbe:
        httpGet: { path: /startupz, port: http }
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 300
      livenessProbe:
        httpGet: { path: /livez, port: http }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      readinessProbe:
        httpGet: { path: /readyz, port: http }
        periodSeconds: 5
        timeoutSeconds: 2
        failureThreshold: 2
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      {{- include "verdict.container-security" . | nindent 6 }}
      volumeMounts:
        - { name: config, mountPath: /etc/verdict, readOnly: true }
        {{- if .root.Values.kafka.secured }}
        - { name: kafka-client, mountPath: /run/secrets/kafka, readOnly: true }
        {{- end }}
        {{- if $store }}
        - { name: store-client, mountPath: /run/secrets/store, readOnly: true }
        {{- end }}
        {{- if and $models (ne .root.Values.bundles.from "image") }}
        - { name: bundles, mountPath: /models, readOnly: true }
        {{- end }}
  volumes:
    - name: config
      configMap: { name: {{ .name }} }
    {{- if .root.Values.kafka.secured }}
    - { name: kafka-client, secret: { secretName: {{ .root.Values.kafka.secret }} } }
    {{- end }}
    {{- if $store }}
    - { name: store-client, secret: { secretName: {{ .root.Values.store.secret }} } }
    {{- end }}
    {{- if and $models (eq .root.Values.bundles.from "volume") }}
    - { name: bundles, persistentVolumeClaim: { claimName: {{ .root.Values.bundles.claim }}, readOnly: true } }
    {{- else if and $models (eq .root.Values.bundles.from "store") }}
    - { name: bundles, emptyDir: { sizeLimit: {{ .root.Values.bundles.size }} } }
    {{- end }}
{{- end }}

{{- define "verdict.copy" -}}
- name: bundles
  image: rclone/rclone:1.75.1
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [copy, --checksum, --retries, "10", "store:$(BUCKET)", /models]
  envFrom:
    - configMapRef: { name: bundles }
  env:
    # Where else rclone would look for what is set here, and write.
    - { name: RCLONE_CONFIG, value: /dev/null }
    - { name: RCLONE_CONFIG_STORE_TYPE, value: s3 }
    - { name: RCLONE_CONFIG_STORE_PROVIDER, value: Other }
    - name: RCLONE_CONFIG_STORE_ACCESS_KEY_ID
      valueFrom: { secretKeyRef: { name: {{ .Values.bundles.store.secret }}, key: access-key } }
    - name: RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY
      valueFrom: { secretKeyRef: { name: {{ .Values.bundles.store.secret }}, key: secret-key } }
  resources:
    requests: { cpu: 100m, memory: 128Mi }
    limits: { memory: 256Mi }
  {{- include "verdict.container-security" . | nindent 2 }}
  volumeMounts:
    - { name: bundles, mountPath: /models }
{{- end }}
