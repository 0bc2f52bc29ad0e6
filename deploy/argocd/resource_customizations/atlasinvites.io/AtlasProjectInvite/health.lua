-- Suspended: spec.suspend is set. Degraded: Stalled, so somebody has to do something. Progressing: not looked at yet, or
-- the operator waits or tries again by itself. Healthy: Atlas agrees with the spec; the message says how.
if obj.spec ~= nil and obj.spec.suspend then
  return {status = "Suspended", message = "Suspended (spec.suspend); Atlas is not called."}
end

local conditions = {}
local observed = nil
if obj.status ~= nil then
  observed = obj.status.observedGeneration
  for _, condition in ipairs(obj.status.conditions or {}) do
    conditions[condition.type] = condition
  end
end

if observed ~= obj.metadata.generation then
  return {status = "Progressing", message = "The operator has not looked at this generation yet."}
end

local verdicts = {{"Reconciling", "Progressing"}, {"Stalled", "Degraded"}, {"Ready", "Healthy"}}
for _, verdict in ipairs(verdicts) do
  local condition = conditions[verdict[1]]
  if condition ~= nil and condition.status == "True" then
    return {status = verdict[2], message = condition.message}
  end
end
return {status = "Progressing", message = "The operator has not said yet how it stands."}
