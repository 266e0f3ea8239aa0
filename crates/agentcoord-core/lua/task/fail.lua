-- task/fail: says that the task could not be done; it is tried again while attempts are left and may help.
-- op {key, token, reason, retry}
-- returns {key, status}

return step(function(op)
    local key, record = task.owned(op.key, op.token)
    record.error = op.reason
    if op.retry and record.attempt < record.max_attempts then
        task.free(record)
        task.ready(key, record)
        return task.changed(key, 'pending')
    end
    task.finish(record, op.retry and 'dead' or 'failed')
    put('task', key, record)
    return task.changed(key, record.status)
end)
