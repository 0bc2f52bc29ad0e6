-- Suspend the object: the operator does not call Atlas for it.
obj.spec.suspend = true
return obj
