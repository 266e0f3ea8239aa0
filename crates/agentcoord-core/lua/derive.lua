-- derive: the index entries and counts that records imply, the same as src/record.rs.

derive.agent = {
    entries = function(key, record, enter)
        enter('id', 'agent', key)
        enter('name', record.name, key)
        enter('who', record.base, record.key, key)
    end,
}

derive.session = {
    entries = function(key, record, enter)
        if not record.ended_at then
            enter('live', record.agent, key)
            enter('due', pad(record.due), 'session', key)
        elseif record.settling then
            enter('due', pad(0), 'session', key)
        end
    end,
    count = function(record, counts, sign)
        if not record.ended_at then
            counts.sessions = counts.sessions + sign
        end
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

-- Two sorted word lists in one index part. Words have no control characters, so the separators are safe.
local function words(first, second)
    return table.concat(first, '\31') .. '\30' .. table.concat(second, '\31')
end

local function word_list(text_of_words)
    local list = {}
    for word in string.gmatch(text_of_words, '[^\31]+') do
        list[#list + 1] = word
    end
    return list
end

local function unwords(part)
    local at = string.find(part, '\30', 1, true)
    if not at then
        return word_list(part), {}
    end
    return word_list(string.sub(part, 1, at - 1)), word_list(string.sub(part, at + 1))
end

derive.task = {
    entries = function(key, record, enter)
        local order = text(math.max(0, 5 - record.priority)) .. pad(record.seq)
        enter('status', record.status, order, key)
        if record.status == 'pending' then
            enter('ready', words(record.tags, record.requires), order, key)
        end
        if record.session then
            enter('own', record.session, 'task', key)
        end
        local at = record.offer or record.deadline
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
    end,
}

derive.task_ticket = {
    entries = function(key, record, enter)
        enter('own', record.session, 'task_ticket', key)
        if record.offered then
            return
        end
        enter('want', words(record.tags, record.capabilities), pad(record.seq), key)
        if record.deadline then
            enter('due', pad(record.deadline), 'task_ticket', key)
        end
    end,
    count = function(_, counts, sign)
        counts.task_waiters = counts.task_waiters + sign
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
        enter('due', pad(record.since), 'link', key)
    end,
}

derive.announcement = {
    entries = function(key, record, enter)
        enter('due', pad(record.since), 'announcement', key)
    end,
}

local URGENCY = {high = 0, normal = 1, low = 2}
-- Beyond every sequence number, so that newer threads come first.
local NEWEST_FIRST = 1125899906842624

derive.thread = {
    entries = function(key, record, enter)
        enter('id', 'thread', key)
        enter('thread', record.status, pad(URGENCY[record.priority]), pad(NEWEST_FIRST - record.seq), key)
    end,
    count = function(record, counts, sign)
        if record.status ~= 'resolved' then
            counts.threads = counts.threads + sign
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
        end
    end,
    count = function(record, counts, sign)
        if record.status == 'pending' then
            counts.approvals = counts.approvals + sign
        end
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
