-- lock/wait: waits until paths could be had, and does not take them.
-- op {paths, mode, lane, intent, wait}
-- returns free | queued {ticket, tick_in?} | contended {conflicts} | deadlock {cycle}

return step(function(op)
    local actor = acting()
    local asked = {
        session = actor.id, agent = actor.session.agent, name = actor.session.name, lane = op.lane, mode = op.mode,
        paths = op.paths, seq = NEVER, look = 'waiting',
    }
    local in_the_way, all = lock.obstacles(asked, lock.EVERYBODY[op.mode], lock.CONFLICTS)
    if #in_the_way == 0 then
        if not all then
            forbid('too_complex')
        end
        return 'free'
    end
    return lock.queue(op, asked, next(lock.lane_kinds(asked)) ~= nil, in_the_way)
end)
