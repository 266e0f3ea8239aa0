-- audit/seal: takes seals when they go on where the last ones ended, and belong to entries that are there.
-- op {after, hashes}
-- returns {sealed}

return step(function(op)
    if ACTOR == 'session' then
        forbid('sealed_by_no_agent')
    end
    local sealed = state.sealed
    local upto = op.after + #op.hashes / HASH_DIGITS
    if op.after == sealed and upto <= state.audit then
        local key = text(math.floor(op.after / SEAL_RUN) + 1)
        local seal = get('seal', key)
        put('seal', key, {hashes = (seal and seal.hashes or '') .. op.hashes})
        sealed = upto
    end
    state.sealed = sealed
    return {sealed = sealed}
end)
