-- agent/evict: ends sessions from outside; people do it, and the system when a process has ended.
-- op {session, agent, reason, audit}
-- returns {agent, sessions, settled}

local function gone(noun, id)
    refuse({wrong_state = {noun = noun, id = id, actual = 'gone', expected = 'live'}})
end

local function one_session(id)
    local session = get('session', id)
    if not session then
        refuse({not_found = {noun = 'session', id = id}})
    end
    if session.ended_at then
        gone('session', id)
    end
    return session.agent, {id}
end

local function all_sessions(typed)
    local key = resolve('agent', typed)
    local from, to = under('live', key)
    local sessions = {}
    for at, entry in ipairs(scan(from, to, WORK_PER_STEP)) do
        sessions[at] = entry[3]
    end
    if #sessions == 0 then
        gone('agent', key)
    end
    return key, sessions
end

return step(function(op)
    local reason = op.reason
    if ACTOR == 'session' then
        forbid('humans_only')
    elseif ACTOR == 'human' then
        reason = 'evicted by human:' .. ACTOR_NAME .. ': ' .. reason
    end
    local key, sessions
    if op.session then
        key, sessions = one_session(op.session)
    else
        key, sessions = all_sessions(op.agent)
    end
    local passed_on = 0
    for _, id in ipairs(sessions) do
        agent.finish(id, reason)
        -- A step's worth of holdings for the first ones; what is left of the others is due at once.
        if passed_on < WORK_PER_STEP then
            passed_on = passed_on + agent.settle(id)
        end
    end
    audit.record(op.audit)
    return {agent = key, sessions = #sessions, settled = passed_on}
end)
