-- task/claim: takes the best ready task that matches, or a named one, else waits.
-- op {id, tags, lease, wait}
-- returns claimed {key, attempt, token} | queued {ticket, tick_in?} | nothing {pending}

local function assign(op, actor, key, record)
    task.take(record, actor.id, actor.session.agent, actor.session.name, ticket_of(request))
    local lease = op.lease or record.lease
    record.deadline = lease and now + lease
    put('task', key, record)
    return task.claimed(key, record)
end

local function claim_named(op, actor, capabilities)
    local key, record = resolve('task', op.id)
    local holder = task.holder(record)
    if holder then
        refuse({held = {noun = 'task', id = key, holder = holder}})
    end
    if record.status ~= 'pending' then
        refuse({wrong_state = {noun = 'task', id = key, actual = record.status, expected = 'pending'}})
    end
    for _, need in ipairs(record.requires) do
        if not contains(capabilities, need) then
            forbid('not_capable')
        end
    end
    return assign(op, actor, key, record)
end

-- The first ready task that carries any of the tags and requires nothing but the capabilities.
local function best(tags, capabilities)
    return task.first_of('ready', function(carried, required)
        return task.matches(tags, capabilities, carried, required)
    end)
end

return step(function(op)
    local actor = acting()
    local capabilities = {}
    for at, word in ipairs(agent_of(actor).capabilities) do
        capabilities[at] = word
    end
    table.sort(capabilities, before)
    if op.id then
        return claim_named(op, actor, capabilities)
    end
    local key = best(op.tags, capabilities)
    local record = key and edit('task', key)
    if record then
        return assign(op, actor, key, record)
    end
    if op.wait == 0 then
        return {nothing = {pending = math.max(0, state.counts.pending)}}
    end
    local ticket = ticket_of(request)
    local waiter = {
        seq = next_seq(), session = actor.id, agent = actor.session.agent, name = actor.session.name, tags = op.tags,
        capabilities = capabilities, since = wall, lease = op.lease, deadline = op.wait and now + op.wait,
    }
    put('task_ticket', ticket, waiter)
    return task.queued(ticket, waiter)
end)
