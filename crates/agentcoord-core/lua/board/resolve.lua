-- board/resolve: moves a thread to another state.
-- op {thread, status}
-- returns {thread, messages}

return step(function(op)
    principal()
    local key, thread = resolve('thread', op.thread)
    thread.status = op.status
    thread.resolved_at = op.status == 'resolved' and wall or nil
    put('thread', key, thread)
    return {thread = key, messages = thread.count}
end)
