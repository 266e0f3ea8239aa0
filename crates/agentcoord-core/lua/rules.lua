-- rules: what several verbs and the reaping share, the same as src/machine/*.rs.

-- Agents, as in src/machine/agent.rs

local agent = {}

local PASS_ON = {
    lock = lock.drop_grant,
    lock_ticket = lock.drop_ticket,
    task = task.crash,
    task_ticket = task.drop_ticket,
}

-- Passes on at most a step's worth of an ended session's holdings.
function agent.settle(key)
    local session = edit('session', key)
    local from, to = under('own', key)
    local holdings = scan(from, to, WORK_PER_STEP)
    for _, entry in ipairs(holdings) do
        local pass_on = #entry == 4 and PASS_ON[entry[3]]
        if pass_on then
            pass_on(entry[4], session.reason)
        end
    end
    if #holdings < WORK_PER_STEP then
        session.settling = nil
        put('session', key, session)
        delete('pulse', key)
    end
    return #holdings
end

function agent.finish(key, reason)
    local session = edit('session', key)
    session.ended_at = wall
    session.reason = reason
    session.settling = true
    put('session', key, session)
    if session.client then
        wake(session.client .. '-' .. key)
    end
end

-- Ends a session. From here on everything that names it is void; its holdings are passed on in bounded steps.
function agent.close(key, reason)
    agent.finish(key, reason)
    return agent.settle(key)
end

local WHY_EXPIRED = {process = 'no heartbeat', shell = 'no call for its time to live'}

-- A session's time to look at its pulse has come: it has moved on, or it has expired, or it is still being settled.
function agent.look_at(key)
    local session = edit('session', key)
    if not session then
        return
    end
    if session.ended_at then
        agent.settle(key)
        return
    end
    local expires = lives_until(key, session)
    if expires > now then
        session.due = expires
        put('session', key, session)
    else
        agent.close(key, WHY_EXPIRED[session.kind])
    end
end

-- Audit, as in src/machine/audit.rs

local audit = {}

-- Appends an entry in the step of another verb.
function audit.record(entry)
    state.audit = state.audit + 1
    put('audit', text(state.audit), {entry = entry, at = wall})
    return state.audit
end

-- Approvals, as in src/machine/approval.rs

local approval = {}

function approval.answer(key, record)
    return {key = key, status = record.status, duplicate = false}
end

-- Whether two names, or two principals, are those of one person or agent: letter case is no difference between them.
function approval.same_name(one, other)
    return string.lower(one) == string.lower(other)
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
    local record = edit('approval', key)
    if record then
        approval.decide(key, record, 'expired')
        put('approval', key, record)
    end
end

-- Reaping, as in src/machine/mod.rs and src/machine/step.rs

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
    link = task.link_more,
    announcement = task.announce_more,
    approval = approval.expire,
    client = forget,
    key = function(key)
        delete('key', key)
    end,
}

-- What is to be settled, at most `limit`: due entries up to now, then work that is left over.
local function due(limit)
    local entries = {}
    local function take(from, to)
        for _, entry in ipairs(scan(from, to, limit - #entries)) do
            entries[#entries + 1] = entry
        end
    end
    if state.next_due <= now then
        take('due\0', 'due\0' .. pad(now + 1))
    end
    if state.next_calendar <= wall then
        take('cal\0', 'cal\0' .. pad(wall + 1))
    end
    if state.counts.work > 0 then
        take(under('work'))
    end
    return entries
end

-- Whether an entry that was found in the index is still there: settling one item may settle or move another, as the end of
-- a session does with the deadlines of what it held.
local function stands(entry)
    return (changes(entry[1])[table.concat(entry, '\0')] or 0) >= 0
end

reap = function(limit)
    for _, entry in ipairs(due(limit)) do
        -- What a step has changed makes its scans longer: it leaves the rest to later ones.
        if #dirty >= WORK_PER_STEP then
            break
        end
        local settle = #entry == 4 and DUE[entry[3]]
        if settle and stands(entry) then
            settled = settled + 1
            settle(entry[4])
        end
    end
    hand_over()
end

-- The slot of another request of this client, or nothing. A request that has not arrived yet is made void, so that it
-- does nothing when it does arrive.
local function answer_or_void(number)
    local key = ring_key(CLIENT, number)
    local slot = get('ring', key)
    if slot and slot.request == number and slot.answer ~= '' then
        return unpack_table(slot.answer, 'replay slot')
    end
    if not slot or slot.request < number then
        put('ring', key, {request = number, digest = '', answer = ''})
    end
end
