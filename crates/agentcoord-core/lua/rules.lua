-- rules: what several verbs and the reaping share, the same as src/machine/*.rs.

-- Tasks, as in src/machine/task.rs

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

-- Agents, as in src/machine/agent.rs

local agent = {}

local PASS_ON = {
    lock = lock.drop_grant,
    lock_ticket = lock.drop_ticket,
    task = task.crash,
    task_ticket = task.drop_ticket,
}

-- Passes on at most a step's worth of an ended session's holdings.
function agent.settle(key, session)
    local from, to = under('own', key)
    local holdings = scan(from, to, WORK_PER_STEP)
    for _, entry in ipairs(holdings) do
        local pass_on = #entry == 4 and PASS_ON[entry[3]]
        if pass_on then
            pass_on(entry[4])
        end
    end
    if #holdings < WORK_PER_STEP then
        session.settling = nil
        put('session', key, session)
        delete('pulse', key)
    end
    return #holdings
end

function agent.finish(key, session, reason)
    session.ended_at = wall
    session.reason = reason
    session.settling = true
    put('session', key, session)
end

-- Ends a session. From here on everything that names it is void; its holdings are passed on in bounded steps.
function agent.close(key, session, reason)
    agent.finish(key, session, reason)
    return agent.settle(key, session)
end

local WHY_EXPIRED = {process = 'no heartbeat', shell = 'no call for its time to live'}

-- A session's time to look at its pulse has come: it has moved on, or it has expired, or it is still being settled.
function agent.look_at(key)
    local session = get('session', key)
    if not session then
        return
    end
    if session.ended_at then
        agent.settle(key, session)
        return
    end
    local expires = lives_until(key, session)
    if expires > now then
        session.due = expires
        put('session', key, session)
    else
        agent.close(key, session, WHY_EXPIRED[session.kind])
    end
end

-- The board, as in src/machine/board.rs

local board = {}

-- Appends a message; changes the thread's record, does not put it.
function board.append(key, thread, id, author)
    thread.count = thread.count + 1
    put('message', key .. '/' .. text(thread.count), {id = id, author = author, posted_at = wall})
end

-- Audit, as in src/machine/audit.rs

local audit = {}

-- Appends an entry in the step of another verb.
function audit.record(entry)
    state.audit = state.audit + 1
    put('audit', text(state.audit), {entry = entry})
    return state.audit
end

-- Approvals, as in src/machine/approval.rs

local approval = {}

function approval.answer(key, record)
    return {key = key, status = record.status, duplicate = false, consumed = false}
end

function approval.is_overdue(record)
    return record.status == 'pending' and record.expires_at <= wall
end

-- Refuses what comes after the decision, and after the time to decide: one step settles only a few due items, so an
-- approval whose time is over may still be stored as pending.
function approval.pending(key, record)
    local status = approval.is_overdue(record) and 'expired' or record.status
    if status ~= 'pending' then
        refuse({wrong_state = {noun = 'approval', id = key, actual = status, expected = 'pending'}})
    end
end

function approval.decide(key, record, status)
    record.status = status
    record.decided_at = wall
    wake('approval/' .. key)
end

-- Nobody decided in time.
function approval.expire(key)
    local record = get('approval', key)
    if record then
        approval.decide(key, record, 'expired')
        put('approval', key, record)
    end
end

-- Reaping, as in src/machine/mod.rs

-- Drops the replay slots of a client that has been silent.
local function forget(client)
    local fields = {}
    for slot = 0, REPLAY_WINDOW - 1 do
        fields[#fields + 1] = 'ring/' .. client .. '/' .. text(slot)
    end
    for at, bytes in ipairs(ask('HMGET', HOT, unpack(fields))) do
        if bytes then
            delete('ring', client .. '/' .. text(at - 1))
        end
    end
    delete('client', client)
end

local DUE = {
    session = agent.look_at,
    lock = lock.overdue,
    lock_ticket = lock.give_up,
    handover = lock.resume,
    task = task.overdue,
    task_ticket = task.give_up,
    approval = approval.expire,
    client = forget,
    key = function(key)
        delete('key', key)
    end,
}

reap = function(limit)
    for _, item in ipairs(due(limit)) do
        settled = settled + 1
        local settle = DUE[item[1]]
        if settle then
            settle(item[2])
        end
    end
    hand_over()
end

-- The slot of another request of this client, or nothing. A request that has not arrived yet is made void, so that it
-- does nothing when it does arrive.
local function answer_or_void(number)
    local slot = get('ring', ring_key(number))
    if slot and slot.request == number and slot.answer ~= '' then
        return unpack_record(slot.answer, 'replay slot')
    end
    if not slot or slot.request < number then
        put('ring', ring_key(number), {request = number, digest = '', answer = ''})
    end
end
