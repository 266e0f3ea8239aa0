-- lock/renew: moves the deadline of a grant, or removes it.
-- op {token, ttl}
-- returns {token, paths, deadline_at?, reacquired}

return step(function(op)
    local grant = lock.owned(acting(), op.token)
    grant.deadline = lock.deadline(op.ttl)
    put('lock', text(op.token), grant)
    return lock.granted(grant, false)
end)
