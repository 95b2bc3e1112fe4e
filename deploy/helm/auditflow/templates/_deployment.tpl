{{/* The deployment of a role: dict "root" $ "role" "ingest" "port" 8080 "serviceAccount" … "config" … */}}
{{- define "auditflow.deployment" -}}
{{- $root := .root -}}
{{- $values := index $root.Values .role -}}
{{- $name := include "auditflow.name" $root -}}
{{- $delivery := eq .role "delivery" -}}
{{- $tls := not (empty (dig "server" "tls" false $root.Values.config)) -}}
{{- $probe := $tls | ternary "port: http, scheme: HTTPS" "port: http" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "auditflow.metadata" (list $root .role) | nindent 2 }}
spec:
  # One pod, and the old one ends before the new one starts: the journal's files have one writer each.
  replicas: 1
  strategy:
    type: Recreate
  selector:
    matchLabels:
      {{- include "auditflow.selector" (list $root .role) | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "auditflow.selector" (list $root .role) | nindent 8 }}
        auditflow.io/journal: {{ $name }}
      annotations:
        checksum/config: {{ .config | sha256sum }}
        {{- with $values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ .serviceAccount }}
      # Nothing here calls Kubernetes. IRSA and Pod Identity bring a token of their own.
      automountServiceAccountToken: false
      # Variables such as …_PORT for every service of the namespace could be taken for AuditFlow's own.
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ add $root.Values.shutdownTimeoutSeconds 15 }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        fsGroup: 10001
        fsGroupChangePolicy: OnRootMismatch
        seccompProfile:
          type: RuntimeDefault
      affinity:
        # The pods that share the journal share its node. Each matches itself, so the first goes anywhere.
        podAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - topologyKey: kubernetes.io/hostname
              labelSelector:
                matchLabels:
                  auditflow.io/journal: {{ $name }}
      {{- with $root.Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $root.Values.image.pullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if $delivery }}
      initContainers:
        - name: wait-for-ingest # which makes and mends the journal's files before delivery opens them
          image: {{ include "auditflow.image" $root }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          command:
            - python
            - -c
            - |
              import ssl, time, urllib.request
              unchecked = ssl._create_unverified_context() # whether it lives is all that is asked
              while True:
                  try:
                      urllib.request.urlopen("{{ $tls | ternary "https" "http" }}://{{ $name }}-ingest:8080/live", timeout=2, context=unchecked)
                      break
                  except OSError:
                      time.sleep(1)
          securityContext:
            {{- include "auditflow.containerSecurity" . | nindent 12 }}
          resources:
            requests: {cpu: 10m, memory: 32Mi}
            limits: {memory: 64Mi}
      {{- end }}
      containers:
        - name: {{ .role }}
          image: {{ include "auditflow.image" $root }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args:
            - serve
            - --role={{ .role }}
            - --config=/etc/auditflow/auditflow.yaml
            - --data-dir=/data
            - {{ printf "--%s=%s" ($delivery | ternary "sink-host" "host") $root.Values.listenAddress | quote }}
            - --{{ $delivery | ternary "sink-port" "port" }}={{ .port }}
            - --log-level={{ $root.Values.log.level }}
            - --log-format={{ $root.Values.log.format }}
          {{- with $values.extraEnv }}
          env:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with $values.envFrom }}
          envFrom:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            - name: http
              containerPort: {{ .port }}
          startupProbe: # a damaged journal of many gigabytes is mended first
            httpGet: {path: /live, {{ $probe }}}
            periodSeconds: 2
            failureThreshold: 300
          livenessProbe:
            httpGet: {path: /live, {{ $probe }}}
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: /ready, {{ $probe }}}
            periodSeconds: 5
            timeoutSeconds: 5
          securityContext:
            {{- include "auditflow.containerSecurity" . | nindent 12 }}
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          volumeMounts:
            - name: config
              mountPath: /etc/auditflow
              readOnly: true
            - name: journal
              mountPath: /data
            - name: tmp
              mountPath: /tmp
            {{- with $values.extraVolumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        - name: config
          configMap:
            name: {{ $name }}-{{ .role }}
        - name: journal
          persistentVolumeClaim:
            claimName: {{ $root.Values.persistence.existingClaim | default (printf "%s-journal" $name) }}
        - name: tmp
          emptyDir: {}
        {{- with $values.extraVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end -}}

{{- define "auditflow.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}
