-- agent/register: adds an agent, begins a new session of a known one, or continues a live session.
-- op {agent, session, name, key, role, working_on, capabilities, host, process, kind, ttl, parent, resume, metadata}
-- returns {agent, session, name, resumed}

-- The agent of this configured name and key, with whether its session lives; a live one only for a caller that resumes.
local function known_agent(op)
    local from, to = under('who', op.name, op.key)
    for _, entry in ipairs(scan(from, to, WORK_PER_STEP)) do
        local key = entry[#entry]
        local record = get('agent', key)
        if record then
            local session = get('session', record.session)
            local live = session ~= nil and is_live(record.session, session)
            if not live or op.resume then
                return key, record, live
            end
        end
    end
end

local function parent_agent(parent)
    local session = get('session', parent)
    if not session or not is_live(parent, session) then
        stale_session(parent)
    end
    local record = get('agent', session.agent)
    if not record then
        stale_session(parent)
    end
    return session.agent, record
end

-- `name`, `name-2`, `name-3` ... whichever is free; after many, the short id instead of a number.
local function free_name(base, key)
    for number = 1, WORK_PER_STEP do
        local name = base
        if number > 1 then
            name = base .. '-' .. text(number)
        end
        local from, to = under('name', name)
        if not scan(from, to, 1)[1] then
            return name
        end
    end
    return base .. '-' .. key
end

local function new_agent(op)
    local key = free_key('agent', op.agent)
    local record = {
        id = op.agent, base = op.name, key = op.key, name = free_name(op.name, key), role = op.role,
        capabilities = op.capabilities, session = op.session, created_at = wall, metadata = op.metadata,
    }
    put('agent', key, record)
    -- What was posted to its role before it came is not news to it.
    put('inbox', 'agent:' .. record.name, {read = state.seq})
    return key, record
end

local function resumed(key, record, op)
    pulse(record.session, true)
    local session = edit('session', record.session)
    if session then
        session.working_on = op.working_on or session.working_on
        if op.process then
            session.process = op.process
            wake('keeper')
        end
        put('session', record.session, session)
    end
    return {agent = key, session = record.session, name = record.name, resumed = true}
end

return step(function(op)
    if get('session', op.session) then
        forbid('id_taken')
    end
    local key, record, live
    if op.parent then
        key, record = parent_agent(op.parent)
    else
        key, record, live = known_agent(op)
        if live then
            return resumed(key, record, op)
        end
        if record then
            record = copy('agent', record)
            record.session = op.session
            record.role = op.role
            record.capabilities = op.capabilities
            record.metadata = op.metadata
            put('agent', key, record)
        else
            key, record = new_agent(op)
        end
    end
    local capabilities = {}
    for at, word in ipairs(record.capabilities) do
        capabilities[at] = word
    end
    table.sort(capabilities, before)
    put('session', op.session, {
        agent = key, name = record.name, kind = op.kind, host = op.host, ttl = op.ttl, due = now + op.ttl,
        client = op.kind == 'process' and CLIENT or nil, started_at = wall, parent = op.parent, process = op.process,
        working_on = op.working_on, capabilities = #capabilities > 0 and capabilities or nil, role = record.role,
    })
    pulse(op.session, true)
    wake('keeper')
    return {agent = key, session = op.session, name = record.name, resumed = false}
end)
