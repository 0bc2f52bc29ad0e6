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
{{- range $object.subjects }}{{ $_ := set . "namespace" $root.Release.Namespace }}{{ end }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}
