-- board/open: opens a thread, with a first message or without.
-- op {id, title, priority, tags, link, message}
-- returns {thread, messages}

return step(function(op)
    local author = principal()
    local key = free_key('thread', op.id)
    local thread = {
        id = op.id, seq = next_seq(), title = op.title, status = 'active', priority = op.priority, tags = op.tags,
        posted_by = author, posted_at = wall, count = 0, link = op.link,
    }
    if op.message then
        board.append(key, thread, op.message, author)
    end
    put('thread', key, thread)
    return {thread = key, messages = thread.count}
end)
