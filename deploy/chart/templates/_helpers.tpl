{{/*
One file of kustomize's manifests, as they are, in the release's namespace. With scope: namespace, what is for the
whole cluster becomes what is for the namespace.
*/}}
{{- define "atlas-invites.objects" -}}
{{- $root := .root -}}
{{- range $document := splitList "\n---\n" ($root.Files.Get .file) }}
{{- $object := fromYaml $document }}
{{- $object = mergeOverwrite $object (dict "metadata" (dict "labels" (dict "app.kubernetes.io/name" "atlas-invites"))) }}
{{- $bound := has $object.kind (list "ClusterRole" "ClusterRoleBinding") }}
{{- if and $bound (eq $root.Values.scope "namespace") }}
{{- $_ := set $object "kind" (trimPrefix "Cluster" $object.kind) }}
{{- if $object.roleRef }}{{ $_ := set $object.roleRef "kind" "Role" }}{{ end }}
{{- $bound = false }}
{{- end }}
{{- if not (or $bound (hasPrefix "Validating" $object.kind)) }}
{{- $_ := set $object.metadata "namespace" $root.Release.Namespace }}
{{- end }}
{{- if eq $object.kind "ServiceAccount" }}
{{- with $root.Values.serviceAccount.annotations }}{{ $_ := set $object.metadata "annotations" . }}{{ end }}
{{- else if eq $object.kind "NetworkPolicy" }}
{{- include "atlas-invites.network" (dict "policy" $object "values" $root.Values.networkPolicy) }}
{{- else if hasPrefix "monitoring.coreos.com/" $object.apiVersion }}
{{- include "atlas-invites.monitoring" (dict "object" $object "values" $root.Values.monitoring) }}
{{- end }}
{{- range $object.subjects }}{{ $_ := set . "namespace" $root.Release.Namespace }}{{ end }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}

{{/*
Who may ask the Pods for metrics, and which ports they may reach.
*/}}
{{- define "atlas-invites.network" -}}
{{- $from := first (first .policy.spec.ingress).from }}
{{- $_ := set $from.namespaceSelector.matchLabels "kubernetes.io/metadata.name" .values.prometheusNamespace }}
{{- $ports := list }}
{{- range .values.ports }}{{ $ports = append $ports (dict "protocol" "TCP" "port" (int .)) }}{{ end }}
{{- $_ := set (last .policy.spec.egress) "ports" $ports }}
{{- end }}

{{/*
The labels that Prometheus selects, and where an alert leads.
*/}}
{{- define "atlas-invites.monitoring" -}}
{{- $base := .values.runbookUrl }}
{{- $_ := set .object.metadata "labels" (merge .object.metadata.labels .values.labels) }}
{{- range .object.spec.groups }}
{{- range .rules }}
{{- $_ := set .annotations "runbook_url" (replace "docs/runbook.md" $base .annotations.runbook_url) }}
{{- end }}
{{- end }}
{{- end }}
