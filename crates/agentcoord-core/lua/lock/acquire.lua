-- lock/acquire: grants all paths when nothing is in the way, else queues or says who is in the way.
-- op {paths, mode, lane, intent, ttl, wait}
-- returns granted {token, paths, deadline_at?, reacquired} | queued {ticket, tick_in?} | contended {conflicts}

-- Most conflicts that an answer names.
local CONFLICTS = 8

local function held_by(path, grant)
    return {
        path = path, agent = grant.agent, name = grant.name, waiting = false, intent = grant.intent,
        since = grant.since, deadline_at = grant.deadline and wall_at(grant.deadline),
    }
end

local function waited_for_by(path, waiter)
    return {
        path = path, agent = waiter.agent, name = waiter.name, waiting = true, intent = waiter.intent,
        since = waiter.since,
    }
end

-- Who is in the way, the grants of this very lane, and when the first of the holders in the way ends at the latest.
local function survey(op, actor)
    local conflicts, own, tick_at = {}, {}, nil
    local function ours(record)
        return record.session == actor.id and record.lane == op.lane
    end
    for _, path in ipairs(op.paths) do
        local from, to = under('path', path)
        for _, entry in ipairs(scan(from, to, WORK_PER_STEP)) do
            local holds = entry[3] == 'h'
            local record = get(holds and 'lock' or 'lock_ticket', entry[5])
            local conflict
            if record and holds then
                if ours(record) then
                    own[#own + 1] = record
                    break -- What waits for this path waits for us.
                end
                tick_at = lock.sooner(tick_at, lock.blocking_until(record))
                conflict = held_by(path, record)
            elseif record and not ours(record) then
                conflict = waited_for_by(path, record)
            end
            conflicts[#conflicts + 1] = conflict
            if conflict and #conflicts >= CONFLICTS then
                break
            end
        end
    end
    return conflicts, own, tick_at
end

-- The newest confirmed grant of exactly these paths.
local function same_lease(own, paths)
    local newest
    for _, grant in ipairs(own) do
        if not grant.offer and same(grant.paths, paths) and (not newest or grant.token > newest.token) then
            newest = grant
        end
    end
    return newest
end

local function grant_now(op, actor)
    local token = next_token()
    local grant = {
        token = token, session = actor.id, agent = actor.session.agent, name = actor.session.name, lane = op.lane,
        mode = op.mode, paths = op.paths, since = wall, ticket = ticket_of(request), intent = op.intent,
        deadline = lock.deadline(op.ttl),
    }
    insert('lock', text(token), grant)
    return {granted = lock.granted(grant, false)}
end

local function queue(op, actor, tick_at)
    local ticket = ticket_of(request)
    local waiter = {
        seq = next_seq(), session = actor.id, agent = actor.session.agent, name = actor.session.name, lane = op.lane,
        mode = op.mode, paths = op.paths, since = wall, intent = op.intent, ttl = op.ttl,
        deadline = lock.deadline(op.wait),
    }
    put('lock_ticket', ticket, waiter)
    return lock.queued(ticket, lock.sooner(tick_at, waiter.deadline))
end

return step(function(op)
    local actor = acting()
    local conflicts, own, tick_at = survey(op, actor)
    local grant = same_lease(own, op.paths)
    if grant then
        if op.ttl then
            grant.deadline = lock.deadline(op.ttl)
            put('lock', text(grant.token), grant)
        end
        return {granted = lock.granted(grant, true)}
    end
    if #conflicts == 0 then
        return grant_now(op, actor)
    end
    if op.wait == 0 then
        while #conflicts > CONFLICTS do
            table.remove(conflicts)
        end
        return {contended = {conflicts = conflicts}}
    end
    return queue(op, actor, tick_at)
end)
