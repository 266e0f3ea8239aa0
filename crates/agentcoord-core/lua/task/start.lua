-- task/start: says that work has begun.
-- op {key, token}
-- returns {key, status}

return step(function(op)
    local key, record = task.owned(op.key, op.token)
    record.status = 'in_progress'
    put('task', key, record)
    return task.changed(key, record.status)
end)
