-- board/open: opens a thread, with a first message or without.
-- op {id, title, priority, tags, link, message, to, mentions, key, digest}
-- returns {thread, messages, duplicate, away}

return step(function(op)
    local author = principal()
    local idempotency = op.key and 'thread/' .. op.key
    local posted = board.posted_before(idempotency, op.digest)
    if posted then
        return posted
    end
    local named = board.addressed(op.to, op.mentions)
    local key = free_key('thread', op.id)
    local thread = {
        id = op.id, seq = next_seq(), title = op.title, status = 'active', priority = op.priority, tags = op.tags,
        posted_by = author, posted_at = wall, count = 0, link = op.link,
        audience = board.takes_part(author) and {author} or nil,
    }
    local away = {}
    if op.message then
        away = board.append(key, thread, op.message, author, named)
    end
    board.remember(idempotency, op.digest, key, thread)
    return board.put(key, thread, away)
end)
