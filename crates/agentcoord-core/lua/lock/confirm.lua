-- lock/confirm: takes up the grant that a wake-up announced.
-- op {ticket}
-- returns granted {..} | free | queued {ticket, tick_in?} | lapsed {ticket}

-- When a waiter should tick: its own deadline, or the earliest end of those who hold what it waits for.
local function tick_of(waiter)
    local in_the_way = lock.obstacles(waiter, lock.HOLDERS[waiter.mode], lock.CONFLICTS)
    return lock.sooner(waiter.deadline, lock.tick_at(in_the_way))
end

return step(function(op)
    local actor = acting()
    local waiter = get('lock_ticket', op.ticket)
    if not waiter or waiter.session ~= actor.id then
        return {lapsed = {ticket = op.ticket}}
    end
    if waiter.look == 'free' then
        delete('lock_ticket', op.ticket)
        return 'free'
    end
    if not waiter.offered then
        return lock.queued(op.ticket, tick_of(waiter))
    end
    local key = text(waiter.offered)
    local grant = edit('lock', key)
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
