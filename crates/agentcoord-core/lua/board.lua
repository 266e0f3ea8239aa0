-- board: rules of the board that several verbs share, the same as src/machine/board.rs.

local board = {}

-- Agents and people have inboxes; AgentCoord itself has none.
function board.takes_part(principal)
    return principal ~= 'system'
end

-- Whether an address reaches a live session. Of people nobody knows.
function board.is_here(address)
    if string.sub(address, 1, 6) == 'human:' then
        return true
    end
    local from, to = under('here', address)
    return scan(from, to, 1)[1] ~= nil
end

local KINDS = {agent = true, role = true, human = true}

-- The address of what was typed: an agent that is known, a role that somebody has now, or a person.
function board.find(typed)
    local kind, name = string.match(typed, '^(%l+):(.*)$')
    if not KINDS[kind] then
        kind, name = nil, typed
    end
    if kind == 'human' then
        return typed
    end
    if kind ~= 'role' then
        local from, to = under('name', name)
        if scan(from, to, 1)[1] then
            return 'agent:' .. name
        end
    end
    local role = 'role:' .. name
    if kind ~= 'agent' and board.is_here(role) then
        return role
    end
end

function board.add(list, address, most)
    if #list < most and not contains(list, address) then
        list[#list + 1] = address
    end
end

-- The addresses that a message names: all of `to`, and of the mentions those that anybody goes by.
function board.addressed(to, mentions)
    local named = {}
    for _, typed in ipairs(to) do
        local address = board.find(typed)
        if not address then
            refuse({not_found = {noun = 'agent', id = typed}})
        end
        board.add(named, address, math.huge)
    end
    for _, word in ipairs(mentions) do
        local address = board.find(word)
        if address then
            board.add(named, address, math.huge)
        end
    end
    return named
end

local function some(list)
    return #list > 0 and list or nil
end

-- Appends a message to a thread that is put later. Says who of its addressees is away.
function board.append(key, thread, id, author, named)
    local audience, to, away = {}, {}, {}
    for _, address in ipairs(thread.audience or {}) do
        audience[#audience + 1] = address
        if address ~= author then
            to[#to + 1] = address
        end
    end
    for _, address in ipairs(named) do
        if address ~= author then
            board.add(to, address, math.huge)
        end
    end
    for _, address in ipairs(to) do
        board.add(audience, address, AUDIENCE)
        wake('inbox/' .. address)
        if not board.is_here(address) then
            away[#away + 1] = address
        end
    end
    if board.takes_part(author) then
        board.add(audience, author, AUDIENCE)
    end
    thread.audience = some(audience)
    thread.count = thread.count + 1
    insert('message', key .. '/' .. text(thread.count), {
        id = id, author = author, posted_at = wall, seq = next_seq(), to = some(to),
    })
    return away
end

function board.move_to(thread, status)
    if status then
        thread.status = status
        thread.resolved_at = status == 'resolved' and wall or nil
    end
end

function board.put(key, thread, away)
    put('thread', key, thread)
    wake('thread/' .. key)
    return {thread = key, messages = thread.count, duplicate = false, away = away}
end

-- What a repeated idempotency key has posted.
function board.posted_before(idempotency, digest)
    local known = known_under(idempotency, digest)
    if not known then
        return nil
    end
    local thread, number = string.match(known.key, '^(.*)/(%d+)$')
    return {thread = thread, messages = tonumber(number), duplicate = true, away = {}}
end

function board.remember(idempotency, digest, key, thread)
    if idempotency then
        put('key', idempotency, {
            key = key .. '/' .. text(thread.count), digest = digest, expires_at = wall + KEY_TTL,
        })
    end
end
