-- task/extend: moves the deadline of a claim.
-- op {key, token, lease}
-- returns {key, status}

return step(function(op)
    local key, record = task.owned(op.key, op.token)
    record.deadline = now + op.lease
    put('task', key, record)
    return task.changed(key, record.status)
end)
