{{/* Prefix of every name: the release's, with the chart's unless it says so already. */}}
{{- define "auditflow.name" -}}
{{- $name := contains "auditflow" .Release.Name | ternary .Release.Name (printf "%s-auditflow" .Release.Name) -}}
{{- $name | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that select the pods of a role: list $ "ingest" */}}
{{- define "auditflow.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: auditflow
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of everything that belongs to a role: list $ "ingest" */}}
{{- define "auditflow.labels" -}}
{{- $root := index . 0 -}}
{{ include "auditflow.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{/* Name, namespace and labels of what belongs to a role: list $ "ingest" */}}
{{- define "auditflow.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "auditflow.name" $root }}-{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "auditflow.labels" . | nindent 2 }}
{{- end -}}

{{- define "auditflow.image" -}}
{{- with .Values.image -}}
{{- $tag := .tag | default $.Chart.AppVersion -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ $tag }}{{ end -}}
{{- end -}}
{{- end -}}
