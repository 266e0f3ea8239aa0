-- approval/request: asks people to approve an action; the same key attaches to the same approval again.
-- op {id, action_type, description, quorum, rejections, eligible, signed, expires_in, key, digest, has_payload, has_diff}
-- returns {key, status, duplicate}

return step(function(op)
    local requested_by = principal()
    local idempotency = op.key and 'approval/' .. op.key
    local known = known_under(idempotency, op.digest)
    if known then
        local record = get('approval', known.key)
        return {key = known.key, status = record and record.status or 'expired', duplicate = true}
    end
    local key = free_key('approval', op.id)
    local record = {
        id = op.id, seq = next_seq(), action_type = op.action_type, description = op.description, digest = op.digest,
        status = 'pending', requested_by = requested_by, requested_at = wall, expires_at = wall + op.expires_in,
        quorum = op.quorum, rejections = op.rejections, eligible = op.eligible, votes = {}, key = op.key,
        has_payload = op.has_payload or nil, has_diff = op.has_diff or nil, signed = op.signed or nil,
    }
    if ACTOR == 'session' then
        record.session = ACTOR_NAME
    end
    put('approval', key, record)
    if idempotency then
        local expires_at = wall + math.max(KEY_TTL, op.expires_in)
        put('key', idempotency, {key = key, digest = op.digest, expires_at = expires_at})
    end
    return approval.answer(key, record)
end)
