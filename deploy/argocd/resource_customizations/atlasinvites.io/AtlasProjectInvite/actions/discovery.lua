-- List the actions, and disable an action while it has no effect. Argo CD also runs a disabled action if a user requests
-- it, so resend checks its conditions again.
local deleting = obj.metadata.deletionTimestamp ~= nil
local suspended = obj.spec.suspend == true

local never_sent = obj.spec.invitationId ~= nil or obj.spec.username == nil
local member = obj.status ~= nil and obj.status.state == "Accepted"

local in_git = false
for _, entry in ipairs(obj.metadata.managedFields or {}) do
  local metadata = (entry.fieldsV1 or {})["f:metadata"] or {}
  local annotations = metadata["f:annotations"] or {}
  if entry.manager == "argocd-controller" and annotations["f:atlasinvites.io/resend-requested-at"] ~= nil then
    in_git = true
  end
end

local actions = {}
actions["reconcile"] = {["disabled"] = suspended}
actions["resend"] = {["disabled"] = deleting or suspended or never_sent or member or in_git}
actions["resume"] = {["disabled"] = not suspended}
actions["suspend"] = {["disabled"] = suspended}
return actions
