-- Suspended: spec.suspend is set.
-- Degraded: the condition Stalled is True, so a user must act.
-- Progressing: the operator has not observed the spec yet, or it waits or retries.
-- Healthy: Atlas matches the spec; the message has the details.
if obj.spec ~= nil and obj.spec.suspend then
  return {status = "Suspended", message = "Suspended (spec.suspend): the operator does not call Atlas."}
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
  return {status = "Progressing", message = "The operator has not observed this generation yet."}
end

local verdicts = {{"Reconciling", "Progressing"}, {"Stalled", "Degraded"}, {"Ready", "Healthy"}}
for _, verdict in ipairs(verdicts) do
  local condition = conditions[verdict[1]]
  if condition ~= nil and condition.status == "True" then
    return {status = verdict[2], message = condition.message}
  end
end
return {status = "Progressing", message = "The operator has not reported a result yet."}
