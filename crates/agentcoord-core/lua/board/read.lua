-- board/read: moves the actor's read mark; it never goes back.
-- op {up_to}
-- returns {up_to}

return step(function(op)
    local reader = principal()
    if not board.takes_part(reader) then
        forbid('no_session')
    end
    local inbox = get('inbox', reader)
    local last = inbox and inbox.read or 0
    -- What is not posted yet cannot have been delivered.
    local read = math.max(math.min(op.up_to, state.seq), last)
    if read > last then
        put('inbox', reader, {read = read})
    end
    return {up_to = read}
end)
