-- task/redrive: puts a failed, cancelled or dead task back into its queue, with all its attempts before it.
-- op {key}
-- returns {key, status}

return step(function(op)
    principal()
    local key = resolve('task', op.key)
    local record = edit('task', key)
    if not task.FINAL[record.status] or record.status == 'completed' then
        task.wrong_state(key, record, 'failed, cancelled or dead')
    end
    task.free(record)
    record.attempt = 0
    record.crashes = 0
    record.completed_at = nil
    record.error = nil
    record.note = nil
    record.percent = nil
    local status = task.enqueue(key, record)
    task.announce(key, status)
    return task.changed(key, status)
end)
