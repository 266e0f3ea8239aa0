-- agent/heartbeat: a sign of life; counts as progress only when the caller says so. The only mutation without an event.
-- op {progress}
-- returns {ttl}

return step(function(op)
    local actor = live_actor()
    pulse(actor.id, op.progress)
    return {ttl = actor.session.ttl}
end)
