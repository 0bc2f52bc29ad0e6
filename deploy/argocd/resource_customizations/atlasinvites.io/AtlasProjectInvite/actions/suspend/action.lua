-- Suspend: Atlas is not called for this object.
obj.spec.suspend = true
return obj
