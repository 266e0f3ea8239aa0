-- agent/deregister: ends the acting session; its locks pass on, its tasks return, its waits are cancelled.
-- op {reason}
-- returns {settled}

return step(function(op)
    local actor = acting()
    return {settled = agent.close(actor.id, op.reason or 'deregistered')}
end)
