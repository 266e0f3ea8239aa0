-- prelude: what a step can do with records, index entries, clocks and numbers, the same as src/machine/step.rs.
--
-- Records are read once and changed in memory; frame.lua writes them at the end.

-- What a call brings: its keys, and its arguments; from FIRST_BLOB on these are names and bytes of blobs.
local META, HOT, INDEX, EVENTS, ROOT
local EPOCH, INSTANCE, CLIENT, REQUEST, DIGEST, ACTOR, ACTOR_NAME, BOOT_ID, BOOT_MS, WAKE_PREFIX, VERB, AGAIN, BODY
local FENCE, KNOWN, LINK
local ARGUMENTS
local FIRST_BLOB = 17

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
local LINKS_PER_STEP = 32
local LINK_RUN = 256
local SEAL_RUN = 256
local SEEKS_PER_STEP = 1024
local AUDIENCE = 32
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
-- Events that an answer brings along at most for a host that does not know them; with more it has to catch up first.
local TAIL_MOST = 256
-- Fencing tokens: epoch * 2^36 + sequence, below 2^53.
local TOKEN_SEQUENCES = 68719476736
local TOKEN_EPOCHS = 131072

-- The tables that live in the hot hash.
local HOT_TABLES = {pulse = true, client = true, ring = true}
-- How records are read, copied and packed, by table. Filled by a text that is made from the records' own fields.
local shapes = {}
-- More values than any record has fields.
local ANY_FIELDS = 1000

-- Of this call: its request as a number, and the key of its replay slot.
local request, ring
local state, now, wall, pause
-- Records that were looked at, by table and key, and in order those that were put or deleted.
local touched, dirty
-- Names of blobs of records that this step deletes.
local gone_blobs
-- Index entries by their first part, with how often they were added less how often they were removed.
local delta
local wakes, settled
local index_is_sound, known_crowd
-- Lock paths that have become free and whose waiters are still to be looked at, how many waiters this step may look at,
-- and how many seeks it may make for tasks that have become ready.
local freed, turns, seeks
-- The task that this step has given to its caller.
local handed
-- Tags in whose lines nobody waits for a task; nobody joins one before the step is about to end.
local deserted
-- Dependencies of tasks that this step may still link or change for work that may be put off.
local links

-- Unpacked sessions by their bytes, which every step of theirs reads; at most so many. They outlive a call, because the library
-- lives as long as the server; the bytes say that they still hold.
local sessions, sessions_left = {}, 0
local SESSIONS = 256

-- What a table's records derive: entries(key, record, enter) and count(record, counts, sign). Filled by the rules.
local derive = {}
-- Settles at most so many due items. Set by the rules.
local reap
-- Refuses a call that is made under a lock which has ended. Set by the rules.
local check_fence
-- Passes on the freed lock paths. Set by the rules.
local hand_over

-- Forgets what this call has read and changed so far.
local function reset()
    state, now, wall = nil, nil, nil
    touched, dirty, gone_blobs, delta, wakes, settled = {}, {}, {}, {}, {}, 0
    freed, turns, seeks, links = {}, WORK_PER_STEP, SEEKS_PER_STEP, LINKS_PER_STEP
    deserted, handed = {}, nil
    index_is_sound, known_crowd = false, nil
end

-- A number as text. Lua itself prints 14 digits only.
local function text(number)
    return string.format('%d', number)
end

-- Digits of a number as an index part.
local PADDED = 16

-- A number as an index part: byte order is number order.
local function pad(number)
    return string.format('%016d', number)
end

-- Where a client keeps the answer to a request.
local function ring_key(client, number)
    return client .. '/' .. text(number % REPLAY_WINDOW)
end

-- Begins a call. The library lives as long as the server: nothing of the call before may be left.
local function enter(keys, arguments)
    META, HOT, INDEX, EVENTS, ROOT = unpack(keys)
    EPOCH, INSTANCE, CLIENT, REQUEST, DIGEST, ACTOR, ACTOR_NAME, BOOT_ID, BOOT_MS, WAKE_PREFIX, VERB, AGAIN, BODY, FENCE,
        KNOWN, LINK = unpack(arguments, 1, 16)
    ARGUMENTS = arguments
    request = tonumber(REQUEST)
    ring = ring_key(CLIENT, request)
    before = before or locale_is_bytewise() and before_by_locale or before_by_bytes
end

local function copy(kind, record)
    return record and shapes[kind].copy(record)
end

-- Whether two values are equal in all their parts.
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

-- Ends the step because of a rule; `about` is what broke it, where the caller would have to guess.
local function forbid(policy, about)
    refuse({policy = {policy = policy, about = about}})
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

local function stored(kind, key)
    return ROOT .. ':' .. kind .. ':' .. key
end

local function unreadable(name)
    fail('CORRUPT a stored record is unreadable', name)
end

-- Unpacks a table; `name` is what an error names.
local function unpack_table(bytes, name)
    local ok, unpacked = pcall(cmsgpack.unpack, bytes)
    if not ok or type(unpacked) ~= 'table' then
        unreadable(name)
    end
    return unpacked
end

local function read_fields(read, bytes, from)
    return read(cmsgpack.unpack_limit(bytes, ANY_FIELDS, from))
end

-- Unpacks a record, which is an array of its fields. Another version may have stored more or fewer.
local function unpack_record(kind, bytes, name)
    local head, high, low = string.byte(bytes, 1, 3)
    local count, from = nil, 1
    if head == 220 and low then
        count, from = high * 256 + low, 3
    elseif head and head >= 144 and head < 160 then
        count = head - 144
    else
        unreadable(name)
    end
    local readers = shapes[kind].read
    local ok, record = pcall(read_fields, readers[count] or readers.any, bytes, from)
    if not ok then
        unreadable(name)
    end
    return record
end

local function unpack_session(bytes, name)
    local session = sessions[bytes]
    if not session then
        session = unpack_record('session', bytes, name)
        if sessions_left == 0 then
            sessions, sessions_left = {}, SESSIONS
        end
        sessions[bytes] = session
        sessions_left = sessions_left - 1
    end
    return session
end

-- Notes a record as it is stored, under a name; `bytes` false: there is none.
local function note(kind, key, bytes, name)
    local record = nil
    if bytes then
        record = kind == 'session' and unpack_session(bytes, name) or unpack_record(kind, bytes, name)
    end
    local slot = {kind = kind, key = key, before = record, after = record, is_dirty = false}
    local of_kind = touched[kind]
    if not of_kind then
        of_kind = {}
        touched[kind] = of_kind
    end
    of_kind[key] = slot
    return slot
end

local function noted(kind, key)
    local of_kind = touched[kind]
    return of_kind and of_kind[key]
end

local function touch(kind, key)
    local slot = noted(kind, key)
    if slot then
        return slot
    end
    if HOT_TABLES[kind] then
        return note(kind, key, ask('HGET', HOT, kind .. '/' .. key), HOT)
    end
    local name = stored(kind, key)
    return note(kind, key, ask('GET', name), name)
end

-- A record as it stands with the changes of this step, to be read only.
local function get(kind, key)
    return touch(kind, key).after
end

-- A copy of a record, to be changed and put. Once put it is read only.
local function edit(kind, key)
    return copy(kind, touch(kind, key).after)
end

-- An index entry of two to seven parts, spelled out: a list of any length would cost twice the time.
local function join(a, b, c, d, e, f, g)
    if g then
        return a .. '\0' .. b .. '\0' .. c .. '\0' .. d .. '\0' .. e .. '\0' .. f .. '\0' .. g
    elseif f then
        return a .. '\0' .. b .. '\0' .. c .. '\0' .. d .. '\0' .. e .. '\0' .. f
    elseif e then
        return a .. '\0' .. b .. '\0' .. c .. '\0' .. d .. '\0' .. e
    elseif d then
        return a .. '\0' .. b .. '\0' .. c .. '\0' .. d
    elseif c then
        return a .. '\0' .. b .. '\0' .. c
    end
    return a .. '\0' .. b
end

-- What this step has changed of one index.
local function changes(index)
    local of_index = delta[index]
    if not of_index then
        of_index = {}
        delta[index] = of_index
    end
    return of_index
end

local function enter_entry(index, b, c, d, e, f, g)
    local entry, changed = join(index, b, c, d, e, f, g), changes(index)
    changed[entry] = (changed[entry] or 0) + 1
end

local function remove_entry(index, b, c, d, e, f, g)
    local entry, changed = join(index, b, c, d, e, f, g), changes(index)
    changed[entry] = (changed[entry] or 0) - 1
end

local function change(slot, record)
    if record and record == slot.after then
        fail('a stored record was changed in place', slot.kind)
    end
    local rule, old = derive[slot.kind], slot.after
    if rule and old then
        rule.entries(slot.key, old, remove_entry)
        if rule.count then
            rule.count(old, state.counts, -1)
        end
    end
    if rule and record then
        rule.entries(slot.key, record, enter_entry)
        if rule.count then
            rule.count(record, state.counts, 1)
        end
    end
    slot.after = record
    if not slot.is_dirty then
        slot.is_dirty = true
        dirty[#dirty + 1] = slot
    end
end

local function put(kind, key, record)
    change(touch(kind, key), record)
end

-- Puts a record whose key was made in this step, which needs no look at the store.
local function insert(kind, key, record)
    change(noted(kind, key) or note(kind, key, false), record)
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
    local prefix = select('#', ...) == 1 and ... or join(...)
    return prefix .. '\0', prefix .. '\1'
end

local function parts(entry)
    -- What claims and completions look for, in one go.
    local a, b, c, d, e = string.match(entry, '^(%Z*)%z(%Z*)%z(%Z*)%z(%Z*)%z(%Z*)$')
    if e then
        return {a, b, c, d, e}
    end
    local list, from, at = {}, 1, string.find(entry, '\0', 1, true)
    while at do
        list[#list + 1] = string.sub(entry, from, at - 1)
        from = at + 1
        at = string.find(entry, '\0', from, true)
    end
    list[#list + 1] = string.sub(entry, from)
    return list
end

-- Index entries from `from` on and before `to`, in order, as they stand with the changes of this step; each as its parts.
local function scan(from, to, limit)
    if limit <= 0 then
        return {}
    end
    local changed, added, removed = changes(string.match(from, '^%Z*')), {}, 0
    -- What all of the range begins with, as far as that is easy to tell.
    local stem = string.sub(from, 1, -2)
    if string.sub(to, 1, -2) ~= stem then
        stem = ''
    end
    for entry, sign in pairs(changed) do
        local near = sign ~= 0 and string.sub(entry, 1, #stem) == stem
        if near and not before(entry, from) and before(entry, to) then
            if sign > 0 then
                added[#added + 1] = entry
            else
                removed = removed + 1
            end
        end
    end
    local found = ask('ZRANGEBYLEX', INDEX, '[' .. from, '(' .. to, 'LIMIT', '0', text(limit + removed))
    index_is_sound = true
    local entries, is_sorted = added, #added == 0
    for _, entry in ipairs(found) do
        if (changed[entry] or 0) == 0 then
            entries[#entries + 1] = entry
        end
    end
    if not is_sorted then
        table.sort(entries, before)
    end
    local list = {}
    for i = 1, math.min(limit, #entries) do
        list[i] = parts(entries[i])
    end
    return list
end

-- Records a sign of life.
local function pulse(session, progress)
    local last = get('pulse', session)
    put('pulse', session, {beat = now, progress = not progress and last and last.progress or now})
end

local function last_beat(id)
    local last = get('pulse', id)
    return last and last.beat or 0
end

-- Whether a process has missed its time since the last time that all were spared.
local function has_fallen_silent(beat, session)
    return session.kind == 'process' and beat >= state.spared and beat + session.ttl <= now
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
        until_then = math.max(beat, state.spared) + session.ttl
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

-- The acting session, to be read. It must be live; being here is its sign of life and its progress.
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

local function digits(typed)
    return string.lower((string.gsub(typed, '-', '')))
end

-- The key and record, to be changed, whose id begins with what was typed, when it is at least a short id long; else nothing.
local function find(kind, typed)
    typed = digits(typed)
    for length = SHORT_ID, math.min(#typed, 2 * SHORT_ID) do
        local key = string.sub(typed, 1, length)
        local record = get(kind, key)
        if record and string.sub(record.id, 1, #typed) == typed then
            return key, copy(kind, record)
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

-- What a repeated idempotency key named the first time, or nothing; with other content it is refused.
local function known_under(idempotency, digest)
    local known = idempotency and get('key', idempotency)
    if known and known.digest ~= digest then
        forbid('key_reused', idempotency)
    end
    return known
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

-- The wall time at which a lease time will be reached, if clocks run evenly; for people only.
local function wall_at(lease)
    return math.max(0, state.clock.wall + lease - state.clock.now)
end
