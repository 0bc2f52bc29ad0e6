-- Request a resend: the operator sends a new invitation, and Atlas sends a new e-mail. Fail without a change if the
-- operator would send nothing, or would send twice.
local os = require("os")

local function refuse(why)
  error("No resend was requested: " .. why, 0)
end

if obj.metadata.deletionTimestamp ~= nil then
  refuse("the object is being deleted.")
end
if obj.spec.suspend == true then
  refuse("the object is suspended (spec.suspend). Resume it first.")
end
if obj.spec.invitationId ~= nil or obj.spec.username == nil then
  refuse("the object names an invitation by spec.invitationId, and the operator never sends one for such an object.")
end
if obj.status ~= nil and obj.status.state == "Accepted" then
  refuse("the person is a member of the project.")
end
-- Argo CD would restore the value from Git. To the operator this is another new value, so it would send twice.
for _, entry in ipairs(obj.metadata.managedFields or {}) do
  local metadata = (entry.fieldsV1 or {})["f:metadata"] or {}
  local annotations = metadata["f:annotations"] or {}
  if entry.manager == "argocd-controller" and annotations["f:atlasinvites.io/resend-requested-at"] ~= nil then
    refuse("Git sets the annotation atlasinvites.io/resend-requested-at. Change it there.")
  end
end

if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["atlasinvites.io/resend-requested-at"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
