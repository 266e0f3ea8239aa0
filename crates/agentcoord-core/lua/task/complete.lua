-- task/complete: says that the task is done. `id` only names the stored result.
-- op {key, id, token, has_result}
-- returns {key, status}

return step(function(op)
    local key, record = task.owned(op.key, op.token)
    task.finish(record, 'completed')
    record.has_result = op.has_result or nil
    put('task', key, record)
    return task.changed(key, record.status)
end)
