{{/* auditflow.yaml, with what the chart decides. */}}
{{- define "auditflow.config" -}}
{{- $server := dict "shutdown-timeout" (printf "%ds" (int .Values.shutdownTimeoutSeconds)) -}}
{{- mustMergeOverwrite (deepCopy .Values.config) (dict "server" $server) | toYaml -}}
{{- end -}}

{{/* The same for ingest, which enters the pipelines in the ledger by name and does nothing else with them:
     no sink's properties, no secrets, no plugins. */}}
{{- define "auditflow.ingestConfig" -}}
{{- $config := include "auditflow.config" . | fromYaml -}}
{{- $pipelines := list -}}
{{- range $config.pipelines -}}
{{- $pipelines = append $pipelines (mustMerge (pick . "name" "enabled") (dict "sink" (dict "name" "logging_sink"))) -}}
{{- end -}}
{{- mustMergeOverwrite (omit $config "plugins") (dict "pipelines" $pipelines) | toYaml -}}
{{- end -}}
