-- deadlocks: whether a wait would close a circle, the same as src/machine/lock/deadlock.rs.

-- Whether anybody waits for something that the lane of a request holds; true when it holds too much to tell.
function lock.is_waited_for(request)
    local from, to = under(lock.lane_prefix(request))
    local held = scan(from, to, WORK_PER_STEP)
    for _, entry in ipairs(held) do
        local waited_for = false
        lock.walk('path', 1, {entry[4]}, lock.ANY_WAITER, NEVER, function(_, _, key)
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
    local from, to = under('waits', node.session, node.lane)
    local entries = scan(from, to, most)
    for _, entry in ipairs(entries) do
        tickets[#tickets + 1] = get('lock_ticket', entry[#entry])
    end
    return tickets, #entries
end

-- The circle of lanes that wait for each other that the wait of `asked` would close, beginning with it; or nil and
-- whether there was too much to look at.
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
