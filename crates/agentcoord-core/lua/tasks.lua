-- tasks: the life of a task, the same as src/machine/task/mod.rs.

local task = {}

-- Takes a claim away from whoever has it; the task keeps its place in the order.
function task.free(record)
    record.session = nil
    record.agent = nil
    record.name = nil
    record.token = nil
    record.ticket = nil
    record.claimed_at = nil
    record.deadline = nil
    record.offer = nil
end

-- Brings a task to a final state. Who had it last stays readable; nobody holds it.
function task.finish(record, status)
    local name, agent = record.name, record.agent
    task.free(record)
    record.name = name
    record.agent = agent
    record.status = status
    record.completed_at = wall
end

-- Who has a task. A finished one keeps the name of whoever had it last, but nobody has it.
function task.holder(record)
    return record.session and record.name
end

-- The task, if this very claim of the acting session still holds it.
function task.owned(typed, token)
    local actor = acting()
    local key, record = resolve('task', typed)
    if record.token ~= token or record.session ~= actor.id then
        refuse({stale = {noun = 'task', id = key, owner = task.holder(record), current = record.token}})
    end
    return key, record
end

function task.changed(key, status)
    return {key = key, status = status}
end

-- An attempt that did not count.
function task.uncount(record)
    record.attempt = math.max(0, record.attempt - 1)
end

-- A task has lost its worker: back to its place in the queue, or dead when that happened too often.
-- A handed-over task that nobody confirmed has not lost anybody: its attempt does not count.
function task.crash(key)
    local record = get('task', key)
    if not record then
        return
    end
    task.uncount(record)
    if record.offer then
        task.free(record)
        return task.ready(key, record)
    end
    record.crashes = record.crashes + 1
    if record.crashes < MAX_CRASHES then
        task.free(record)
        return task.ready(key, record)
    end
    record.error = 'lost ' .. text(record.crashes) .. ' workers'
    task.finish(record, 'dead')
    put('task', key, record)
end

-- A claim's deadline or offer has passed.
function task.overdue(key)
    local record = get('task', key)
    if not record then
        return
    end
    if record.offer and record.ticket then
        task.line_up_again(record.ticket)
    end
    task.crash(key)
end
