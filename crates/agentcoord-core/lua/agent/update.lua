-- agent/update: says what the agent does now.
-- op {status, working_on, busy_for}
-- returns {ttl}

return step(function(op)
    local actor = acting()
    local session = edit('session', actor.id)
    session.status = op.status or session.status
    session.working_on = op.working_on or session.working_on
    if op.busy_for then
        session.busy_until = op.busy_for > 0 and now + op.busy_for or nil
    end
    put('session', actor.id, session)
    return {ttl = session.ttl}
end)
