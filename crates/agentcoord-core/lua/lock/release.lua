-- lock/release: gives a grant back, or some of its paths, and lets waiters through.
-- op {token, paths}
-- returns {paths}

return step(function(op)
    local grant = lock.owned(acting(), op.token)
    local key = text(op.token)
    local given, kept = {}, {}
    for _, path in ipairs(grant.paths) do
        local into = (#op.paths == 0 or contains(op.paths, path)) and given or kept
        into[#into + 1] = path
    end
    if #kept == 0 then
        lock.drop_grant(key)
    else
        grant.paths = kept
        put('lock', key, grant)
        lock.free(given)
    end
    return {paths = given}
end)
