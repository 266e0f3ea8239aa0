-- task/fail: says that the task could not be done; it rests and is tried again while attempts are left and may help.
-- op {key, token, reason, retry, chance, audit, next}
-- returns {key, status, next?}, next as task/claim answers

return step(function(op)
    local key, record, actor = task.owned(op.key, op.token)
    task.note(key, record, op.reason, nil)
    record.error = op.reason
    if op.retry and record.attempt < record.max_attempts then
        local pause = task.pause(record.backoff or task.BACKOFF, record.attempt, op.chance)
        task.free(record)
        record.retry_at = now + pause
        return task.finished(actor, key, task.enqueue(key, record), op.next)
    end
    local status = op.retry and 'dead' or 'failed'
    task.finish(key, record, status)
    audit.record(op.audit)
    return task.finished(actor, key, status, op.next)
end)
