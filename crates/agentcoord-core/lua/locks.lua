-- locks: rules of file locks, the same as src/machine/lock/*.rs.

local lock = {}

-- The kinds of index entries of all who wait.
lock.ANY_WAITER = {[ONLOOKING] = true, w = true, ws = true}
-- The kinds of index entries that conflict with a mode.
lock.HOLDERS = {exclusive = {h = true, hs = true}, shared = {h = true}}
lock.WAITERS = {exclusive = {w = true, ws = true}, shared = {w = true}}
lock.EVERYBODY = {exclusive = {h = true, hs = true, w = true, ws = true}, shared = {h = true, w = true}}
-- Most conflicts that an answer names, and obstacles of a waiter that are looked at.
lock.CONFLICTS = 8
-- Entries read at once.
lock.PAGE = 16
-- Freed paths that one step goes through.
lock.PATHS_PER_STEP = 4 * WORK_PER_STEP
-- What an offer costs beside the look: it writes as much as three looks read.
lock.OFFER_TURNS = 2

-- The earlier of two times, either of which may be missing.
function lock.sooner(at, other)
    if at and other then
        return math.min(at, other)
    end
    return at or other
end

-- When a grant ends at the latest if its holder does nothing more.
function lock.blocking_until(grant)
    local session = get('session', grant.session)
    return lock.sooner(grant.offer or grant.deadline, session and session.due)
end

function lock.deadline(ttl)
    return ttl and now + ttl
end

function lock.granted(grant, reacquired)
    return {
        token = grant.token, paths = grant.paths, mode = grant.mode, ticket = grant.ticket, reacquired = reacquired,
        deadline_at = grant.deadline and wall_at(grant.deadline),
    }
end

function lock.queued(ticket, tick_at)
    return {queued = {ticket = ticket, tick_in = tick_at and math.max(0, tick_at - now)}}
end

check_fence = function()
    if FENCE == '' then
        return
    end
    local grant = get('lock', FENCE)
    if grant and not grant.offer and (not grant.deadline or grant.deadline > now) then
        local session = get('session', grant.session)
        if session and is_live(grant.session, session) then
            return
        end
    end
    refuse({stale = {noun = 'lock', id = FENCE}})
end

-- The grant, if the acting session holds it.
function lock.owned(actor, token)
    local grant = edit('lock', text(token))
    if not grant or grant.session ~= actor.id then
        refuse({stale = {noun = 'lock', id = text(token), owner = grant and grant.name}})
    end
    return grant
end

-- Overlapping paths

-- The places that overlap with a path, in the order of the index: one path, or (below) all paths that begin so.
function lock.spots(path)
    if string.sub(path, 1, 1) == '@' then
        return {{path = path}}
    end
    local subtree = string.sub(path, -1) == '/'
    if not subtree and state.counts.subtrees == 0 then
        return {{path = path}} -- There are none above it.
    end
    local file = subtree and string.sub(path, 1, -2) or path
    local spots = {}
    for at in string.gmatch(file, '()/') do
        spots[#spots + 1] = {path = string.sub(file, 1, at)}
    end
    spots[#spots + 1] = {path = file}
    spots[#spots + 1] = {path = file .. '/', below = subtree}
    return spots
end

-- The range of the entries of a place, in an index whose entries begin with `prefix` and then name a path.
function lock.range(prefix, spot)
    if spot.below then
        -- The slash, and the byte after it.
        return prefix .. '\0' .. spot.path, prefix .. '\0' .. string.sub(spot.path, 1, -2) .. '0'
    end
    return under(prefix, spot.path)
end

-- Walks over the entries that overlap with some paths. `prefix` has `parts_before` parts. Calls visit(path, holds, key)
-- for each of a kind that counts, until that returns true. Waiters from `seq` on are passed over. Returns false when it
-- ended before the end because it was too long.
function lock.walk(prefix, parts_before, paths, kinds, seq, visit)
    local left, seen = LOCK_ENTRIES, {}
    local bound = pad(seq)
    local function range(from, to)
        while true do
            if left == 0 then
                return 'cut'
            end
            local page = scan(from, to, lock.PAGE)
            left = left - math.min(math.max(#page, 1), left)
            local beyond
            for _, entry in ipairs(page) do
                local raw = table.concat(entry, '\0')
                if not beyond or not before(raw, beyond) then
                    local path, kind, number = entry[parts_before + 1], entry[parts_before + 2], entry[parts_before + 3]
                    local holds = string.sub(kind, 1, 1) == 'h'
                    if kinds[kind] and (holds or before(number, bound)) then
                        if visit(path, holds, entry[#entry]) then
                            return 'stop'
                        end
                    else
                        -- Nothing of this kind counts any more at this path: on to the next.
                        beyond = prefix .. '\0' .. path .. '\0' .. kind .. '\1'
                    end
                end
            end
            if #page < lock.PAGE then
                return
            end
            local after = table.concat(page[#page], '\0') .. '\0'
            if beyond and before(after, beyond) then
                after = beyond
            end
            if not before(after, to) then
                return
            end
            from = after
        end
    end
    for _, path in ipairs(paths) do
        for _, spot in ipairs(lock.spots(path)) do
            local from, to = lock.range(prefix, spot)
            if not seen[from .. '\2' .. to] then
                seen[from .. '\2' .. to] = true
                local ended = range(from, to)
                if ended then
                    return ended ~= 'cut'
                end
            end
        end
    end
    return true
end

function lock.is_of(record, request)
    return record.session == request.session and record.lane == request.lane
end

function lock.lane_prefix(request)
    return 'lane\0' .. request.session .. '\0' .. request.lane
end

-- Whether the lane of a request holds anything.
function lock.lane_holds(request)
    local from, to = under(lock.lane_prefix(request))
    return scan(from, to, 1)[1] ~= nil
end

-- Whether the lane of a request holds something of these kinds that overlaps with these paths.
function lock.lane_holds_on(request, paths, kinds)
    local found = false
    lock.walk(lock.lane_prefix(request), 3, paths, kinds, 0, function()
        found = true
        return true
    end)
    return found
end

-- Whether the lane of a request holds what a waiter waits for.
function lock.holds_against(request, waiter)
    return lock.lane_holds(request) and lock.lane_holds_on(request, waiter.paths, lock.HOLDERS[waiter.mode])
end

-- Those in the way of a request {session, lane, mode, paths, seq}, at most `most`, each as {path, holds, record}; the
-- second value is false when there may be more than were looked at. An older waiter is not in the way when it waits for
-- a lock of the very lane that asks: waiting for it would be waiting for oneself.
function lock.obstacles(request, kinds, most)
    local found = {}
    local all = lock.walk('path', 1, request.paths, kinds, request.seq, function(path, holds, key)
        local record = get(holds and 'lock' or 'lock_ticket', key)
        if record and not lock.is_of(record, request) and (holds or not lock.holds_against(request, record)) then
            found[#found + 1] = {path = path, holds = holds, record = record}
        end
        return #found >= most
    end)
    return found, all
end

-- When the first of the holders in the way ends at the latest.
function lock.tick_at(obstacles)
    local at
    for _, obstacle in ipairs(obstacles) do
        if obstacle.holds then
            at = lock.sooner(at, lock.blocking_until(obstacle.record))
        end
    end
    return at
end

-- Passing on

-- Notes paths that a holder or a waiter has left.
function lock.free(paths)
    for _, path in ipairs(paths) do
        freed[#freed + 1] = {path = path, from = ''}
    end
end

-- Whether a waiter has not come to its turn yet.
function lock.waits(waiter)
    return not waiter.offered and waiter.look ~= 'free'
end

-- Tells one who takes nothing that its paths are free.
function lock.tell(key, waiter)
    waiter.look = 'free'
    waiter.deadline = now + OFFER
    wake(key)
    put('lock_ticket', key, waiter)
end

function lock.offer(key, waiter)
    turns = math.max(0, turns - lock.OFFER_TURNS)
    local token = next_token()
    insert('lock', text(token), {
        token = token, session = waiter.session, agent = waiter.agent, name = waiter.name, lane = waiter.lane,
        mode = waiter.mode, paths = waiter.paths, since = wall, ticket = key, intent = waiter.intent,
        offer = now + OFFER,
    })
    waiter = copy('lock_ticket', waiter)
    waiter.offered = token
    put('lock_ticket', key, waiter)
    wake(key)
end

-- Offers the lock to a waiter when nothing keeps it back; takes it out of the queue when its session has ended. With
-- `chase`, when holders keep it back, what those wait for is looked at as well: for them this waiter is not in the way.
function lock.look_at(key, chase)
    turns = math.max(0, turns - 1)
    local waiter = edit('lock_ticket', key)
    if not waiter or not lock.waits(waiter) then
        return
    end
    local session = get('session', waiter.session)
    if not session or not is_live(waiter.session, session) then
        delete('lock_ticket', key)
        return lock.free(waiter.paths)
    end
    local in_the_way, all = lock.obstacles(waiter, lock.EVERYBODY[waiter.mode], chase and lock.CONFLICTS or 1)
    if #in_the_way == 0 and all then
        if waiter.look then
            return lock.tell(key, waiter)
        end
        lock.offer(key, waiter)
        return lock.look_at_lane(waiter.session, waiter.lane)
    end
    if chase then
        for _, obstacle in ipairs(in_the_way) do
            if obstacle.holds then
                lock.look_at_lane(obstacle.record.session, obstacle.record.lane)
            end
        end
    end
end

-- Looks at what a lane waits for.
function lock.look_at_lane(session, lane)
    if state.counts.lock_waiters == 0 then
        return
    end
    local from, to = under('waits', session, lane)
    for _, entry in ipairs(scan(from, to, WORK_PER_STEP)) do
        lock.look_at(entry[#entry], false)
    end
end

-- Looks at the waiters of a range in order. Returns where it stopped when the step has done enough.
function lock.look_at_all(at, to)
    while before(at, to) do
        local entry = scan(at, to, 1)[1]
        if not entry then
            return
        end
        local raw = table.concat(entry, '\0')
        if turns == 0 then
            return raw
        end
        lock.look_at(entry[#entry], true)
        at = raw .. '\0'
    end
end

-- Looks at those who may come first at one path: those who take nothing, the oldest exclusive waiter, and the shared ones
-- before it. Returns where it stopped when the step has done enough.
function lock.heads(path, from)
    local looking, taking = under('path', path, ONLOOKING)
    local reached = lock.look_at_all(before(looking, from) and from or looking, taking)
    if reached then
        return reached
    end
    local first_from, first_to = under('path', path, 'w')
    local first = scan(first_from, first_to, 1)[1]
    local bound = pad(NEVER)
    if first then
        if turns == 0 then
            return before(from, taking) and taking or from
        end
        bound = first[4]
        lock.look_at(first[#first], true)
    end
    local at = under('path', path, 'ws')
    if before(at, from) then
        at = from
    end
    return lock.look_at_all(at, 'path\0' .. path .. '\0ws\0' .. bound)
end

-- Looks at the waiters that a freed path may let through. Returns where it stopped when the step has done enough.
function lock.pass_on(path, from)
    for _, spot in ipairs(lock.spots(path)) do
        local at, to = lock.range('path', spot)
        if before(from, to) and not spot.below then
            local reached = lock.heads(spot.path, from)
            if reached then
                return reached
            end
        elseif before(from, to) then
            if before(at, from) then
                at = from
            end
            local entry = scan(at, to, 1)[1]
            while entry do
                local reached = lock.heads(entry[2], at)
                if reached then
                    return reached
                end
                turns = math.max(0, turns - 1)
                at = 'path\0' .. entry[2] .. '\1'
                entry = scan(at, to, 1)[1]
            end
        end
    end
end

-- Grants to every waiter on the freed paths that nothing keeps back any more. What is too much for one step is kept in a
-- record that is due at once.
hand_over = function()
    if state.counts.lock_waiters == 0 then
        freed = {}
    end
    local left = lock.PATHS_PER_STEP
    while #freed > 0 do
        local item = table.remove(freed, 1)
        local reached = item.from
        if left > 0 then
            reached = lock.pass_on(item.path, item.from)
            left = left - 1
        end
        if reached then
            table.insert(freed, 1, {path = item.path, from = reached})
            break
        end
    end
    if #freed > 0 then
        local record = {paths = {}}
        if freed[1].from ~= '' then
            record.from = freed[1].from
        end
        for at, item in ipairs(freed) do
            record.paths[at] = item.path
        end
        freed = {}
        put('handover', text(next_seq()), record)
    end
end

-- Goes on with what an earlier step has left.
function lock.resume(key)
    local record = get('handover', key)
    if not record then
        return
    end
    delete('handover', key)
    for at, path in ipairs(record.paths) do
        freed[#freed + 1] = {path = path, from = at == 1 and record.from or ''}
    end
end

-- Ends a grant; what it held is passed on by the end of the step.
function lock.drop_grant(key)
    local grant = get('lock', key)
    if grant then
        delete('lock', key)
        lock.free(grant.paths)
    end
end

-- Lets through those who waited behind a waiter.
function lock.leave(waiter)
    if not waiter.offered and not waiter.look then
        lock.free(waiter.paths)
    end
end

-- Takes a waiter out of the queue; those behind it are let through by the end of the step.
function lock.drop_ticket(key)
    local waiter = get('lock_ticket', key)
    if waiter then
        delete('lock_ticket', key)
        lock.leave(waiter)
    end
end

-- A grant's deadline or offer has passed.
function lock.overdue(key)
    local grant = get('lock', key)
    if not grant then
        return
    end
    lock.drop_grant(key)
    local waiter = grant.offer and edit('lock_ticket', grant.ticket)
    if not waiter then
        return
    end
    -- It did not confirm in time: back to the end of the queue, so that others come first. Its new place may close a
    -- circle, though nobody has asked for anything.
    waiter.offered = nil
    waiter.seq = next_seq()
    if lock.circle(waiter) then
        wake(grant.ticket)
        delete('lock_ticket', grant.ticket)
    else
        put('lock_ticket', grant.ticket, waiter)
    end
end

-- A waiter has waited long enough.
function lock.give_up(key)
    wake(key)
    lock.drop_ticket(key)
end

-- Asking

-- Somebody in the way, as answers name it.
function lock.conflict(obstacle)
    local record = obstacle.record
    return {
        path = obstacle.path, agent = record.agent, name = record.name, waiting = not obstacle.holds,
        intent = record.intent, since = record.since,
        deadline_at = obstacle.holds and record.deadline and wall_at(record.deadline) or nil,
    }
end

-- The kinds of what the lane holds, of all kinds when it holds much.
function lock.lane_kinds(asked)
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

-- Queues a request behind those in its way, or says who they are when it does not want to wait. Who holds nothing keeps
-- nobody waiting.
function lock.queue(op, asked, holds, in_the_way)
    if op.wait == 0 then
        local conflicts = {}
        for at, obstacle in ipairs(in_the_way) do
            conflicts[at] = lock.conflict(obstacle)
        end
        return {contended = {conflicts = conflicts}}
    end
    local tick_at = lock.tick_at(in_the_way)
    local ticket = ticket_of(request)
    asked.seq = next_seq()
    asked.since = wall
    asked.intent = op.intent
    asked.ttl = op.ttl
    asked.deadline = lock.deadline(op.wait)
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
