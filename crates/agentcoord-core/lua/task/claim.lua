-- task/claim: takes the best ready task that matches, or a named one, else waits.
-- op {id, tags, lease, fallback, wait}
-- returns claimed {key, attempt, token} | queued {ticket, tick_in?} | nothing {pending}

local function claim_named(op, actor)
    local key, record = resolve('task', op.id)
    local holder = task.holder(record)
    if holder then
        refuse({held = {noun = 'task', id = key, holder = holder}})
    end
    if record.status ~= 'pending' then
        refuse({wrong_state = {noun = 'task', id = key, actual = record.status, expected = 'pending'}})
    end
    local lacking = task.lacking(task.capabilities(actor), record.requires)
    if lacking then
        forbid('not_capable', record.requires[lacking])
    end
    return task.assign(actor, key, record, op)
end

return step(function(op)
    local actor = acting()
    if op.id then
        return claim_named(op, actor)
    end
    return task.next(actor, op) or forbid('too_complex')
end)
