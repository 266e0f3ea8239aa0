-- approval/cancel: calls a pending approval off; only its requester may.
-- op {approval}
-- returns {key, status, duplicate}

return step(function(op)
    local by = principal()
    local key, record = resolve('approval', op.approval)
    approval.pending(key, record)
    if record.requested_by ~= by then
        refuse({stale = {noun = 'approval', id = key, owner = record.requested_by}})
    end
    approval.decide(key, record, 'cancelled')
    put('approval', key, record)
    return approval.answer(key, record)
end)
