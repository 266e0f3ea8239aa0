-- task/release: puts a task back to its place in the queue; the attempt does not count.
-- op {key, token}
-- returns {key, status}

return step(function(op)
    local key, record = task.owned(op.key, op.token)
    task.free(record)
    task.uncount(record)
    task.ready(key, record)
    return task.changed(key, 'pending')
end)
