-- task/withdraw: undoes a claim whose caller has gone, or makes a late one void.
-- op {request, confirm}
-- returns {key?}

-- The task that a claim, a confirm, or a claim with the end of another task was answered with.
local function key_of(number)
    local answer = answer_or_void(number)
    local reply = answer and answer.done and answer.done.reply
    local claim = reply and (reply.next or reply).claimed
    return claim and claim.key
end

-- Puts a task back that was claimed under this ticket, as if it had not been claimed.
local function give_back(key, ticket)
    local record = key and edit('task', key)
    if not record or record.ticket ~= ticket then
        return nil
    end
    task.free(record)
    task.uncount(record)
    task.ready(key, record)
    return key
end

return step(function(op)
    local ticket = ticket_of(op.request)
    local back = nil
    if op.confirm then
        back = give_back(key_of(op.confirm), ticket)
    end
    back = give_back(key_of(op.request), ticket) or back
    local waiter = get('task_ticket', ticket)
    if waiter then
        delete('task_ticket', ticket)
        back = give_back(waiter.offered, ticket) or back
    end
    return {key = back}
end)
