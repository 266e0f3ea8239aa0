-- approval/vote: counts a person's vote and decides when there are enough.
-- op {approval, verdict, digest, note, audit}
-- returns {key, status, duplicate, consumed}

-- The votes and one more, and how many of them say the same.
local function with_vote(votes, vote)
    local list, agreeing = {}, 1
    for at, other in ipairs(votes) do
        list[at] = other
        if other.verdict == vote.verdict then
            agreeing = agreeing + 1
        end
    end
    list[#list + 1] = vote
    return list, agreeing
end

local function has_voted(votes, by)
    for _, vote in ipairs(votes) do
        if vote.by == by then
            return true
        end
    end
    return false
end

return step(function(op)
    if ACTOR ~= 'human' then
        forbid('humans_only')
    end
    local by = 'human:' .. ACTOR_NAME
    local key, record = resolve('approval', op.approval)
    if record.requested_by == by then
        forbid('own_request')
    end
    if record.status == 'pending' and has_voted(record.votes, by) then
        forbid('already_voted')
    end
    approval.pending(key, record)
    if #record.eligible > 0 and not contains(record.eligible, ACTOR_NAME) then
        forbid('not_eligible')
    end
    if op.digest and op.digest ~= record.digest then
        forbid('digest_mismatch')
    end
    local agreeing
    record.votes, agreeing = with_vote(record.votes, {by = by, verdict = op.verdict, note = op.note, at = wall})
    if op.verdict == 'reject' and agreeing >= record.rejections then
        approval.decide(key, record, 'rejected')
    elseif op.verdict == 'approve' and agreeing >= record.quorum then
        approval.decide(key, record, 'approved')
    end
    put('approval', key, record)
    audit.record(op.audit)
    return approval.answer(key, record)
end)
