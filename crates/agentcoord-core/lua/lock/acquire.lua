-- lock/acquire: grants all paths when nothing is in the way, else queues or says who is in the way.
-- op {paths, mode, lane, intent, ttl, wait}
-- returns granted {token, paths, mode, ticket, deadline_at?, reacquired} | queued {ticket, tick_in?} | contended {conflicts} | deadlock {cycle}

-- The newest confirmed grant of the lane with exactly these paths in this mode.
local function same_lease(asked)
    local from, to = under(lock.lane_prefix(asked), asked.paths[1], HOLDING[asked.mode])
    local entries = scan(from, to, WORK_PER_STEP)
    for at = #entries, 1, -1 do
        local grant = get('lock', entries[at][#entries[at]])
        if grant and not grant.offer and same(grant.paths, asked.paths) then
            return grant
        end
    end
end

local function grant_now(op, asked)
    local token = next_token()
    local grant = {
        token = token, session = asked.session, agent = asked.agent, name = asked.name, lane = op.lane, mode = op.mode,
        paths = op.paths, since = wall, ticket = ticket_of(request), intent = op.intent,
        deadline = lock.deadline(op.ttl),
    }
    insert('lock', text(token), grant)
    -- What waits for the new lock is no longer in the way of what this lane waits for.
    lock.look_at_lane(asked.session, op.lane)
    return {granted = lock.granted(grant, false)}
end

return step(function(op)
    local actor = acting()
    local asked = {
        session = actor.id, agent = actor.session.agent, name = actor.session.name, lane = op.lane, mode = op.mode,
        paths = op.paths, seq = NEVER,
    }
    local held = lock.lane_kinds(asked)
    local holds = next(held) ~= nil
    if holds then
        local grant = held[HOLDING[op.mode]] and same_lease(asked)
        if grant then
            if op.ttl then
                grant = copy('lock', grant)
                grant.deadline = lock.deadline(op.ttl)
                put('lock', text(grant.token), grant)
            end
            return {granted = lock.granted(grant, true)}
        end
        if op.mode == 'exclusive' and held.hs and lock.lane_holds_on(asked, op.paths, {hs = true}) then
            forbid('lock_upgrade')
        end
    end
    local in_the_way, all = lock.obstacles(asked, lock.EVERYBODY[op.mode], lock.CONFLICTS)
    if #in_the_way == 0 then
        if not all then
            forbid('too_complex')
        end
        return grant_now(op, asked)
    end
    return lock.queue(op, asked, holds, in_the_way)
end)
