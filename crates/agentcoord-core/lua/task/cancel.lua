-- task/cancel: calls a task off, also a claimed one.
-- op {key, reason}
-- returns {key, status}

return step(function(op)
    local by = principal()
    local key = resolve('task', op.key)
    local record = edit('task', key)
    if task.FINAL[record.status] then
        task.wrong_state(key, record, 'blocked, scheduled, pending, claimed or in_progress')
    end
    record.error = 'cancelled by ' .. by .. (op.reason and ': ' .. op.reason or '')
    local ticket, offered = record.ticket, record.offer ~= nil
    task.finish(key, record, 'cancelled')
    if ticket and offered then
        task.wait_on(ticket)
    elseif ticket then
        -- The holder listens to the ticket that its claim came from.
        wake(ticket)
    end
    return task.changed(key, 'cancelled')
end)
