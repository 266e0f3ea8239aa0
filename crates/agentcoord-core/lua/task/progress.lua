-- task/progress: says how far the work is.
-- op {key, token, note, percent}
-- returns {key, status}

return step(function(op)
    local key, record = task.owned(op.key, op.token)
    record.status = 'in_progress'
    record.note = op.note or record.note
    record.percent = op.percent or record.percent
    put('task', key, record)
    return task.changed(key, record.status)
end)
