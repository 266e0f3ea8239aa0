-- lock/withdraw: undoes an acquire whose caller has gone, or makes a late one void.
-- op {request, confirm}
-- returns {paths}

-- The token that an acquire or confirm was answered with.
local function token_of(number)
    local answer = answer_or_void(number)
    local reply = answer and answer.done and answer.done.reply
    local grant = reply and reply.granted
    return grant and not grant.reacquired and grant.token
end

return step(function(op)
    local ticket = ticket_of(op.request)
    local paths = {}
    local function undo(number)
        local token = number and token_of(number)
        local grant = token and get('lock', text(token))
        if grant and grant.ticket == ticket then
            lock.drop_grant(text(token))
            paths = grant.paths
        end
    end
    undo(op.confirm)
    undo(op.request)
    local waiter = get('lock_ticket', ticket)
    if waiter then
        delete('lock_ticket', ticket)
        if waiter.offered then
            lock.drop_grant(text(waiter.offered))
            paths = waiter.paths
        else
            lock.leave(waiter)
        end
    end
    return {paths = paths}
end)
