-- task/complete: says that the task is done, and claims the next one when asked to. `id` names the stored result and must be the task's.
-- op {key, id, token, has_result, next}
-- returns {key, status, next?}, next as task/claim answers

return step(function(op)
    local key, record, actor = task.owned(op.key, op.token)
    if record.id ~= op.id then
        refuse({not_found = {noun = 'task', id = op.id}})
    end
    record.has_result = op.has_result or nil
    task.finish(key, record, 'completed')
    return task.finished(actor, key, 'completed', op.next)
end)
