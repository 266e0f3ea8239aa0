-- task/complete: says that the task is done. `id` names the stored result and must be the task's.
-- op {key, id, token, has_result}
-- returns {key, status}

return step(function(op)
    local key, record = task.owned(op.key, op.token)
    if record.id ~= op.id then
        refuse({not_found = {noun = 'task', id = op.id}})
    end
    task.finish(record, 'completed')
    record.has_result = op.has_result or nil
    put('task', key, record)
    return task.changed(key, record.status)
end)
