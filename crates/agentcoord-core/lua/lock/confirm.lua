-- lock/confirm: takes up the grant that a wake-up announced.
-- op {ticket}
-- returns granted {..} | queued {ticket, tick_in?} | lapsed {ticket}

-- When a waiter should tick: its own deadline, or the earliest end of whoever holds one of its paths.
local function tick_of(waiter)
    local tick_at = waiter.deadline
    for _, path in ipairs(waiter.paths) do
        local from, to = under('path', path)
        local entry = scan(from, to, 1)[1]
        local grant = entry and entry[3] == 'h' and get('lock', entry[5])
        if grant then
            tick_at = lock.sooner(tick_at, lock.blocking_until(grant))
        end
    end
    return tick_at
end

return step(function(op)
    local actor = acting()
    local waiter = get('lock_ticket', op.ticket)
    if not waiter or waiter.session ~= actor.id then
        return {lapsed = {ticket = op.ticket}}
    end
    if not waiter.offered then
        return lock.queued(op.ticket, tick_of(waiter))
    end
    local key = text(waiter.offered)
    local grant = get('lock', key)
    delete('lock_ticket', op.ticket)
    if not grant then
        return {lapsed = {ticket = op.ticket}}
    end
    grant.offer = nil
    grant.deadline = lock.deadline(waiter.ttl)
    grant.since = wall
    put('lock', key, grant)
    return {granted = lock.granted(grant, false)}
end)
