-- task/confirm: takes up the task that a wake-up announced.
-- op {ticket}
-- returns claimed {..} | queued {ticket, tick_in?} | lapsed {ticket}

return step(function(op)
    local actor = acting()
    local lapsed = {lapsed = {ticket = op.ticket}}
    local waiter = get('task_ticket', op.ticket)
    if not waiter or waiter.session ~= actor.id then
        return lapsed
    end
    local key = waiter.offered
    if not key then
        return task.queued(op.ticket, waiter)
    end
    delete('task_ticket', op.ticket)
    local record = edit('task', key)
    if not record or record.ticket ~= op.ticket then
        return lapsed
    end
    local lease = waiter.lease or record.lease
    record.offer = nil
    record.deadline = lease and now + lease
    record.claimed_at = wall
    put('task', key, record)
    return task.claimed(key, record)
end)
