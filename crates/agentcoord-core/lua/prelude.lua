-- prelude: what a step can do with records, index entries, clocks and numbers, the same as src/machine/step.rs.
--
-- Records are read once and changed in memory; frame.lua writes them at the end.

-- What a call brings: its keys, and its arguments; from FIRST_BLOB on these are names and bytes of blobs.
local META, HOT, INDEX, EVENTS, ROOT
local EPOCH, INSTANCE, CLIENT, REQUEST, DIGEST, ACTOR, ACTOR_NAME, BOOT_ID, BOOT_MS, WAKE_PREFIX, VERB, AGAIN, BODY
local ARGUMENTS
local FIRST_BLOB = 14

-- The numbers of src/limits.rs; a test compares them.
local OFFER = 2000
local CROWD = 8
local MAX_CRASHES = 3
local BACKOFF_FIRST = 1000
local BACKOFF_MOST = 600000
local BACKOFF_JITTER = 20
local KEY_TTL = 86400000
local REPLAY_TTL = 3600000
local REPLAY_WINDOW = 256
local EVENT_WINDOW = 100000
local REAP_PER_STEP = 8
local WORK_PER_STEP = 64
local SEAL_RUN = 256
local LOCK_EDGES = 4096
local LOCK_ENTRIES = 65536
local SHORT_ID = 8
local WALL_STEP_LIMIT = 15000
local NEVER = 9007199254740991

-- Arguments that one redis.call may get from unpack.
local CHUNK = 1000
-- How often the event log is trimmed, in csn.
local TRIM_EVERY = 256
-- Hex digits of a hash in the chain over the audit log.
local HASH_DIGITS = 64
-- Fencing tokens: epoch * 2^36 + sequence, below 2^53.
local TOKEN_SEQUENCES = 68719476736
local TOKEN_EPOCHS = 131072

-- Tables in the order in which events list them, and those that live in the hot hash.
local TABLES = {
    agent = 1, session = 2, pulse = 3, lock = 4, lock_ticket = 5, handover = 6, task = 7, task_ticket = 8, setback = 9,
    dependency = 10, link = 11, announcement = 12, thread = 13, message = 14, approval = 15, audit = 16, seal = 17,
    key = 18, client = 19, ring = 20,
}
local HOT_TABLES = {pulse = true, ring = true}

local request, state, now, wall, pause
local touched, delta, wakes, settled
-- Names of blobs of records that this step deletes.
local gone_blobs
local index_is_sound, known_crowd
-- Lock paths that have become free and whose waiters are still to be looked at, and how many this step may look at.
local freed, turns
-- Dependencies of tasks that this step may still link or change for work that may be put off.
local links

-- What a table's records derive: entries(key, record, enter) and count(record, counts, sign). Filled by the rules.
local derive = {}
-- Settles at most so many due items. Set by the rules.
local reap
-- Passes on the freed lock paths. Set by the rules.
local hand_over

-- Begins a call. The library lives as long as the server: nothing of the call before may be left.
local function enter(keys, arguments)
    META, HOT, INDEX, EVENTS, ROOT = unpack(keys)
    EPOCH, INSTANCE, CLIENT, REQUEST, DIGEST, ACTOR, ACTOR_NAME, BOOT_ID, BOOT_MS, WAKE_PREFIX, VERB, AGAIN, BODY =
        unpack(arguments, 1, 13)
    ARGUMENTS = arguments
    request = tonumber(REQUEST)
end

-- Forgets what this call has read and changed so far.
local function reset()
    state, now, wall = nil, nil, nil
    touched, delta, wakes, settled = {}, {}, {}, 0
    gone_blobs = {}
    index_is_sound = false
    freed, turns, links = {}, WORK_PER_STEP, WORK_PER_STEP
    known_crowd = nil
end

-- A number as text. Lua itself prints 14 digits only.
local function text(number)
    return string.format('%.0f', number)
end

-- A number as an index part: byte order is number order.
local function pad(number)
    return string.format('%016.0f', number)
end

-- Whether a sorts before b by bytes; Lua's own comparison follows the server's locale.
local function before(a, b)
    for i = 1, math.min(#a, #b) do
        local x, y = string.byte(a, i), string.byte(b, i)
        if x ~= y then
            return x < y
        end
    end
    return #a < #b
end

local function copy(record)
    if not record then
        return nil
    end
    local twin = {}
    for field, value in pairs(record) do
        twin[field] = value
    end
    return twin
end

-- Whether two values are equal in all their parts. Packed bytes cannot tell: the order of fields in them is free.
local function same(a, b)
    if type(a) ~= 'table' or type(b) ~= 'table' then
        return a == b
    end
    for field, value in pairs(a) do
        if not same(value, b[field]) then
            return false
        end
    end
    for field in pairs(b) do
        if a[field] == nil then
            return false
        end
    end
    return true
end

local function contains(list, value)
    for _, item in ipairs(list) do
        if item == value then
            return true
        end
    end
    return false
end

-- Ends the step without writing.
local function refuse(refusal)
    error({refusal = refusal})
end

local function forbid(policy)
    refuse({policy = {policy = policy}})
end

-- Ends the step with an error reply; nothing may have been written.
local function fail(message, key)
    error({failure = message .. ' [' .. key .. ']'})
end

-- Calls Redis; a failure names the key.
local function ask(command, key, ...)
    local answer = redis.pcall(command, key, ...)
    if type(answer) == 'table' and answer.err then
        fail(answer.err, key)
    end
    return answer
end

local function unpack_record(bytes, name)
    local ok, record = pcall(cmsgpack.unpack, bytes)
    if not ok or type(record) ~= 'table' then
        fail('CORRUPT a stored record is unreadable', name)
    end
    return record
end

local function stored(kind, key)
    return ROOT .. ':' .. kind .. ':' .. key
end

local function slot_of(kind, key)
    return kind .. '\0' .. key
end

-- Notes a record as it is stored; `bytes` false: there is none.
local function note(kind, key, bytes)
    local record = nil
    if bytes then
        record = unpack_record(bytes, stored(kind, key))
    end
    local slot = {kind = kind, key = key, before = record, after = record, dirty = false}
    touched[slot_of(kind, key)] = slot
    return slot
end

local function touch(kind, key)
    local slot = touched[slot_of(kind, key)]
    if slot then
        return slot
    end
    if HOT_TABLES[kind] then
        return note(kind, key, ask('HGET', HOT, kind .. '/' .. key))
    end
    return note(kind, key, ask('GET', stored(kind, key)))
end

-- A record as it stands with the changes of this step; a copy, so that only put changes it.
local function get(kind, key)
    return copy(touch(kind, key).after)
end

-- A record to be changed and put back. What get returns is only read.
local edit = get

local function change(slot, record)
    local function account(side, sign)
        local rule = derive[slot.kind]
        if not side or not rule then
            return
        end
        rule.entries(slot.key, side, function(...)
            local entry = table.concat({...}, '\0')
            delta[entry] = (delta[entry] or 0) + sign
        end)
        if rule.count then
            rule.count(side, state.counts, sign)
        end
    end
    account(slot.after, -1)
    account(record, 1)
    slot.after = copy(record)
    slot.dirty = true
end

local function put(kind, key, record)
    change(touch(kind, key), record)
end

-- Puts a record whose key was made in this step, which needs no look at the store.
local function insert(kind, key, record)
    change(touched[slot_of(kind, key)] or note(kind, key, false), record)
end

local function delete(kind, key)
    change(touch(kind, key), nil)
end

-- Deletes a blob with its record.
local function delete_blob(noun, id, field)
    gone_blobs[#gone_blobs + 1] = noun .. '/' .. id .. '/' .. field
end

-- The range of all entries that begin with these parts and have at least one part more.
local function under(...)
    local prefix = table.concat({...}, '\0')
    return prefix .. '\0', prefix .. '\1'
end

local function parts(entry)
    local list, from = {}, 1
    while true do
        local at = string.find(entry, '\0', from, true)
        if not at then
            list[#list + 1] = string.sub(entry, from)
            return list
        end
        list[#list + 1] = string.sub(entry, from, at - 1)
        from = at + 1
    end
end

-- Index entries from `from` on and before `to`, in order, as they stand with the changes of this step; each as its parts.
local function scan(from, to, limit)
    if limit <= 0 then
        return {}
    end
    local added, removed = {}, 0
    for entry, sign in pairs(delta) do
        if sign ~= 0 and not before(entry, from) and before(entry, to) then
            if sign > 0 then
                added[#added + 1] = entry
            else
                removed = removed + 1
            end
        end
    end
    local found = ask('ZRANGEBYLEX', INDEX, '[' .. from, '(' .. to, 'LIMIT', 0, limit + removed)
    index_is_sound = true
    local entries = added
    for _, entry in ipairs(found) do
        if (delta[entry] or 0) == 0 then
            entries[#entries + 1] = entry
        end
    end
    table.sort(entries, before)
    local list = {}
    for i = 1, math.min(limit, #entries) do
        list[i] = parts(entries[i])
    end
    return list
end

-- Records a sign of life.
local function pulse(session, progress)
    local record = get('pulse', session) or {beat = now, progress = now}
    record.beat = now
    if progress then
        record.progress = now
    end
    put('pulse', session, record)
end

local function last_beat(id)
    local last = get('pulse', id)
    return last and last.beat or 0
end

-- Whether a process has missed its time since the last time that all were spared.
local function has_fallen_silent(beat, session)
    local fresh = not state.spared or beat >= state.spared
    return session.kind == 'process' and fresh and beat + session.ttl <= now
end

-- Whether more than half of the live sessions have fallen silent, or as many as a step may look at.
local function crowd_is_silent()
    if known_crowd == nil then
        local silent = 0
        for _, entry in ipairs(scan('due\0', 'due\0' .. pad(now + 1), WORK_PER_STEP)) do
            local session = #entry == 4 and entry[3] == 'session' and get('session', entry[4])
            if session and not session.ended_at and has_fallen_silent(last_beat(entry[4]), session) then
                silent = silent + 1
            end
        end
        known_crowd = silent * 2 > state.counts.sessions or silent >= WORK_PER_STEP
    end
    return known_crowd
end

-- When a session that has not ended does so without another sign of life.
--
-- When many fall silent at once, the store or the clock is at fault rather than all of them: then each gets one time to
-- live more.
local function lives_until(id, session)
    local beat = last_beat(id)
    local until_then = beat + session.ttl
    if session.kind == 'process' then
        -- Who lives by calls sends no heartbeats that could have been lost.
        until_then = math.max(beat, state.spared or 0) + session.ttl
    end
    if until_then <= now and has_fallen_silent(beat, session) then
        -- The store was away for so long that one who beats three times in its time to live could not.
        local away = pause * 3 >= session.ttl * 2
        if state.counts.sessions >= CROWD and (away or crowd_is_silent()) then
            state.spared = now
            return now + session.ttl
        end
    end
    return until_then
end

-- Whether a session has neither ended nor outlived its time.
local function is_live(id, session)
    return not session.ended_at and lives_until(id, session) > now
end

local function stale_session(id)
    refuse({stale = {noun = 'session', id = id}})
end

-- The acting session, live or else refused. Unlike acting() this is no sign of life.
local function live_actor()
    if ACTOR ~= 'session' then
        forbid('no_session')
    end
    local session = get('session', ACTOR_NAME)
    if not session or not is_live(ACTOR_NAME, session) then
        stale_session(ACTOR_NAME)
    end
    return {id = ACTOR_NAME, session = session}
end

-- The acting session. It must be live; being here is its sign of life and its progress.
local function acting()
    local actor = live_actor()
    pulse(actor.id, true)
    return actor
end

-- How the actor is named in records.
local function principal()
    if ACTOR == 'session' then
        return 'agent:' .. acting().session.name
    elseif ACTOR == 'human' then
        return 'human:' .. ACTOR_NAME
    end
    return 'system'
end

local function agent_of(actor)
    local key = actor.session.agent
    local record = get('agent', key)
    if not record then
        refuse({not_found = {noun = 'agent', id = key}})
    end
    return record
end

local function digits(typed)
    return string.lower((string.gsub(typed, '-', '')))
end

-- The key and record whose id begins with what was typed, when it is at least a short id long; else nothing.
local function find(kind, typed)
    typed = digits(typed)
    for length = SHORT_ID, math.min(#typed, 2 * SHORT_ID) do
        local key = string.sub(typed, 1, length)
        local record = get(kind, key)
        if record and string.sub(record.id, 1, #typed) == typed then
            return key, record
        end
    end
end

-- As find; it must be there.
local function resolve(kind, typed)
    local key, record = find(kind, typed)
    if not key then
        refuse({not_found = {noun = kind, id = digits(typed)}})
    end
    return key, record
end

-- The shortest free key for a new record.
local function free_key(kind, id)
    for length = SHORT_ID, 2 * SHORT_ID do
        local key = string.sub(id, 1, length)
        local record = touch(kind, key).after
        if not record then
            return key
        end
        if record.id == id then
            break -- An id names one record: its blobs are stored under it.
        end
    end
    forbid('id_taken')
end

local function next_seq()
    state.seq = state.seq + 1
    return state.seq
end

local function next_token()
    state.token = state.token + 1
    local epoch = tonumber(EPOCH)
    if state.token >= TOKEN_SEQUENCES or epoch >= TOKEN_EPOCHS then
        forbid('exhausted')
    end
    return epoch * TOKEN_SEQUENCES + state.token
end

-- Names a ticket or approval whose waiters must look again.
local function wake(topic)
    if wakes[#wakes] ~= topic then
        wakes[#wakes + 1] = topic
    end
end

local function ticket_of(number)
    return CLIENT .. '-' .. text(number)
end

local function ring_key(number)
    return CLIENT .. '/' .. text(number % REPLAY_WINDOW)
end

-- The wall time at which a lease time will be reached, if clocks run evenly; for people only.
local function wall_at(lease)
    return math.max(0, state.clock.wall + lease - state.clock.now)
end

-- Due entries up to now, at most `limit`, as {table, key}.
local function due(limit)
    local items = {}
    local function take(index, up_to)
        for _, entry in ipairs(scan(index .. '\0', index .. '\0' .. pad(up_to + 1), limit - #items)) do
            if #entry == 4 and TABLES[entry[3]] then
                items[#items + 1] = {entry[3], entry[4]}
            end
        end
    end
    if state.next_due <= now then
        take('due', now)
    end
    if state.next_calendar <= wall then
        take('cal', wall)
    end
    return items
end

-- Moves the lease clock to a new reading; it never goes back. See src/time.rs.
local function move_clock(clock)
    local boot = tonumber(BOOT_MS)
    local passed
    if clock.boot_id == BOOT_ID then
        passed = math.max(0, boot - clock.boot)
        boot = math.max(boot, clock.boot)
    else
        passed = math.min(WALL_STEP_LIMIT, math.max(0, wall - clock.wall))
    end
    return {now = clock.now + passed, wall = wall, boot_id = BOOT_ID, boot = boot}
end

local function first_state()
    return {
        csn = 0, token = 0, seq = 0, audit = 0, sealed = 0, next_due = NEVER, next_calendar = NEVER,
        clock = {now = 0, wall = 0, boot_id = '', boot = 0},
        counts = {
            blocked = 0, scheduled = 0, pending = 0, claimed = 0, in_progress = 0, completed = 0, failed = 0,
            cancelled = 0, dead = 0, sessions = 0, locks = 0, lock_waiters = 0, subtrees = 0, task_waiters = 0, threads = 0,
            approvals = 0, resolved = 0, decided = 0, ended = 0,
        },
    }
end
