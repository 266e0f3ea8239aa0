-- frame: the frame of every step, the same as src/machine/step.rs: fence, replay, reaping, verb, commit.
--
-- Everything is written at the end, so a refusal or an error before the commit writes nothing. Redis does not roll a
-- script back: whatever can fail is tried before the first write.

local frame = {}

-- The part of the log that the answer brings along, and the number of the event before it; nil when nobody asked for it.
local tail, tail_after
-- How far the log was told over a link, by link. Answers over one link arrive in order, so nothing is told twice there.
-- It outlives a call; without it more is told than necessary.
local told, told_left = {}, 0
local TOLD = 4096
-- How an answer begins with which a task comes along, in an array of three: the answer, the lease time, and the task.
local WITH_TASK = '\147'

-- Fetches the events that the caller's host does not know, before anything is executed: it must have all that the answer
-- may have seen. Returns the answer when it knows too little to be told so, or more than there is.
function frame.orient()
    tail = nil
    if KNOWN == '' then
        return nil
    end
    tail_after = math.max(tonumber(KNOWN), told[LINK] or 0)
    if tail_after > state.csn then
        return cmsgpack.pack({fenced = {epoch = tonumber(EPOCH), instance = INSTANCE, closed = false, lost = true}})
    end
    local missing = state.csn - tail_after
    tail = {}
    if missing > 0 then
        local entries = {}
        if missing <= TAIL_MOST then
            entries = ask('XRANGE', EVENTS, text(tail_after + 1) .. '-0', text(state.csn) .. '-0')
        end
        if #entries ~= missing then
            tail = nil
            return cmsgpack.pack({behind = {csn = state.csn}})
        end
        for at, entry in ipairs(entries) do
            local fields = entry[2]
            tail[at] = {fields[2], fields[4]}
        end
    end
end

-- The answer with the part of the log that belongs to it.
function frame.with_tail(answer)
    if not tail then
        return answer
    end
    if told_left == 0 then
        told, told_left = {}, TOLD
    end
    if not told[LINK] then
        told_left = told_left - 1
    end
    told[LINK] = tail_after + #tail
    local reply = {answer, text(tail_after)}
    for _, logged in ipairs(tail) do
        reply[#reply + 1] = logged[1]
        reply[#reply + 1] = logged[2]
    end
    return reply
end

-- Checks the fence and reads what almost every step needs. Returns the answer when the caller is fenced out.
function frame.begin()
    tail = nil
    local epoch, instance, closed, frozen =
        unpack(ask('HMGET', META, 'epoch', 'instance', 'closed', 'freeze_wall'))
    if epoch ~= EPOCH or instance ~= INSTANCE or closed == '1' then
        return cmsgpack.pack({
            fenced = {epoch = tonumber(epoch or '0'), instance = instance or '', closed = closed == '1'},
        })
    end
    local known, slot, client, beat
    if ACTOR == 'session' then
        known, slot, client, beat =
            unpack(ask('HMGET', HOT, 'state', 'ring/' .. ring, 'client/' .. CLIENT, 'pulse/' .. ACTOR_NAME))
    else
        known, slot, client = unpack(ask('HMGET', HOT, 'state', 'ring/' .. ring, 'client/' .. CLIENT))
    end
    if frozen then
        wall = tonumber(frozen)
    else
        local time = redis.call('TIME')
        wall = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
    end
    state = known and unpack_state(known) or first_state()
    pause = state.clock.now
    state.clock = move_clock(state.clock)
    now = state.clock.now
    pause = now - pause
    note('ring', ring, slot, HOT)
    note('client', CLIENT, client, HOT)
    if ACTOR == 'session' then
        note('pulse', ACTOR_NAME, beat, HOT)
    end
    return frame.orient()
end

-- The stored answer when this request was made before.
function frame.replay()
    local slot = get('ring', ring)
    if not slot or slot.request < request then
        return nil
    end
    if slot.request > request or slot.answer == '' then
        refuse({too_old = {request = request}})
    end
    if slot.digest ~= DIGEST then
        refuse({reused = {request = request}})
    end
    return slot.answer
end

-- Keeps the answer in the request's slot, and the slots alive.
function frame.remember(answer)
    put('ring', ring, {request = request, digest = DIGEST, answer = answer})
    local client = get('client', CLIENT)
    if not client or client.expires < now + REPLAY_TTL then
        put('client', CLIENT, {expires = now + 2 * REPLAY_TTL})
    end
end

-- Keeps next_due and next_calendar at or below the first entry of their index.
function frame.move_hints()
    local function moved(index, hint, time)
        local from, to = under(index)
        if hint <= time then
            local first = scan(from, to, 1)[1]
            return first and tonumber(first[2]) or NEVER
        end
        for entry, sign in pairs(changes(index)) do
            if sign > 0 then
                hint = math.min(hint, tonumber(string.sub(entry, #from + 1, #from + PADDED)))
            end
        end
        return hint
    end
    state.next_due = moved('due', state.next_due, now)
    state.next_calendar = moved('cal', state.next_calendar, wall)
end

-- Whether a record other than a pulse was put or deleted.
function frame.has_changed()
    for _, slot in ipairs(dirty) do
        if slot.kind ~= 'pulse' and (slot.before or slot.after) then
            return true
        end
    end
    return false
end

-- Calls a command that takes any number of arguments, in bounded portions; pairs stay together, because CHUNK is even.
function frame.call_many(command, key, arguments)
    for from = 1, #arguments, CHUNK do
        local to = math.min(from + CHUNK - 1, #arguments)
        if key then
            redis.call(command, key, unpack(arguments, from, to))
        else
            redis.call(command, unpack(arguments, from, to))
        end
    end
end

-- The event, and beside it the state after it, so that who applies the one has the other.
function frame.append_event(images, texts, packed_state)
    local actor = ACTOR
    if ACTOR ~= 'system' then
        actor = {[ACTOR] = ACTOR_NAME}
    end
    local event = cmsgpack.pack({state.csn, wall, CLIENT, request, actor, VERB, wakes, images, texts, gone_blobs})
    ask('XADD', EVENTS, text(state.csn) .. '-0', 'e', event, 's', packed_state)
    if tail then
        tail[#tail + 1] = {event, packed_state}
    end
    if state.csn % TRIM_EVERY == 0 and state.csn > EVENT_WINDOW then
        redis.call('XTRIM', EVENTS, 'MINID', '~', text(state.csn - EVENT_WINDOW) .. '-0')
    end
end

-- Publishing is a hint and may be forbidden to this user: it never fails the step.
function frame.publish()
    for _, topic in ipairs(wakes) do
        local dash = string.find(topic, '-', 1, true)
        local channel = topic
        if dash and not string.find(topic, '/', 1, true) then
            channel = string.sub(topic, 1, dash - 1)
        end
        redis.pcall('PUBLISH', WAKE_PREFIX .. channel, topic)
    end
end

-- Writes everything and returns the packed answer: the reply, with which a claimed task comes along that is not kept, or the
-- refusal of a request that was asked again. Appends
-- an event when a record other than a pulse has changed, or the request was asked again.
function frame.commit(reply, refusal)
    local changed = AGAIN == '1' or frame.has_changed()
    if changed then
        state.csn = state.csn + 1
    end
    local answer = cmsgpack.pack(refusal and {refused = refusal} or {done = {csn = state.csn, reply = reply}})
    if changed then
        frame.remember(answer)
    end
    frame.move_hints()
    local packed_state = pack_state()
    local images, hot, cold, hot_gone, cold_gone = {}, {'state', packed_state}, {}, {}, {}
    for _, slot in ipairs(dirty) do
        local kind, key, record = slot.kind, slot.key, slot.after
        local is_hot, bytes = HOT_TABLES[kind], ''
        if record then
            bytes = shapes[kind].pack(record)
            local list = is_hot and hot or cold
            list[#list + 1] = is_hot and kind .. '/' .. key or stored(kind, key)
            list[#list + 1] = bytes
            slot.bytes = bytes
        elseif slot.before and is_hot then
            hot_gone[#hot_gone + 1] = kind .. '/' .. key
        elseif slot.before then
            cold_gone[#cold_gone + 1] = stored(kind, key)
        end
        if kind ~= 'pulse' and (record or slot.before) then
            images[#images + 1] = {kind, key, bytes}
        end
    end
    local entered, removed = {}, {}
    for _, of_index in pairs(delta) do
        for entry, sign in pairs(of_index) do
            if sign > 0 then
                entered[#entered + 1] = '0'
                entered[#entered + 1] = entry
            elseif sign < 0 then
                removed[#removed + 1] = entry
            end
        end
    end
    if not index_is_sound and #entered + #removed > 0 then
        ask('ZCARD', INDEX)
    end
    if changed then
        local texts = {}
        for at = FIRST_BLOB, #ARGUMENTS - 1, 2 do
            texts[#texts + 1] = ARGUMENTS[at]
            cold[#cold + 1] = stored('blob', ARGUMENTS[at])
            cold[#cold + 1] = ARGUMENTS[at + 1]
        end
        -- From here on everything is written. The event comes first: it is the only write that can still be refused.
        frame.append_event(images, texts, packed_state)
    end
    for _, name in ipairs(gone_blobs) do
        cold_gone[#cold_gone + 1] = stored('blob', name)
    end
    frame.call_many('MSET', nil, cold)
    frame.call_many('DEL', nil, cold_gone)
    frame.call_many('ZADD', INDEX, entered)
    frame.call_many('ZREM', INDEX, removed)
    frame.call_many('HSET', HOT, hot)
    frame.call_many('HDEL', HOT, hot_gone)
    frame.publish()
    if handed then
        return WITH_TASK .. answer .. cmsgpack.pack(now) .. noted('task', handed).bytes
    end
    return answer
end

-- Makes a refusal final: an earlier copy of the request that is still on its way gets it too.
function frame.settle_refusal(refusal)
    reset()
    return frame.begin() or frame.commit(nil, refusal)
end

-- Runs a verb as one step. A refusal is an answer too, and then nothing was written.
local function step(verb)
    reset()
    local ok, result = pcall(function()
        local answer = frame.begin() or frame.replay()
        if answer then
            return answer
        end
        reap(REAP_PER_STEP)
        check_fence()
        local reply = verb(cmsgpack.unpack(BODY))
        hand_over()
        return frame.commit(reply)
    end)
    if not ok and type(result) == 'table' and result.refusal then
        local refusal = result.refusal
        if AGAIN ~= '1' or refusal.too_old or refusal.reused then
            return frame.with_tail(cmsgpack.pack({refused = refusal}))
        end
        ok, result = pcall(frame.settle_refusal, refusal)
    end
    if ok then
        return frame.with_tail(result)
    end
    local message = type(result) == 'table' and result.failure or result
    -- An error reply of Redis begins with its code, which must stay first; an error of Lua gets one.
    if string.find(message, '^%u+ ') then
        error({err = message})
    end
    error(message, 0)
end
