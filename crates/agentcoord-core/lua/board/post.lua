-- board/post: appends a message to a thread.
-- op {thread, message, to, mentions, status, key, digest}
-- returns {thread, messages, duplicate, away}

return step(function(op)
    local author = principal()
    local idempotency = op.key and 'message/' .. op.key
    local posted = board.posted_before(idempotency, op.digest)
    if posted then
        return posted
    end
    local key = resolve('thread', op.thread)
    local thread = edit('thread', key)
    local named = board.addressed(op.to, op.mentions)
    local away = board.append(key, thread, op.message, author, named)
    board.move_to(thread, op.status)
    board.remember(idempotency, op.digest, key, thread)
    return board.put(key, thread, away)
end)
