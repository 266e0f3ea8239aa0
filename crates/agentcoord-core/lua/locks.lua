-- locks: rules of file locks, the same as src/machine/lock/*.rs.

local lock = {}

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

function lock.offer(key, waiter)
    local token = next_token()
    insert('lock', text(token), {
        token = token, session = waiter.session, agent = waiter.agent, name = waiter.name, lane = waiter.lane,
        mode = waiter.mode, paths = waiter.paths, since = wall, ticket = key, intent = waiter.intent,
        offer = now + OFFER,
    })
    waiter = copy(waiter)
    waiter.offered = token
    put('lock_ticket', key, waiter)
    wake(key)
end

-- Offers the lock to a waiter when nothing keeps it back; takes it out of the queue when its session has ended. With
-- `chase`, when holders keep it back, what those wait for is looked at as well: for them this waiter is not in the way.
function lock.look_at(key, chase)
    turns = math.max(0, turns - 1)
    local waiter = get('lock_ticket', key)
    if not waiter or waiter.offered then
        return
    end
    local session = get('session', waiter.session)
    if not session or not is_live(waiter.session, session) then
        delete('lock_ticket', key)
        return lock.free(waiter.paths)
    end
    local in_the_way, all = lock.obstacles(waiter, lock.EVERYBODY[waiter.mode], chase and lock.CONFLICTS or 1)
    if #in_the_way == 0 and all then
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
    local from, to = under('own', session, 'lock_ticket')
    for _, entry in ipairs(scan(from, to, WORK_PER_STEP)) do
        local waiter = get('lock_ticket', entry[#entry])
        if waiter and waiter.lane == lane and not waiter.offered then
            lock.look_at(entry[#entry], false)
        end
    end
end

-- Looks at those who may come first at one path: the oldest exclusive waiter, and the shared ones before it. Returns
-- where it stopped when the step has done enough.
function lock.heads(path, from)
    local first_from, first_to = under('path', path, 'w')
    local first = scan(first_from, first_to, 1)[1]
    local bound = pad(NEVER)
    if first then
        if turns == 0 then
            local start = under('path', path)
            return before(from, start) and start or from
        end
        bound = first[4]
        lock.look_at(first[#first], true)
    end
    local at = under('path', path, 'ws')
    if before(at, from) then
        at = from
    end
    local to = 'path\0' .. path .. '\0ws\0' .. bound
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

-- Takes a waiter out of the queue; those behind it are let through by the end of the step.
function lock.drop_ticket(key)
    local waiter = get('lock_ticket', key)
    if waiter then
        delete('lock_ticket', key)
        if not waiter.offered then
            lock.free(waiter.paths)
        end
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

-- Deadlocks

-- Whether anybody waits for something that the lane of a request holds; true when it holds too much to tell.
function lock.is_waited_for(request)
    local from, to = under(lock.lane_prefix(request))
    local held = scan(from, to, WORK_PER_STEP)
    for _, entry in ipairs(held) do
        local waited_for = false
        lock.walk('path', 1, {entry[4]}, lock.WAITERS.exclusive, NEVER, function(_, _, key)
            local waiter = get('lock_ticket', key)
            waited_for = waiter ~= nil and not lock.is_of(waiter, request)
            return waited_for
        end)
        if waited_for then
            return true
        end
    end
    return #held == WORK_PER_STEP
end

-- What a lane waits for; nothing when its session is over. Second value: how many entries were read.
function lock.tickets_of(node, most)
    local tickets = {}
    local session = get('session', node.session)
    if not session or not is_live(node.session, session) then
        return tickets, 0
    end
    local from, to = under('own', node.session, 'lock_ticket')
    local entries = scan(from, to, most)
    for _, entry in ipairs(entries) do
        local waiter = get('lock_ticket', entry[#entry])
        if waiter and waiter.lane == node.lane and not waiter.offered then
            tickets[#tickets + 1] = waiter
        end
    end
    return tickets, #entries
end

-- The circle of lanes that wait for each other that the wait of `asked` would close, beginning with it; or nil and
-- whether there was too much to look at. The search is that of src/machine/lock/deadlock.rs.
function lock.circle(asked)
    if not lock.is_waited_for(asked) then
        return nil, false
    end
    local nodes = {{session = asked.session, lane = asked.lane, agent = asked.agent, name = asked.name}}
    local known, done, left, too_complex, closed = {}, {}, LOCK_EDGES, false, nil

    local function spend(count)
        if count > left then
            too_complex = true
        end
        left = math.max(0, left - count)
        return too_complex
    end
    local function is_done(ticket, path, holding)
        for _, mode in ipairs({'exclusive', ticket.mode}) do
            local up_to = done[(holding and 'h' or 'w') .. mode .. path]
            if up_to and (holding or ticket.seq <= up_to) then
                return true
            end
        end
        return false
    end
    local function follow_path(at, ticket, path, holding)
        if is_done(ticket, path, holding) then
            return
        end
        local passed_over = false
        local kinds = (holding and lock.HOLDERS or lock.WAITERS)[ticket.mode]
        local all = lock.walk('path', 1, {path}, kinds, ticket.seq, function(_, holds, key)
            if spend(1) then
                return true
            end
            local other = get(holds and 'lock' or 'lock_ticket', key)
            if other and not holds and lock.holds_against(ticket, other) then
                -- It waits for this very lane, which therefore does not wait for it.
                passed_over = true
                other = nil
            end
            if not other or lock.is_of(other, ticket) then
                return false
            end
            if lock.is_of(other, asked) then
                closed = {at = at, path = path, intent = ticket.intent}
                return true
            end
            local name = other.session .. '\0' .. other.lane
            if not known[name] then
                known[name] = true
                nodes[#nodes + 1] = {
                    session = other.session, lane = other.lane, agent = other.agent, name = other.name, parent = at,
                    path = path, intent = ticket.intent,
                }
            end
            return false
        end)
        too_complex = too_complex or not all
        if not passed_over then
            local slot = (holding and 'h' or 'w') .. ticket.mode .. path
            done[slot] = math.max(done[slot] or 0, ticket.seq)
        end
    end
    local function follow(at, holding)
        local tickets = {asked}
        if at > 1 then
            local count
            tickets, count = lock.tickets_of(nodes[at], left)
            spend(count)
        end
        for _, ticket in ipairs(tickets) do
            for _, path in ipairs(ticket.paths) do
                if not closed and not too_complex then
                    follow_path(at, ticket, path, holding)
                end
            end
        end
    end

    -- Every lane is followed to holders in the order in which it was reached, and to waiters when that is done.
    local by_holding, by_waiting = 1, 1
    while not closed and not too_complex and by_waiting <= #nodes do
        if by_holding <= #nodes then
            by_holding = by_holding + 1
            follow(by_holding - 1, true)
        else
            by_waiting = by_waiting + 1
            follow(by_waiting - 1, false)
        end
    end
    if not closed then
        return nil, too_complex
    end
    local backwards, at, path, intent = {}, closed.at, closed.path, closed.intent
    while at do
        local node = nodes[at]
        backwards[#backwards + 1] = {agent = node.agent, name = node.name, path = path, intent = intent}
        at, path, intent = node.parent, node.path, node.intent
    end
    local cycle = {}
    for from_end = #backwards, 1, -1 do
        cycle[#cycle + 1] = backwards[from_end]
    end
    return cycle
end
