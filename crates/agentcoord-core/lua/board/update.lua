-- board/update: changes a thread's state, urgency or tags.
-- op {thread, status, priority, tags}
-- returns {thread, messages, duplicate, away}

return step(function(op)
    principal()
    local key = resolve('thread', op.thread)
    local thread = edit('thread', key)
    board.move_to(thread, op.status)
    thread.priority = op.priority or thread.priority
    thread.tags = op.tags or thread.tags
    return board.put(key, thread, {})
end)
