-- task/create: adds tasks; each goes to the longest-waiting claim that matches, else to where it waits for its turn.
-- op {tasks}
-- returns {items = {{key, duplicate} ..}}

local function create_one(new, created_by, most)
    local idempotency = new.key and 'task/' .. new.key
    local known = known_under(idempotency, new.digest)
    if known then
        return {key = known.key, duplicate = true}, 0
    end
    local key = free_key('task', new.id)
    local record = {
        id = new.id, title = new.title, status = 'pending', priority = new.priority, seq = next_seq(), tags = new.tags,
        requires = new.requires, attempt = 0, max_attempts = new.max_attempts, crashes = 0, created_by = created_by,
        created_at = wall, lease = new.lease, key = new.key, has_description = new.has_description or nil,
        has_payload = new.has_payload or nil, has_dependencies = #new.depends_on > 0 or nil, backoff = new.backoff,
        not_before = new.not_before,
    }
    if idempotency then
        put('key', idempotency, {key = key, digest = new.digest, expires_at = wall + KEY_TTL})
    end
    local linked = task.link(key, record, new.depends_on, most)
    task.enqueue(key, record)
    return {key = key, duplicate = false}, linked
end

return step(function(op)
    local created_by = principal()
    local items = {}
    -- Dependencies that are linked, and so known to exist, before the answer.
    local most, linked = WORK_PER_STEP, 0
    for at, new in ipairs(op.tasks) do
        items[at], linked = create_one(new, created_by, most)
        most = most - linked
    end
    return {items = items}
end)
