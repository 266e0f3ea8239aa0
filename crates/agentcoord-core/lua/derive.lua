-- derive: the index entries and counts that records imply, the same as src/record.rs.

derive.agent = {
    entries = function(key, record, enter)
        enter('id', 'agent', key)
        enter('name', record.name, key)
        enter('who', record.base, record.key, key)
    end,
}

-- Counts a record as one that goes on, or as a final one.
local function count_final(counts, going, final, is_final, sign)
    local counter = is_final and final or going
    counts[counter] = (counts[counter] or 0) + sign
end

derive.session = {
    entries = function(key, record, enter)
        if not record.ended_at then
            enter('live', record.agent, key)
            enter('here', 'agent:' .. record.name, key)
            if record.role then
                enter('here', 'role:' .. record.role, key)
            end
            enter('due', pad(record.due), 'session', key)
        elseif record.settling then
            enter('due', pad(0), 'session', key)
        else
            enter('final', 'session', pad(record.ended_at), key)
        end
    end,
    count = function(record, counts, sign)
        count_final(counts, 'sessions', 'ended', record.ended_at, sign)
    end,
}

-- The kinds of index entries of those who hold and wait for paths.
local HOLDING = {exclusive = 'h', shared = 'hs'}
local WAITING = {exclusive = 'w', shared = 'ws'}
-- The kind of those who wait and take nothing; it sorts before the others.
local ONLOOKING = 'f'

local function subtrees(paths)
    local count = 0
    for _, path in ipairs(paths) do
        if string.sub(path, -1) == '/' then
            count = count + 1
        end
    end
    return count
end

derive.lock = {
    entries = function(key, record, enter)
        for _, path in ipairs(record.paths) do
            local kind = HOLDING[record.mode]
            enter('path', path, kind, pad(record.token), key)
            enter('lane', record.session, record.lane, path, kind, pad(record.token), key)
        end
        enter('own', record.session, 'lock', key)
        local at = record.offer or record.deadline
        if at then
            enter('due', pad(at), 'lock', key)
        end
    end,
    count = function(record, counts, sign)
        counts.locks = counts.locks + sign * #record.paths
        counts.subtrees = counts.subtrees + sign * subtrees(record.paths)
    end,
}

derive.lock_ticket = {
    entries = function(key, record, enter)
        enter('own', record.session, 'lock_ticket', key)
        if record.offered then
            return
        end
        if record.look ~= 'free' then
            enter('waits', record.session, record.lane, key)
            local kind = record.look and ONLOOKING or WAITING[record.mode]
            for _, path in ipairs(record.paths) do
                enter('path', path, kind, pad(record.seq), key)
            end
        end
        if record.deadline then
            enter('due', pad(record.deadline), 'lock_ticket', key)
        end
    end,
    count = function(record, counts, sign)
        counts.lock_waiters = counts.lock_waiters + sign
        counts.subtrees = counts.subtrees + sign * subtrees(record.paths)
    end,
}

derive.handover = {
    entries = function(key, _, enter)
        enter('due', pad(0), 'handover', key)
    end,
}

-- Sorted words in one index part. Words have no control characters: the separator is safe, and a list comes before those
-- that begin with it.
local function words(list)
    return table.concat(list, '\31')
end

local function unwords(text_of_words)
    local list = {}
    for word in string.gmatch(text_of_words, '[^\31]+') do
        list[#list + 1] = word
    end
    return list
end

local FINAL = {completed = true, failed = true, cancelled = true, dead = true}

derive.task = {
    entries = function(key, record, enter)
        local order = text(math.max(0, 5 - record.priority)) .. pad(record.seq)
        if record.status == 'pending' then
            local required = words(record.requires)
            enter('ready', '', required, order, key)
            for _, tag in ipairs(record.tags) do
                enter('ready', tag, required, order, key)
            end
        else
            enter('status', record.status, order, key)
        end
        if FINAL[record.status] and record.completed_at then
            enter('final', 'task', pad(record.completed_at), key)
        end
        if record.session then
            enter('own', record.session, 'task', key)
        end
        local at = record.search and 0 or record.offer or record.deadline
        if at then
            enter('due', pad(at), 'task', key)
        end
        if record.status == 'scheduled' then
            if record.retry_at then
                enter('due', pad(record.retry_at), 'task', key)
            elseif record.not_before then
                enter('cal', pad(record.not_before), 'task', key)
            end
        end
    end,
    count = function(record, counts, sign)
        counts[record.status] = counts[record.status] + sign
        if record.status == 'pending' and #record.requires > 0 then
            counts.demanding = counts.demanding + sign
        end
    end,
}

-- Whether a task that becomes ready may be handed to a waiting claim.
local function is_in_line(waiter)
    return not waiter.offered and not waiter.away
end

derive.task_ticket = {
    entries = function(key, record, enter)
        enter('own', record.session, 'task_ticket', key)
        if is_in_line(record) then
            local capabilities = words(record.capabilities)
            for _, tag in ipairs(#record.tags > 0 and record.tags or {''}) do
                enter('want', tag, '', pad(record.seq), key)
                if capabilities ~= '' then
                    enter('want', tag, capabilities, pad(record.seq), key)
                end
            end
        end
        if record.deadline and not record.offered then
            enter('due', pad(record.deadline), 'task_ticket', key)
        end
    end,
    count = function(record, counts, sign)
        if is_in_line(record) then
            counts.task_waiters = counts.task_waiters + sign
        end
    end,
}

derive.dependency = {
    entries = function(key, record, enter)
        enter('dep', record.dependency, record.state, key)
        enter('needs', record.dependent, key)
    end,
    count = function(record, counts, sign)
        if record.state ~= 'done' then
            counts.dependencies = counts.dependencies + sign
        end
    end,
}

derive.link = {
    entries = function(key, record, enter)
        enter('work', pad(record.since), 'link', key)
    end,
    count = function(_, counts, sign)
        counts.work = counts.work + sign
    end,
}

derive.announcement = {
    entries = function(key, record, enter)
        enter('work', pad(record.since), 'announcement', key)
    end,
    count = function(_, counts, sign)
        counts.work = counts.work + sign
    end,
}

local URGENCY = {high = 0, normal = 1, low = 2}
-- Beyond every sequence number, so that newer threads come first.
local NEWEST_FIRST = 1125899906842624

derive.thread = {
    entries = function(key, record, enter)
        enter('id', 'thread', key)
        local urgency, newest = pad(URGENCY[record.priority]), pad(NEWEST_FIRST - record.seq)
        enter('thread', record.status, urgency, newest, key)
        if record.status == 'resolved' and record.resolved_at then
            enter('final', 'thread', pad(record.resolved_at), key)
        end
        local seen = {}
        for _, tag in ipairs(record.tags) do
            if not seen[tag] then
                seen[tag] = true
                enter('tagged', tag, record.status, urgency, newest, key)
            end
        end
    end,
    count = function(record, counts, sign)
        count_final(counts, 'threads', 'resolved', record.status == 'resolved', sign)
    end,
}

derive.message = {
    entries = function(key, record, enter)
        for _, address in ipairs(record.to or {}) do
            enter('inbox', address, pad(record.seq), record.author, key)
        end
    end,
}

derive.approval = {
    entries = function(key, record, enter)
        enter('id', 'approval', key)
        enter('approval', record.status, pad(record.seq), key)
        if record.status == 'pending' then
            enter('cal', pad(record.expires_at), 'approval', key)
            if record.session then
                enter('asks', record.session, key)
            end
        elseif record.decided_at then
            enter('final', 'approval', pad(record.decided_at), key)
        end
    end,
    count = function(record, counts, sign)
        count_final(counts, 'approvals', 'decided', record.status ~= 'pending', sign)
    end,
}

derive.key = {
    entries = function(key, record, enter)
        enter('cal', pad(record.expires_at), 'key', key)
    end,
}

derive.client = {
    entries = function(key, record, enter)
        enter('due', pad(record.expires), 'client', key)
    end,
}

local FINALS = {thread = 'resolved', approval = 'decided', session = 'ended'}

-- Final records of a table.
local function finals(kind, counts)
    local count = kind == 'task' and counts.completed + counts.failed + counts.cancelled + counts.dead
    return math.max(0, count or counts[FINALS[kind]] or 0)
end
