-- board/post: appends a message to a thread.
-- op {thread, message}
-- returns {thread, messages}

return step(function(op)
    local author = principal()
    local key, thread = resolve('thread', op.thread)
    board.append(key, thread, op.message, author)
    put('thread', key, thread)
    return {thread = key, messages = thread.count}
end)
