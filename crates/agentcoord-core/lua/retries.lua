-- retries: attempts that came to nothing, the same as src/machine/task/retry.rs.

task.BACKOFF = {first = BACKOFF_FIRST, most = BACKOFF_MOST, jitter = BACKOFF_JITTER}

-- The pause after a failed attempt. `chance` is the attempt's luck, 0 to 1,000.
function task.pause(backoff, attempt, chance)
    local doubled = backoff.first * 2 ^ math.min(math.max(0, attempt - 1), 40)
    local pause = math.min(doubled, backoff.most)
    local spread = math.floor(pause * backoff.jitter / 100)
    return pause - spread + math.floor(2 * spread * chance / 1000)
end

-- Keeps why an attempt came to nothing; changes the task's record, does not put it.
function task.note(key, record, reason, crashed)
    record.setbacks = (record.setbacks or 0) + 1
    insert('setback', key .. '/' .. text(record.setbacks), {
        at = wall, attempt = record.attempt, reason = reason, crashed = crashed, agent = record.agent,
        name = record.name,
    })
end

-- A task has lost its worker: back to its place in the queue at once, or dead when that happened too often.
-- A handed-over task that nobody confirmed has not lost anybody: its attempt does not count.
function task.crash(key, why)
    local record = edit('task', key)
    if not record then
        return
    end
    if not record.offer then
        task.note(key, record, why, true)
        record.crashes = record.crashes + 1
    end
    task.uncount(record)
    if record.offer or record.crashes < MAX_CRASHES then
        task.free(record)
        return task.ready(key, record)
    end
    record.error = 'lost ' .. text(record.crashes) .. ' workers'
    task.finish(key, record, 'dead')
end
