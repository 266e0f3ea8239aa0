-- approval/consume: says the verdict; an approved approval is consumed by the first call.
-- op {approval}
-- returns {key, status, duplicate, consumed}

return step(function(op)
    principal()
    local key, record = resolve('approval', op.approval)
    if approval.is_overdue(record) then
        approval.decide(key, record, 'expired')
        put('approval', key, record)
    end
    local answer = approval.answer(key, record)
    answer.consumed = record.status == 'approved' and not record.consumed_at
    if answer.consumed then
        record.consumed_at = wall
        put('approval', key, record)
    end
    return answer
end)
