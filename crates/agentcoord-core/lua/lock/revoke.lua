-- lock/revoke: ends the locks on a path, whoever holds them; only people do that.
-- op {path, audit}
-- returns {grants}

return step(function(op)
    if ACTOR ~= 'human' then
        forbid('revoke_humans_only')
    end
    local grants = {}
    for _, mode in ipairs({'exclusive', 'shared'}) do
        local from, to = under('path', op.path, HOLDING[mode])
        for _, entry in ipairs(scan(from, to, WORK_PER_STEP - #grants)) do
            local key = entry[#entry]
            local grant = get('lock', key)
            if grant then
                if grant.offer then
                    delete('lock_ticket', grant.ticket)
                end
                lock.drop_grant(key)
                -- The holder listens to the ticket that its lock came from.
                wake(grant.ticket)
                grants[#grants + 1] = {
                    token = grant.token, agent = grant.agent, name = grant.name, paths = grant.paths,
                }
            end
        end
    end
    if #grants == 0 then
        refuse({not_found = {noun = 'lock', id = op.path}})
    end
    audit.record(op.audit)
    return {grants = grants}
end)
