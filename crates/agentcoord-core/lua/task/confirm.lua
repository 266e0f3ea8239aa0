-- task/confirm: takes up the task that a wake-up announced.
-- op {ticket}
-- returns claimed {..} | queued {ticket, tick_in?} | lapsed {ticket}

return step(function(op)
    local actor = acting()
    local ticket = op.ticket
    local waiter = edit('task_ticket', ticket)
    if not waiter or waiter.session ~= actor.id then
        return {lapsed = {ticket = ticket}}
    end
    if is_in_line(waiter) then
        return task.queued(ticket, waiter)
    end
    local key = waiter.offered
    local record = key and edit('task', key)
    if not record or record.ticket ~= ticket then
        -- What was offered has gone elsewhere. Tasks that became ready meanwhile were not handed to this claim.
        local too_complex
        key, record, too_complex = task.best(waiter.tags, waiter.capabilities)
        if too_complex then
            forbid('too_complex')
        elseif not key then
            waiter.offered = nil
            waiter.away = nil
            put('task_ticket', ticket, waiter)
            return task.queued(ticket, waiter)
        end
        task.take(record, waiter.session, waiter.agent, waiter.name, ticket)
    end
    delete('task_ticket', ticket)
    local lease = waiter.lease or record.lease or waiter.fallback
    record.offer = nil
    record.deadline = lease and now + lease
    record.claimed_at = wall
    put('task', key, record)
    return task.claimed(key, record)
end)
