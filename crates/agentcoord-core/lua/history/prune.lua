-- history/prune: forgets final records that are old or too many, oldest first: as many as one step may.
-- op {older_than, keep}
-- returns {tasks, threads, approvals, sessions, agents, more}

-- Records and texts that this step may still delete.
local room = WORK_PER_STEP

local function spend(deletions)
    room = math.max(0, room - deletions)
end

local function forget_texts(noun, record, fields)
    for _, field in ipairs(fields) do
        if record['has_' .. field] then
            delete_blob(noun, record.id, field)
            spend(1)
        end
    end
end

-- Forgets the idempotency key of an approval if it still names it. Nobody can take up a verdict that is forgotten, so a
-- repeat of the request asks people again.
local function forget_key(record, key)
    local idempotency = record.key and 'approval/' .. record.key
    local known = idempotency and get('key', idempotency)
    if known and known.key == key then
        spend(1)
        delete('key', idempotency)
    end
end

-- What the task waited for and why its attempts came to nothing goes first. Its idempotency key stays for its own time: a
-- repeat of what was done and is forgotten does not do it again.
local function forget_task(key)
    local record = edit('task', key)
    if not record then
        return true
    end
    if get('announcement', key) then
        -- Some that wait for it have not been told yet how it ended.
        return false
    end
    local from, to = under('needs', key)
    for _, entry in ipairs(scan(from, to, room)) do
        delete('dependency', entry[#entry])
        spend(1)
    end
    local setbacks = record.setbacks or 0
    while setbacks > 0 and room > 0 do
        delete('setback', key .. '/' .. text(setbacks))
        setbacks = setbacks - 1
        spend(1)
    end
    if room == 0 then
        record.setbacks = setbacks > 0 and setbacks or nil
        put('task', key, record)
        return false
    end
    forget_texts('task', record, {'description', 'payload', 'result'})
    spend(1)
    delete('task', key)
    return true
end

-- Messages go first, newest first, and the thread counts those that are left.
local function forget_thread(key)
    local thread = edit('thread', key)
    if not thread then
        return true
    end
    while thread.count > 0 and room > 0 do
        local message = key .. '/' .. text(thread.count)
        local record = get('message', message)
        if record then
            delete_blob('message', record.id, 'text')
            delete('message', message)
        end
        thread.count = thread.count - 1
        spend(2)
    end
    if room == 0 then
        put('thread', key, thread)
        return false
    end
    spend(1)
    delete('thread', key)
    return true
end

local function forget_approval(key)
    local record = get('approval', key)
    if record then
        forget_texts('approval', record, {'payload', 'diff'})
        forget_key(record, key)
        spend(1)
        delete('approval', key)
    end
    return true
end

-- Forgets a session, and its agent when that was its last.
local function forget_session(key, pruned)
    local session = get('session', key)
    if not session then
        return true
    end
    spend(1)
    delete('session', key)
    local record = get('agent', session.agent)
    local from, to = under('live', session.agent)
    if record and record.session == key and #scan(from, to, 1) == 0 then
        spend(1)
        delete('agent', session.agent)
        pruned.agents = pruned.agents + 1
    end
    return true
end

local NOUNS = {
    {table = 'task', counter = 'tasks', forget = forget_task},
    {table = 'thread', counter = 'threads', forget = forget_thread},
    {table = 'approval', counter = 'approvals', forget = forget_approval},
    {table = 'session', counter = 'sessions', forget = forget_session},
}

return step(function(op)
    if ACTOR == 'session' then
        forbid('humans_only')
    end
    local old = math.max(0, wall - op.older_than)
    local pruned = {tasks = 0, threads = 0, approvals = 0, sessions = 0, agents = 0, more = false}
    for _, noun in ipairs(NOUNS) do
        local from, to = under('final', noun.table)
        for _, entry in ipairs(scan(from, to, WORK_PER_STEP + 1)) do
            local key = entry[4]
            if tonumber(entry[3]) > old and finals(noun.table, state.counts) <= op.keep then
                break
            end
            if room == 0 or not noun.forget(key, pruned) then
                pruned.more = true
                return pruned
            end
            pruned[noun.counter] = pruned[noun.counter] + 1
        end
    end
    return pruned
end)
