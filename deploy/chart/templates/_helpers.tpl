{{/*
Set every value that is missing or null to its default. Helm leaves such values if it reuses the values of an older release
(--reuse-values), or if a map is set to null. In the maps that Kubernetes defines, a missing field was removed on purpose.
*/}}
{{- define "atlas-invites.defaults" -}}
{{- range $name, $default := fromYaml (.Files.Get "files/values.yaml") }}
{{- $value := index $.Values $name }}
{{- if kindIs "invalid" $value }}
{{- $_ := set $.Values $name $default }}
{{- else if and (kindIs "map" $value) (not (has $name (list "nodeSelector" "podSecurityContext" "resources" "securityContext"))) }}
{{- range $field, $inner := $default }}
{{- if kindIs "invalid" (index $value $field) }}{{ $_ := set $value $field $inner }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/*
The namespaces in which the operator has rights, separated by commas. Empty: all.
*/}}
{{- define "atlas-invites.namespaces" -}}
{{- $former := .Values.settings.namespaces }}
{{- if eq (toString .Values.scope) "namespace" }}
{{- .Release.Namespace }}
{{- else if kindIs "string" .Values.scope }}
{{- join "," $former }}
{{- else }}
{{- if and $former .Values.scope.namespaces }}
{{- fail "settings.namespaces is the former name of scope.namespaces: remove settings.namespaces" }}
{{- end }}
{{- join "," (default $former .Values.scope.namespaces) }}
{{- end }}
{{- end }}

{{/*
The name of the ServiceAccount.
*/}}
{{- define "atlas-invites.serviceAccount" -}}
{{- default "atlas-invites" .Values.serviceAccount.name }}
{{- end }}

{{/*
The labels of every object.
*/}}
{{- define "atlas-invites.labels" -}}
{{- toYaml (merge (dict "app.kubernetes.io/name" "atlas-invites") .Values.commonLabels) }}
{{- end }}

{{/*
Render a file of the manifests for kustomize, in "namespace", or in the namespace of the release. If "namespaces" is not
empty, each cluster-scoped role and binding becomes a Role or a RoleBinding in each of these namespaces.
*/}}
{{- define "atlas-invites.objects" -}}
{{- $root := .root -}}
{{- range $document := splitList "\n---\n" ($root.Files.Get .file) }}
{{- $object := fromYaml $document }}
{{- $_ := set $object.metadata "labels" (merge (fromYaml (include "atlas-invites.labels" $root)) (default dict $object.metadata.labels)) }}
{{- $namespaces := list (default $root.Release.Namespace $.namespace) }}
{{- if hasPrefix "Cluster" $object.kind }}
{{- $namespaces = $.namespaces | default (list "") }}
{{- else if hasPrefix "Validating" $object.kind }}
{{- $namespaces = list "" }}
{{- end }}
{{- if eq $object.kind "ServiceAccount" }}
{{- $_ := set $object.metadata "name" (include "atlas-invites.serviceAccount" $root) }}
{{- with $root.Values.serviceAccount.annotations }}{{ $_ := set $object.metadata "annotations" . }}{{ end }}
{{- if not $root.Values.serviceAccount.create }}{{ $namespaces = list }}{{ end }}
{{- else if and $root.Values.credentials.namespace $object.rules (eq $object.metadata.name "atlas-invites") }}
{{- /* The Role in the credentials namespace has this right. */}}
{{- $rules := list }}
{{- range $object.rules }}{{ if not (has "secrets" .resources) }}{{ $rules = append $rules . }}{{ end }}{{ end }}
{{- $_ := set $object "rules" $rules }}
{{- else if eq $object.kind "NetworkPolicy" }}
{{- include "atlas-invites.network" (dict "policy" $object "values" $root.Values.networkPolicy) }}
{{- else if hasPrefix "monitoring.coreos.com/" $object.apiVersion }}
{{- include "atlas-invites.monitoring" (dict "object" $object "values" $root.Values.monitoring) }}
{{- end }}
{{- range $object.subjects }}
{{- $_ := set . "namespace" $root.Release.Namespace }}
{{- $_ := set . "name" (include "atlas-invites.serviceAccount" $root) }}
{{- end }}
{{- range $namespace := $namespaces }}
{{- if $namespace }}
{{- $_ := set $object.metadata "namespace" $namespace }}
{{- $_ := set $object "kind" (trimPrefix "Cluster" $object.kind) }}
{{- if $object.roleRef }}{{ $_ := set $object.roleRef "kind" "Role" }}{{ end }}
{{- end }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}
{{- end }}

{{/*
Set the namespace that may read metrics, and the ports that the Pods may reach.
*/}}
{{- define "atlas-invites.network" -}}
{{- $from := first (first .policy.spec.ingress).from }}
{{- $_ := set $from.namespaceSelector.matchLabels "kubernetes.io/metadata.name" .values.prometheusNamespace }}
{{- $ports := list }}
{{- range .values.ports }}{{ $ports = append $ports (dict "protocol" "TCP" "port" (int .)) }}{{ end }}
{{- $_ := set (last .policy.spec.egress) "ports" $ports }}
{{- end }}

{{/*
Set the labels that Prometheus selects, and the runbook_url of each alert.
*/}}
{{- define "atlas-invites.monitoring" -}}
{{- $runbook := .values.runbookUrl }}
{{- $_ := set .object.metadata "labels" (merge .object.metadata.labels .values.labels) }}
{{- if hasPrefix "http" $runbook }}
{{- range .object.spec.groups }}
{{- range .rules }}
{{- $_ := set .annotations "runbook_url" (printf "%s#%s" $runbook (lower .alert)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
