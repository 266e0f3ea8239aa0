-- approval/consume: says the verdict; an approved approval is consumed by the first call of who asked or knows the key.
-- op {approval, key}
-- returns {key, status, consumed, requested_by, digest, expires_at, votes}

return step(function(op)
    local by = principal()
    local key, record = resolve('approval', op.approval)
    if record.requested_by ~= by and (not op.key or op.key ~= record.key) then
        forbid('not_requester')
    end
    if approval.is_overdue(record) then
        approval.decide(key, record, 'expired')
        put('approval', key, record)
    end
    local consumed = record.status == 'approved' and not record.consumed_at
    if consumed then
        record.consumed_at = wall
        put('approval', key, record)
    end
    return {
        key = key, status = record.status, consumed = consumed, requested_by = record.requested_by,
        digest = record.digest, expires_at = record.expires_at, votes = record.votes,
    }
end)
