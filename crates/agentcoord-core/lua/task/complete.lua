-- task/complete: says that the task is done. `id` names the stored result and must be the task's.
-- op {key, id, token, has_result}
-- returns {key, status}

return step(function(op)
    local key, record = task.owned(op.key, op.token)
    if record.id ~= op.id then
        refuse({not_found = {noun = 'task', id = op.id}})
    end
    record.has_result = op.has_result or nil
    task.finish(key, record, 'completed')
    return task.changed(key, 'completed')
end)
