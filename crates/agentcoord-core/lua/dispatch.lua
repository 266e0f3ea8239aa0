-- dispatch: which claim gets which task, the same as src/machine/task/dispatch.rs.

function task.matches(tags, capabilities, carried, required)
    local any_tag = #tags == 0
    for _, tag in ipairs(tags) do
        any_tag = any_tag or contains(carried, tag)
    end
    if not any_tag then
        return false
    end
    for _, need in ipairs(required) do
        if not contains(capabilities, need) then
            return false
        end
    end
    return true
end

-- Of the first entries of every group of an index name, group, order, key whose group fits: the key of the lowest.
function task.first_of(name, fits)
    local from, to = under(name)
    local best
    while true do
        local entry = scan(from, to, 1)[1]
        if not entry then
            return best and best[4]
        end
        if fits(unwords(entry[2])) then
            local lower = not best or before(entry[3], best[3])
            if lower or (entry[3] == best[3] and before(entry[4], best[4])) then
                best = entry
            end
        end
        from = name .. '\0' .. entry[2] .. '\1'
    end
end

-- The longest-waiting claim that matches a task.
function task.longest_waiting(record)
    return task.first_of('want', function(tags, capabilities)
        return task.matches(tags, capabilities, record.tags, record.requires)
    end)
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
end

function task.claimed(key, record)
    return {claimed = {key = key, attempt = record.attempt, token = record.token or 0}}
end

-- Milliseconds until the next due item: an overdue claim may free a task that matches.
function task.queued(ticket, waiter)
    local at = math.min(waiter.deadline or NEVER, state.next_due)
    return {queued = {ticket = ticket, tick_in = at < NEVER and math.max(0, at - now) or nil}}
end

-- Makes a task ready: the longest-waiting claim that matches gets it at once, else it waits in its queue.
function task.ready(key, record)
    record.status = 'pending'
    while true do
        local ticket = task.longest_waiting(record)
        local waiter = ticket and edit('task_ticket', ticket)
        if not waiter then
            break
        end
        local session = get('session', waiter.session)
        if session and is_live(waiter.session, session) then
            task.take(record, waiter.session, waiter.agent, waiter.name, ticket)
            record.offer = now + OFFER
            waiter.offered = key
            put('task_ticket', ticket, waiter)
            wake(ticket)
            break
        end
        delete('task_ticket', ticket)
    end
    put('task', key, record)
end

-- Takes a claim out of the line.
function task.drop_ticket(key)
    delete('task_ticket', key)
end

-- A claim has waited long enough.
function task.give_up(key)
    wake(key)
    task.drop_ticket(key)
end

-- Puts a claim that did not take up its task in time to the end of the line, so that others come first.
function task.line_up_again(key)
    local waiter = edit('task_ticket', key)
    if waiter then
        waiter.offered = nil
        waiter.seq = next_seq()
        put('task_ticket', key, waiter)
    end
end

-- Goes on with a claim whose offer was called off: it gets a ready task that matches, else it keeps its place in the line.
function task.wait_on(key)
    local waiter = edit('task_ticket', key)
    if not waiter then
        return
    end
    waiter.offered = nil
    put('task_ticket', key, waiter)
    local best = task.first_of('ready', function(carried, required)
        return task.matches(waiter.tags, waiter.capabilities, carried, required)
    end)
    local record = best and edit('task', best)
    if record then
        task.ready(best, record)
    end
end
