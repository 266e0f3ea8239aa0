-- approval/vote: counts a person's vote and decides when there are enough.
-- op {approval, verdict, digest, note, signature, audit}
-- returns {key, status, duplicate}

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
        if approval.same_name(vote.by, by) then
            return true
        end
    end
    return false
end

local function is_eligible(people, name)
    for _, known in ipairs(people) do
        if approval.same_name(known, name) then
            return true
        end
    end
    return #people == 0
end

return step(function(op)
    if ACTOR ~= 'human' then
        forbid('humans_only')
    end
    local by = 'human:' .. ACTOR_NAME
    local key, record = resolve('approval', op.approval)
    if approval.same_name(record.requested_by, by) then
        forbid('own_request')
    end
    if record.status == 'pending' and has_voted(record.votes, by) then
        forbid('already_voted')
    end
    approval.pending(key, record)
    if not is_eligible(record.eligible, ACTOR_NAME) then
        forbid('not_eligible')
    end
    if record.signed and not op.signature then
        forbid('unsigned')
    end
    if op.digest and op.digest ~= record.digest then
        forbid('digest_mismatch')
    end
    local vote = {by = by, verdict = op.verdict, note = op.note, at = wall, signature = op.signature}
    local agreeing
    record.votes, agreeing = with_vote(record.votes, vote)
    if op.verdict == 'reject' and agreeing >= record.rejections then
        approval.decide(key, record, 'rejected')
    elseif op.verdict == 'approve' and agreeing >= record.quorum then
        approval.decide(key, record, 'approved')
    end
    put('approval', key, record)
    audit.record(op.audit)
    return approval.answer(key, record)
end)
