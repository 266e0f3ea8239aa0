-- approval/consume: says the verdict; an approved approval is consumed by the first call.
-- op {approval}
-- returns {key, status, duplicate, consumed}

return step(function(op)
    principal()
    local key, record = resolve('approval', op.approval)
    local answer = approval.answer(key, record)
    answer.consumed = record.status == 'approved' and not record.consumed_at
    if answer.consumed then
        record.consumed_at = wall
        put('approval', key, record)
    end
    return answer
end)
