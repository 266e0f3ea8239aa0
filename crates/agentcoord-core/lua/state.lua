-- state: the shared state and its clock, the same as src/record.rs and src/time.rs.

-- The last state that was written, as bytes and unpacked. It outlives a call; the bytes say whether it still holds.
local last_state = {}

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

-- The counters, from the array of them: in the order of src/record.rs, and spelled out for speed like all of the state.
local function counters(
    blocked, scheduled, pending, claimed, in_progress, completed, failed, cancelled, dead, sessions, locks, lock_waiters,
    subtrees, task_waiters, dependencies, work, threads, approvals, demanding, resolved, decided, ended
)
    return {
        blocked = blocked or 0, scheduled = scheduled or 0, pending = pending or 0, claimed = claimed or 0,
        in_progress = in_progress or 0, completed = completed or 0, failed = failed or 0, cancelled = cancelled or 0,
        dead = dead or 0, sessions = sessions or 0, locks = locks or 0, lock_waiters = lock_waiters or 0,
        subtrees = subtrees or 0, task_waiters = task_waiters or 0, dependencies = dependencies or 0, work = work or 0,
        threads = threads or 0, approvals = approvals or 0, demanding = demanding or 0,
        resolved = resolved or 0, decided = decided or 0, ended = ended or 0,
    }
end

local function unpack_state(bytes)
    local known = last_state
    last_state = {} -- The step is going to change it.
    if known.bytes == bytes then
        return known.state
    end
    local csn, token, seq, audit, sealed, clock, next_due, next_calendar, counts, spared =
        unpack(unpack_table(bytes, HOT))
    local clock_now, clock_wall, boot_id, boot = unpack(clock)
    return {
        csn = csn, token = token, seq = seq, audit = audit, sealed = sealed, next_due = next_due,
        next_calendar = next_calendar, counts = counters(unpack(counts)), spared = spared,
        clock = {now = clock_now, wall = clock_wall, boot_id = boot_id, boot = boot},
    }
end

local function pack_state()
    local clock, counts = state.clock, state.counts
    last_state = {state = state, bytes = cmsgpack.pack({
        state.csn, state.token, state.seq, state.audit, state.sealed, {clock.now, clock.wall, clock.boot_id, clock.boot},
        state.next_due, state.next_calendar,
        {
            counts.blocked, counts.scheduled, counts.pending, counts.claimed, counts.in_progress, counts.completed,
            counts.failed, counts.cancelled, counts.dead, counts.sessions, counts.locks, counts.lock_waiters,
            counts.subtrees, counts.task_waiters, counts.dependencies, counts.work, counts.threads, counts.approvals,
            counts.demanding, counts.resolved, counts.decided, counts.ended,
        },
        state.spared,
    })}
    return last_state.bytes
end

local function first_state()
    return {
        csn = 0, token = 0, seq = 0, audit = 0, sealed = 0, next_due = NEVER, next_calendar = NEVER,
        counts = counters(), spared = 0,
        clock = {now = 0, wall = 0, boot_id = '', boot = 0},
    }
end
