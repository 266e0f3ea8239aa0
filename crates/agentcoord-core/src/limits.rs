//! Every default and every bound, in one place. Durations are milliseconds.

/// A session ends this long after its last heartbeat.
pub const SESSION_TTL: u64 = 30_000;
/// The session of a shell agent ends this long after its last call.
pub const SHELL_SESSION_TTL: u64 = 3_600_000;
/// With as many live sessions, many that fall silent at once are first taken for a fault of the store or the clock.
pub const CROWD: u64 = 8;
/// An agent without progress for this long is suspected to hang.
pub const HUNG_THRESHOLD: u64 = 300_000;
/// A granted waiter has this long to confirm before the grant moves on.
pub const OFFER: u64 = 2_000;
/// A lock taken by the command line ends after this, unless renewed.
pub const SHELL_LOCK_TTL: u64 = 3_600_000;
/// A claim taken by the command line ends after this, unless extended.
pub const SHELL_TASK_LEASE: u64 = 3_600_000;
/// How often a task may be attempted.
pub const MAX_ATTEMPTS: u32 = 3;
/// How often a task may lose its worker.
pub const MAX_CRASHES: u32 = 3;
/// A failed task rests so long before it is tried again; after each further failure twice as long.
pub const BACKOFF_FIRST: u64 = 1_000;
/// The longest that a failed task rests.
pub const BACKOFF_MOST: u64 = 600_000;
/// By how many per cent that pause is longer or shorter, at random.
pub const BACKOFF_JITTER: u32 = 20;
/// The priority of a task that names none; 5 is the highest.
pub const PRIORITY: u8 = 3;
/// An approval expires this long after the request.
pub const APPROVAL_EXPIRY: u64 = 3_600_000;
/// User-level idempotency keys live this long.
pub const KEY_TTL: u64 = 24 * 3_600_000;
/// Replay slots of a client live at least this long after the last use.
pub const REPLAY_TTL: u64 = 3_600_000;
/// Unresolved mutations a client may have; also the number of its replay slots.
pub const REPLAY_WINDOW: u64 = 256;
/// Events kept for watchers.
pub const EVENT_WINDOW: u64 = 100_000;
/// Final records are kept for so long.
pub const RETENTION: u64 = 7 * 24 * 3_600_000;
/// Final records of one noun are kept up to so many, however young they are.
pub const RETAINED: u64 = 100_000;

/// Redis that has not answered for so long is taken for gone.
pub const DETECTION: u64 = 1_000;
/// Redis that was healthy for so long gets everything back.
pub const RETURN_AFTER: u64 = 10_000;

/// Due items that a mutation settles before its own work.
pub const REAP_PER_STEP: usize = 8;
/// Audit entries whose seals share a record.
pub const SEAL_RUN: u64 = 256;
/// Records that one step may touch for longer work, such as the end of a session.
pub const WORK_PER_STEP: usize = 64;
/// Index seeks for one claim, or for all tasks that one step makes ready: combinations of capabilities that are looked at.
pub const SEEKS_PER_STEP: usize = 1_024;

/// Dependencies that one step may bring along for a task that has ended, or link for later: each touches two records.
pub const LINKS_PER_STEP: usize = WORK_PER_STEP / 2;
/// Dependencies that are left to be linked and share a record.
pub const LINK_RUN: usize = 256;

/// Edges that the search for a deadlock follows at most.
pub const LOCK_EDGES: usize = 4_096;
/// Index entries that one look at what stands at some paths reads at most.
pub const LOCK_ENTRIES: usize = 65_536;

/// Longest path, in bytes.
pub const PATH_BYTES: usize = 4_096;
/// Most parts of a path.
pub const PATH_DEPTH: usize = 64;
/// Most paths in one lock request.
pub const PATHS: usize = 64;
/// Longest title, in bytes.
pub const TITLE_BYTES: usize = 1_024;
/// Longest name of an agent, role, tag, capability or type, in bytes.
pub const NAME_BYTES: usize = 128;
/// Longest intent, note or reason, in bytes.
pub const NOTE_BYTES: usize = 4_096;
/// Longest payload, result, description, message, diff or context, in bytes.
pub const BLOB_BYTES: usize = 1 << 20;
/// Most tags of a task, and most capabilities it may require.
pub const TAGS: usize = 16;
/// Most tags in one claim, and most capabilities of an agent.
pub const CLAIM_TAGS: usize = 32;
/// Most tasks in one create.
pub const CREATE_CHUNK: usize = 100;
/// Most dependencies in one create.
pub const DEPENDENCIES: usize = 10_000;
/// Most addressees that a message may name, and most mentions of its text that count.
pub const ADDRESSEES: usize = 16;
/// Those who take part in a thread and so receive what is posted to it; whoever comes later is not added.
pub const AUDIENCE: usize = 32;
/// Threads that one page of a listing with a filter, or of a search, looks at.
pub const THREADS_PER_LOOK: usize = 2_000;
/// Messages that one page of a search looks at.
pub const MESSAGES_PER_LOOK: usize = 1_000;
/// Tasks that one page of a filtered listing looks at.
pub const TASKS_PER_LOOK: usize = 10_000;
/// Most people in a quorum.
pub const VOTERS: usize = 32;
/// Longest signature on a vote, in bytes: twice what the longest RSA keys make.
pub const SIGNATURE_BYTES: usize = 8_192;
/// Longest idempotency key, in bytes.
pub const KEY_BYTES: usize = 256;
/// Longest duration that is accepted: ten years.
pub const DURATION: u64 = 10 * 365 * 24 * 3_600_000;
