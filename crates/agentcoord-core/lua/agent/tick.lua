-- agent/tick: settles due items without any other work.
-- op {most}
-- returns {settled, next_in?}

return step(function(op)
    reap(op.most - REAP_PER_STEP)
    local from, to = under('due')
    local first = scan(from, to, 1)[1]
    local next_in
    if state.counts.work > 0 then
        next_in = 0
    elseif first then
        next_in = math.max(0, tonumber(first[2]) - now)
    end
    return {settled = settled, next_in = next_in}
end)
