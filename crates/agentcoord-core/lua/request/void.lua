-- request/void: settles a request that nobody asks for any more: it has happened, or it never will.
-- op {client, request}
-- returns {settled}

return step(function(op)
    if ACTOR ~= 'system' then
        forbid('system_only')
    end
    local key = ring_key(op.client, op.request)
    local slot = get('ring', key)
    if slot and slot.request >= op.request then
        return {settled = true}
    end
    put('ring', key, {request = op.request, digest = '', answer = ''})
    if not get('client', op.client) then
        put('client', op.client, {expires = now + 2 * REPLAY_TTL})
    end
    return {settled = false}
end)
