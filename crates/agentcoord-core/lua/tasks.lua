-- tasks: the life of a task, the same as src/machine/task/mod.rs.

local task = {}

task.FINAL = {completed = true, failed = true, cancelled = true, dead = true}

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

-- Brings a task to a final state. Who had it last stays readable; nobody holds it, and nothing more is due for it.
function task.finish(key, record, status)
    local name, agent = record.name, record.agent
    task.free(record)
    record.name = name
    record.agent = agent
    record.search = nil
    record.retry_at = nil
    record.status = status
    record.completed_at = wall
    put('task', key, record)
    task.announce(key, status)
end

-- Puts a task where it belongs: behind what it depends on, its start time or its pause, else into its queue. Where that is.
function task.enqueue(key, record)
    local too_early = record.not_before and record.not_before > wall and record.not_before
    local resting = record.retry_at and record.retry_at > now and not too_early and record.retry_at
    record.retry_at = resting or nil
    if record.waits_for then
        record.status = 'blocked'
    elseif too_early or resting then
        record.status = 'scheduled'
        -- It sleeps until the next thing that it knew to be due.
        if (too_early and too_early < state.next_calendar) or (resting and resting < state.next_due) then
            wake('keeper')
        end
    else
        task.ready(key, record)
        return 'pending'
    end
    local status = record.status
    put('task', key, record)
    return status
end

function task.wrong_state(key, record, expected)
    refuse({wrong_state = {noun = 'task', id = key, actual = record.status, expected = expected}})
end

-- Who has a task. A finished one keeps the name of whoever had it last, but nobody has it.
function task.holder(record)
    return record.session and record.name
end

-- The task, if this very claim of the acting session still holds it; and who acts.
function task.owned(typed, token)
    local actor = acting()
    local key, record = resolve('task', typed)
    if record.token ~= token or record.session ~= actor.id then
        refuse({stale = {noun = 'task', id = key, owner = task.holder(record), current = record.token}})
    end
    return key, record, actor
end

function task.changed(key, status)
    return {key = key, status = status}
end

-- The answer to whoever has finished with a task, with the claim of the next one when that is asked for. One that is too
-- complex gets nothing: refusing it would undo the end of this one.
function task.finished(actor, key, status, wish)
    return {key = key, status = status, next = wish and (task.next(actor, wish) or task.nothing())}
end

-- An attempt that did not count.
function task.uncount(record)
    record.attempt = math.max(0, record.attempt - 1)
end

-- The time of a task has come: of a claim's deadline or offer to pass, of a scheduled one to begin, or of one that has not
-- been shown to all waiting claims to go on.
function task.overdue(key)
    local record = edit('task', key)
    if not record then
        return
    end
    if record.search then
        return task.hand_over(key, record)
    end
    if record.status == 'scheduled' then
        task.enqueue(key, record)
        return
    end
    if record.offer and record.ticket then
        task.miss(record.ticket)
    elseif record.ticket then
        -- The holder listens to the ticket that its claim came from.
        wake(record.ticket)
    end
    task.crash(key, 'its lease ended')
end
