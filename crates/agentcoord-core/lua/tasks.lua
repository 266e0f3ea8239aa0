-- tasks: the rules that verbs of tasks share, the same as src/machine/task/.

local task = {}

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
        local waiter = ticket and get('task_ticket', ticket)
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

-- Takes a claim away from whoever has it; the task keeps its place in the order.
function task.free(record)
    record.session = nil
    record.agent = nil
    record.name = nil
    record.token = nil
    record.ticket = nil
    record.claimed_at = nil
    record.deadline = nil
    record.offer = nil
end

-- Brings a task to a final state. Who had it last stays readable; nobody holds it.
function task.finish(record, status)
    local name, agent = record.name, record.agent
    task.free(record)
    record.name = name
    record.agent = agent
    record.status = status
    record.completed_at = wall
end

-- Who has a task. A finished one keeps the name of whoever had it last, but nobody has it.
function task.holder(record)
    return record.session and record.name
end

-- The task, if this very claim of the acting session still holds it.
function task.owned(typed, token)
    local actor = acting()
    local key, record = resolve('task', typed)
    if record.token ~= token or record.session ~= actor.id then
        refuse({stale = {noun = 'task', id = key, owner = task.holder(record), current = record.token}})
    end
    return key, record
end

function task.changed(key, status)
    return {key = key, status = status}
end

-- An attempt that did not count.
function task.uncount(record)
    record.attempt = math.max(0, record.attempt - 1)
end

-- A task has lost its worker: back to its place in the queue, or dead when that happened too often.
-- A handed-over task that nobody confirmed has not lost anybody: its attempt does not count.
function task.crash(key)
    local record = get('task', key)
    if not record then
        return
    end
    task.uncount(record)
    if record.offer then
        task.free(record)
        return task.ready(key, record)
    end
    record.crashes = record.crashes + 1
    if record.crashes < MAX_CRASHES then
        task.free(record)
        return task.ready(key, record)
    end
    record.error = 'lost ' .. text(record.crashes) .. ' workers'
    task.finish(record, 'dead')
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

-- A claim's deadline or offer has passed.
function task.overdue(key)
    local record = get('task', key)
    if not record then
        return
    end
    local waiter = record.offer and record.ticket and get('task_ticket', record.ticket)
    if waiter then
        -- It did not confirm in time: back to the end of the line, so that others come first.
        waiter.offered = nil
        waiter.seq = next_seq()
        put('task_ticket', record.ticket, waiter)
    end
    task.crash(key)
end
