-- lock/acquire: grants all paths when nothing is in the way, else queues or says who is in the way.
-- op {paths, mode, lane, intent, ttl, wait}
-- returns granted {token, paths, mode, ticket, deadline_at?, reacquired} | queued {ticket, tick_in?} | contended {conflicts} | deadlock {cycle}

local function conflict(obstacle)
    local record = obstacle.record
    return {
        path = obstacle.path, agent = record.agent, name = record.name, waiting = not obstacle.holds,
        intent = record.intent, since = record.since,
        deadline_at = obstacle.holds and record.deadline and wall_at(record.deadline) or nil,
    }
end

-- The kinds of what the lane holds, of all kinds when it holds much.
local function lane_kinds(asked)
    local from, to = under(lock.lane_prefix(asked))
    local entries, kinds = scan(from, to, lock.PAGE), {}
    for _, entry in ipairs(entries) do
        kinds[entry[5]] = true
    end
    if #entries == lock.PAGE then
        kinds = {h = true, hs = true}
    end
    return kinds
end

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

local function queue(op, asked, holds, tick_at)
    local ticket = ticket_of(request)
    asked.seq = next_seq()
    asked.since = wall
    asked.intent = op.intent
    asked.ttl = op.ttl
    asked.deadline = lock.deadline(op.wait)
    -- Who holds nothing keeps nobody waiting.
    if holds then
        local cycle, too_complex = lock.circle(asked)
        if too_complex then
            forbid('too_complex')
        elseif cycle then
            return {deadlock = {cycle = cycle}}
        end
    end
    put('lock_ticket', ticket, asked)
    return lock.queued(ticket, lock.sooner(tick_at, asked.deadline))
end

return step(function(op)
    local actor = acting()
    local asked = {
        session = actor.id, agent = actor.session.agent, name = actor.session.name, lane = op.lane, mode = op.mode,
        paths = op.paths, seq = NEVER,
    }
    local held = lane_kinds(asked)
    local holds = next(held) ~= nil
    if holds then
        local grant = held[HOLDING[op.mode]] and same_lease(asked)
        if grant then
            if op.ttl then
                grant = copy(grant)
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
    if op.wait == 0 then
        local conflicts = {}
        for at, obstacle in ipairs(in_the_way) do
            conflicts[at] = conflict(obstacle)
        end
        return {contended = {conflicts = conflicts}}
    end
    return queue(op, asked, holds, lock.tick_at(in_the_way))
end)
