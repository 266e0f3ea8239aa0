-- dispatch: which claim gets which task, the same as src/machine/task/dispatch.rs.

-- Waiting claims look for what is due in turn, so many milliseconds apart: the more wait, the more seldom each.
task.TURN = 10

-- What the agent of an actor can do, sorted.
function task.capabilities(actor)
    return actor.session.capabilities or {}
end

-- The place of the first word that is not among the capabilities, if any.
function task.lacking(capabilities, words_required)
    for at, word in ipairs(words_required) do
        if not contains(capabilities, word) then
            return at
        end
    end
end

function task.covers(capabilities, required)
    return task.lacking(capabilities, required) == nil
end

-- Where the combinations of nothing but these capabilities go on after one whose word number `at` is none of them.
function task.leap(list, at, capabilities)
    for last = at, 1, -1 do
        for _, capability in ipairs(capabilities) do
            if before(list[last], capability) then
                list[last] = capability
                return table.concat(list, '\31', 1, last)
            end
        end
    end
end

-- The first ready task that carries any of the tags and requires nothing but the capabilities: key and record, to be
-- changed. One seek a tag when nothing that is pending requires anything. Otherwise one more for each combination of these
-- capabilities that is required, or begins one that is; what others could do costs nothing. The third value is true when
-- that would be too many.
function task.best(tags, capabilities)
    local order, key
    local left = SEEKS_PER_STEP
    for _, tag in ipairs(#tags > 0 and tags or {''}) do
        local from, to = under('ready', tag)
        local entry = scan(from, to, 1)[1]
        while entry do
            local list = unwords(entry[3])
            local at = task.lacking(capabilities, list)
            local beyond = at and task.leap(list, at, capabilities)
            if not at then
                if not key or before(entry[4], order) or (entry[4] == order and before(entry[5], key)) then
                    order, key = entry[4], entry[5]
                end
                if #capabilities > 0 and state.counts.demanding > 0 then
                    beyond = entry[3] .. '\1'
                end
            end
            entry = nil
            if beyond then
                if left == 0 then
                    return nil, nil, true
                end
                left = left - 1
                entry = scan('ready\0' .. tag .. '\0' .. beyond, to, 1)[1]
            end
        end
    end
    if key then
        return key, edit('task', key)
    end
end

-- Gives a task to a session; changes the record, does not put it.
function task.take(record, session, agent, name, ticket)
    record.status = 'claimed'
    record.attempt = record.attempt + 1
    record.token = next_token()
    record.session = session
    record.agent = agent
    record.name = name
    record.ticket = ticket
    record.claimed_at = wall
    record.note = nil
    record.percent = nil
    record.search = nil
end

-- The answer to a claim; the task comes along.
function task.claimed(key, record)
    handed = key
    return {claimed = {key = key, attempt = record.attempt, token = record.token or 0}}
end

-- The answer to a claim that waits. An overdue claim may free a task that matches.
function task.queued(ticket, waiter)
    local at = math.max(state.next_due, now + state.counts.task_waiters * task.TURN)
    at = math.min(at, waiter.deadline or NEVER)
    return {queued = {ticket = ticket, tick_in = at < NEVER and math.max(0, at - now) or nil}}
end

-- Gives a task to the acting session.
function task.assign(actor, key, record, wish)
    task.take(record, actor.id, actor.session.agent, actor.session.name, ticket_of(request))
    local lease = wish.lease or record.lease or wish.fallback
    record.deadline = lease and now + lease
    put('task', key, record)
    return task.claimed(key, record)
end

function task.nothing()
    return {nothing = {pending = math.max(0, state.counts.pending)}}
end

-- Claims the best task that matches a wish {tags, lease, fallback, wait}, else waits for one. Nil when that is too complex.
function task.next(actor, wish)
    local capabilities = task.capabilities(actor)
    local key, record, too_complex = task.best(wish.tags, capabilities)
    if key then
        return task.assign(actor, key, record, wish)
    elseif too_complex then
        return nil
    elseif wish.wait == 0 then
        return task.nothing()
    end
    local ticket = ticket_of(request)
    local waiter = {
        seq = next_seq(), session = actor.id, agent = actor.session.agent, name = actor.session.name, tags = wish.tags,
        capabilities = capabilities, since = wall, lease = wish.lease, deadline = wish.wait and now + wish.wait,
        fallback = wish.fallback,
    }
    put('task_ticket', ticket, waiter)
    return task.queued(ticket, waiter)
end

-- The parts of the lines in which claims wait that match a task, each {seq, ticket, from, to} with the first claim in it;
-- and where to go on when this step cannot look at all of them. A part are claims of agents that can do the same.
function task.parts_of_lines(record, start)
    local found = {}
    local function look_at(tag)
        if deserted[tag] then
            return
        end
        -- Who waits in a line stands in its part of those who need not be able to do anything, too.
        local everybody, to = under('want', tag, '')
        local from = everybody
        if #record.requires > 0 then
            from = to
            to = 'want\0' .. tag .. '\1'
        end
        if before(from, start) then
            from = start
        end
        while before(from, to) do
            if seeks == 0 then
                return from
            end
            seeks = seeks - 1
            local first = scan(from, to, 1)[1]
            if not first then
                deserted[tag] = from == everybody
                return
            end
            local part_from, part_to = under('want', tag, first[3])
            from = part_to
            if task.covers(unwords(first[3]), record.requires) then
                found[#found + 1] = {seq = first[4], ticket = first[5], from = part_from, to = part_to}
            end
        end
    end
    local reached = look_at('')
    for _, tag in ipairs(record.tags) do
        reached = reached or look_at(tag)
    end
    return found, reached
end

-- Takes the part with the longest-waiting claim out of the list.
function task.oldest_of(found)
    local best
    for at, part in ipairs(found) do
        local other = found[best]
        if not other or before(part.seq, other.seq) or (part.seq == other.seq and before(part.ticket, other.ticket)) then
            best = at
        end
    end
    return best and table.remove(found, best)
end

-- A waiting claim, to be changed, if its session lives.
function task.live_waiter(ticket)
    local waiter = edit('task_ticket', ticket)
    local session = waiter and get('session', waiter.session)
    return session and is_live(waiter.session, session) and waiter
end

-- Offers a task to the longest-waiting claim that matches. Returns where to go on when this step cannot look at all.
function task.offer(key, record, start)
    local found, reached = task.parts_of_lines(record, start)
    local part = task.oldest_of(found)
    while part do
        local waiter = task.live_waiter(part.ticket)
        if waiter then
            task.take(record, waiter.session, waiter.agent, waiter.name, part.ticket)
            record.offer = now + OFFER
            waiter.offered = key
            put('task_ticket', part.ticket, waiter)
            wake(part.ticket)
            return nil
        end
        if turns == 0 then
            return start
        end
        turns = turns - 1
        task.drop_ticket(part.ticket)
        local first = scan(part.from, part.to, 1)[1]
        if first then
            part.seq, part.ticket = first[4], first[5]
            found[#found + 1] = part
        end
        part = task.oldest_of(found)
    end
    return reached
end

-- Hands a pending task over, from where an earlier step has left off.
function task.hand_over(key, record)
    local start = record.search or ''
    record.search = nil
    if state.counts.task_waiters > 0 then
        record.search = task.offer(key, record, start)
    end
    put('task', key, record)
end

-- Makes a task ready: the longest-waiting claim that matches gets it at once, else it waits in its queues.
function task.ready(key, record)
    record.status = 'pending'
    record.search = nil
    task.hand_over(key, record)
end

-- A claim has not taken up its task in time. It stands in no line until it asks again, and then at the end: a waiter that
-- sleeps keeps no task from others.
function task.miss(ticket)
    local waiter = edit('task_ticket', ticket)
    if waiter then
        waiter.offered = nil
        waiter.away = true
        waiter.seq = next_seq()
        put('task_ticket', ticket, waiter)
    end
end

-- Takes a claim out of its lines.
function task.drop_ticket(key)
    delete('task_ticket', key)
end

-- A claim has waited long enough.
function task.give_up(key)
    wake(key)
    task.drop_ticket(key)
end

-- Lets a claim whose offer was called off ask again; it keeps its place in the line.
function task.wait_on(ticket)
    local waiter = edit('task_ticket', ticket)
    if waiter then
        waiter.offered = nil
        waiter.away = true
        put('task_ticket', ticket, waiter)
        wake(ticket)
    end
end
