//! The Lua dialect of the rules: one script a verb, as text. What runs them is the crate `agentcoord-redis`.
//!
//! All scripts together are one library of Redis functions: the shared texts once, then each `<noun>/<verb>.lua` as
//! the body of a function. A library is compiled and its shared functions are made when it is loaded; with EVALSHA they were
//! made anew in every call, which was a third of a call's time or more. Its name carries a digest of its text, so that
//! versions do not meet. A function gets the keys meta, hot, index, events, root, and the arguments as the first lines of
//! the prelude name them.

mod shapes;

use std::sync::OnceLock;

/// The order of strings by their bytes.
const ORDER: &str = include_str!("../lua/order.lua");
/// What a step can do with records, the same as `machine/step.rs`.
const PRELUDE: &str = include_str!("../lua/prelude.lua");
/// The shared state and its clock, the same as `record.rs` and `time.rs`.
const STATE: &str = include_str!("../lua/state.lua");
/// The frame of every step, the same as `machine/step.rs`.
const FRAME: &str = include_str!("../lua/frame.lua");
/// The index entries and counts that records imply, the same as `record.rs`.
const DERIVE: &str = include_str!("../lua/derive.lua");
/// Rules of locks, the same as `machine/lock/`.
const LOCKS: &str = include_str!("../lua/locks.lua");
/// Whether a wait would close a circle, the same as `machine/lock/deadlock.rs`.
const DEADLOCKS: &str = include_str!("../lua/deadlocks.lua");
/// The life of a task, the same as `machine/task/mod.rs`.
const TASKS: &str = include_str!("../lua/tasks.lua");
/// Which claim gets which task, the same as `machine/task/dispatch.rs`.
const DISPATCH: &str = include_str!("../lua/dispatch.lua");
/// Attempts that came to nothing, the same as `machine/task/retry.rs`.
const RETRIES: &str = include_str!("../lua/retries.lua");
/// What tasks depend on, the same as `machine/task/dependency.rs`.
const DEPENDENCIES: &str = include_str!("../lua/dependencies.lua");
/// Rules of the board, the same as `machine/board.rs`.
const BOARD: &str = include_str!("../lua/board.lua");
/// What several verbs and the reaping share.
const RULES: &str = include_str!("../lua/rules.lua");

/// What stands once in the library, in its order: a text uses what stands before it. The shapes of records follow the prelude.
const SHARED: [&str; 13] =
    [ORDER, PRELUDE, STATE, FRAME, DERIVE, LOCKS, DEADLOCKS, TASKS, DISPATCH, DEPENDENCIES, RETRIES, BOARD, RULES];

/// The script that writes a namespace's meta record when there is none.
pub const FOUND: &str = include_str!("../lua/namespace/found.lua");
/// The script that raises a namespace's epoch by compare-and-set.
pub const RAISE: &str = include_str!("../lua/namespace/raise.lua");
/// The script that lets no step run, before a state is carried in.
pub const CLOSE: &str = include_str!("../lua/namespace/close.lua");
/// The script that lets steps run on the state that was carried in.
pub const OPEN: &str = include_str!("../lua/namespace/open.lua");
/// The script that closes a namespace that is to be deleted.
pub const RETIRE: &str = include_str!("../lua/namespace/retire.lua");
/// The script that deletes the meta record of a closed namespace.
pub const REMOVE: &str = include_str!("../lua/namespace/remove.lua");
/// The script that says which commands this user lacks.
pub const PROBE: &str = include_str!("../lua/namespace/probe.lua");

/// The script of one verb.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// `noun/verb`, as in [`Verb::NAME`](crate::op::Verb::NAME).
    pub name: &'static str,
    /// Whether it may run when the server is out of memory: what gives things back must not fail then.
    pub allow_oom: bool,
    body: &'static str,
}

impl Script {
    /// The name of the script's function in the [`library`].
    #[must_use]
    pub fn function(&self) -> String {
        format!("{}_{}", library().name, self.name.replace('/', "_"))
    }

    fn flags(&self) -> &'static str {
        if self.allow_oom { "'allow-oom'" } else { "" }
    }

    /// The script of a verb.
    #[must_use]
    pub fn of(verb: &str) -> Option<&'static Self> {
        ALL.iter().find(|script| script.name == verb)
    }
}

/// The library of all verbs.
#[derive(Clone, Debug)]
pub struct Library {
    /// Its name; other text has another name.
    pub name: String,
    /// Its whole text, as FUNCTION LOAD takes it.
    pub source: String,
}

/// The library, put together at the first use.
#[must_use]
pub fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let [order, prelude, rules @ ..] = SHARED;
        let shared = [order, prelude, &shapes::text(), &rules.concat()].concat();
        let bodies = ALL.iter().flat_map(|script| [script.name, script.flags(), script.body]);
        let texts: String = std::iter::once(shared.as_str()).chain(bodies).collect();
        let name = format!("agentcoord_{}", &crate::op::sha256(texts.as_bytes())[..12]);
        let mut source = format!("#!lua name={name}\n{shared}");
        for script in ALL {
            let function = format!("{name}_{}", script.name.replace('/', "_"));
            let flags = script.flags();
            source.push_str(&format!(
                "\nredis.register_function{{function_name = '{function}', flags = {{{flags}}}, \
                 callback = function(keys, arguments)\nenter(keys, arguments)\n{}end}}\n",
                script.body
            ));
        }
        Library { name, source }
    })
}

macro_rules! scripts {
    ($($name:literal $(($flag:ident))?),+ $(,)?) => {
        /// The scripts of all verbs.
        pub const ALL: &[Script] = &[$(Script {
            name: $name,
            allow_oom: scripts!(@ $($flag)?),
            body: include_str!(concat!("../lua/", $name, ".lua")),
        }),+];
    };
    (@ allow_oom) => { true };
    (@) => { false };
}

scripts! {
    "agent/register",
    "agent/heartbeat" (allow_oom),
    "agent/update",
    "agent/deregister" (allow_oom),
    "agent/evict" (allow_oom),
    "agent/tick" (allow_oom),
    "lock/acquire",
    "lock/wait",
    "lock/confirm",
    "lock/renew",
    "lock/release" (allow_oom),
    "lock/withdraw" (allow_oom),
    "lock/revoke" (allow_oom),
    "task/create",
    "task/claim",
    "task/confirm",
    "task/withdraw" (allow_oom),
    "task/start",
    "task/progress",
    "task/extend",
    "task/complete" (allow_oom),
    "task/fail" (allow_oom),
    "task/release" (allow_oom),
    "task/cancel",
    "task/redrive",
    "board/open",
    "board/post",
    "board/update",
    "board/read",
    "approval/request",
    "approval/vote",
    "approval/cancel",
    "approval/consume",
    "audit/append",
    "audit/seal",
    "history/prune" (allow_oom),
    "request/void",
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde::de::{DeserializeOwned, Deserializer, Visitor, value::Error as Captured};
    use serde::forward_to_deserialize_any;

    use super::*;
    use crate::op::Verb;
    use crate::table::Table;
    use crate::{
        agent as a, approval as p, audit as u, board as b, history as h, limits, lock as l, record, request as q,
        task as t, time,
    };

    /// A deserializer that only notes which fields a struct asks for.
    struct Fields<'a>(&'a mut Vec<&'static str>);

    impl<'de> Deserializer<'de> for Fields<'_> {
        type Error = Captured;

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _name: &'static str,
            fields: &'static [&'static str],
            _visitor: V,
        ) -> Result<V::Value, Captured> {
            self.0.extend(fields);
            Err(serde::de::Error::custom("only the names were wanted"))
        }

        fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Captured> {
            Err(serde::de::Error::custom("not a struct"))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    fn fields_of<T: DeserializeOwned>() -> Vec<&'static str> {
        let mut fields = Vec::new();
        let captured = T::deserialize(Fields(&mut fields));
        assert!(captured.is_err());
        fields
    }

    /// Every verb with the fields of its body.
    fn verbs() -> Vec<(&'static str, Vec<&'static str>)> {
        macro_rules! list {
            ($($verb:ty),+ $(,)?) => { vec![$((<$verb>::NAME, fields_of::<$verb>())),+] };
        }
        list![
            a::Register,
            a::Heartbeat,
            a::UpdateAgent,
            a::Deregister,
            a::EvictAgent,
            a::Tick,
            l::AcquireLock,
            l::WaitLock,
            l::ConfirmLock,
            l::RenewLock,
            l::ReleaseLock,
            l::WithdrawLock,
            l::RevokeLock,
            t::CreateTasks,
            t::ClaimTask,
            t::ConfirmTask,
            t::WithdrawTask,
            t::StartTask,
            t::ProgressTask,
            t::ExtendTask,
            t::CompleteTask,
            t::FailTask,
            t::ReleaseTask,
            t::CancelTask,
            t::RedriveTask,
            b::OpenThread,
            b::PostMessage,
            b::UpdateThread,
            b::ReadInbox,
            p::RequestApproval,
            p::CastVote,
            p::CancelApproval,
            p::ConsumeApproval,
            u::AppendAudit,
            u::SealAudit,
            h::PruneHistory,
            q::VoidRequest,
        ]
    }

    fn files() -> Vec<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua");
        let mut names = Vec::new();
        for noun in std::fs::read_dir(&root).expect("lua/").map(|e| e.expect("an entry").path()) {
            if !noun.is_dir() || noun.ends_with("namespace") {
                continue;
            }
            for file in std::fs::read_dir(&noun).expect("a noun").map(|e| e.expect("an entry").path()) {
                let relative = file.strip_prefix(&root).expect("below lua/").with_extension("");
                names.push(relative.to_str().expect("ASCII").to_owned());
            }
        }
        names
    }

    /// The fields that the header line `-- op {a, b}` lists.
    fn header_fields(script: &Script) -> Vec<&'static str> {
        let line = script.body.lines().find_map(|line| line.strip_prefix("-- op {")).expect("a line `-- op {..}`");
        line.trim_end_matches('}').split(", ").filter(|f| !f.is_empty()).collect()
    }

    fn identifiers(text: &str) -> impl Iterator<Item = &str> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| !w.is_empty())
    }

    #[test]
    fn every_file_and_every_verb_has_its_script_and_no_other() {
        let scripts: BTreeSet<String> = ALL.iter().map(|s| s.name.to_owned()).collect();
        let files: BTreeSet<String> = files().into_iter().collect();
        let verbs: BTreeSet<String> = verbs().into_iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(scripts, files);
        assert_eq!(scripts, verbs);
        assert_eq!(scripts.len(), ALL.len());
    }

    #[test]
    fn the_machine_knows_every_script() {
        let call = |verb| crate::op::Call {
            verb,
            epoch: crate::ids::Epoch(1),
            client: crate::ids::Id::random(),
            request: crate::ids::RequestNo(1),
            actor: crate::op::Actor::System,
            fence: None,
            digest: String::new(),
            body: vec![0xc1],
            blobs: Vec::new(),
            again: false,
        };
        let reading = time::Reading { wall: 1, boot_id: "boot".into(), boot: 1 };
        for script in ALL {
            let mut rows = crate::memory::MemoryRows::default();
            let error = crate::machine::run(&mut rows, &call(script.name), &reading).expect_err("an unreadable body");
            assert!(matches!(error, crate::Error::Corrupt { .. }), "{}: {error}", script.name);
        }
    }

    #[test]
    fn header_lists_the_fields_that_travel_and_the_body_uses_no_others() {
        for (name, fields) in verbs() {
            let script = Script::of(name).expect(name);
            assert_eq!(header_fields(script), fields, "{name}");
            for (at, _) in script.body.match_indices("op.") {
                let word_before = script.body[..at].chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric());
                let used = identifiers(&script.body[at + 3..]).next().unwrap_or_default();
                assert!(word_before || fields.contains(&used), "{name} uses op.{used}");
            }
        }
    }

    #[test]
    fn every_header_says_what_the_script_does_and_returns() {
        for script in ALL {
            assert!(script.body.starts_with(&format!("-- {}: ", script.name)), "{}", script.name);
            assert!(script.body.lines().any(|l| l.starts_with("-- returns ")), "{}", script.name);
        }
    }

    #[test]
    fn bodies_take_keys_and_arguments_by_name_only() {
        for text in ALL.iter().map(|s| s.body).chain(SHARED.into_iter().skip(4)) {
            for forbidden in ["KEYS", "ARGV", "redis.call", "redis.pcall", "cjson", "tostring"] {
                assert!(!text.contains(forbidden), "{forbidden} in {}", text.lines().next().unwrap_or_default());
            }
        }
        for text in [PRELUDE, STATE, FRAME, FOUND, RAISE, CLOSE, OPEN, RETIRE, REMOVE, PROBE] {
            for forbidden in ["KEYS[", "'KEYS'", "'SCAN'", "cjson", "tostring"] {
                assert!(!text.contains(forbidden), "{forbidden}");
            }
        }
    }

    #[test]
    fn the_probe_asks_for_every_command_that_scripts_run() {
        for text in SHARED {
            for call in ["redis.call('", "redis.pcall('", "ask('", "call_many('"] {
                for (at, _) in text.match_indices(call) {
                    let command = identifiers(&text[at + call.len()..]).next().unwrap_or_default().to_lowercase();
                    assert!(PROBE.contains(&format!("{{'{command}'")), "{command}");
                }
            }
        }
    }

    #[test]
    fn every_script_is_a_function_with_its_flags() {
        let source = &library().source;
        assert!(source.is_ascii());
        assert!(source.starts_with(&format!("#!lua name={}\n", library().name)));
        for script in ALL {
            let gives_back = [
                "heartbeat",
                "release",
                "withdraw",
                "revoke",
                "complete",
                "fail",
                "deregister",
                "evict",
                "tick",
                "prune",
            ];
            let expected = gives_back.iter().any(|verb| script.name.ends_with(&format!("/{verb}")));
            let flags = if expected { "flags = {'allow-oom'}" } else { "flags = {}" };
            let registered = format!("{{function_name = '{}', {flags},", script.function());
            assert_eq!(source.matches(&registered).count(), 1, "{}", script.name);
        }
    }

    #[test]
    fn limits_are_those_of_the_machine() {
        let session_id = crate::ids::SHORT_ID as u64;
        for (name, value) in [
            ("OFFER", limits::OFFER),
            ("CROWD", limits::CROWD),
            ("MAX_CRASHES", limits::MAX_CRASHES.into()),
            ("BACKOFF_FIRST", limits::BACKOFF_FIRST),
            ("BACKOFF_MOST", limits::BACKOFF_MOST),
            ("BACKOFF_JITTER", limits::BACKOFF_JITTER.into()),
            ("KEY_TTL", limits::KEY_TTL),
            ("REPLAY_TTL", limits::REPLAY_TTL),
            ("REPLAY_WINDOW", limits::REPLAY_WINDOW),
            ("EVENT_WINDOW", limits::EVENT_WINDOW),
            ("REAP_PER_STEP", limits::REAP_PER_STEP as u64),
            ("WORK_PER_STEP", limits::WORK_PER_STEP as u64),
            ("LINKS_PER_STEP", limits::LINKS_PER_STEP as u64),
            ("SEAL_RUN", limits::SEAL_RUN),
            ("LINK_RUN", limits::LINK_RUN as u64),
            ("HASH_DIGITS", crate::audit::chain::HASH_DIGITS as u64),
            ("SEEKS_PER_STEP", limits::SEEKS_PER_STEP as u64),
            ("AUDIENCE", limits::AUDIENCE as u64),
            ("LOCK_EDGES", limits::LOCK_EDGES as u64),
            ("LOCK_ENTRIES", limits::LOCK_ENTRIES as u64),
            ("SHORT_ID", session_id),
            ("WALL_STEP_LIMIT", time::WALL_STEP_LIMIT),
            ("NEVER", record::NEVER),
            ("TOKEN_SEQUENCES", 1 << crate::ids::TOKEN_SEQUENCE_BITS),
            ("TOKEN_EPOCHS", crate::ids::TOKEN_LIMIT >> crate::ids::TOKEN_SEQUENCE_BITS),
        ] {
            assert!(PRELUDE.contains(&format!("\nlocal {name} = {value}\n")), "{name}");
        }
    }

    /// What stands in the text of the state between the first `start` and the next `end`, as its words.
    fn words_between(start: &str, end: &str) -> Vec<&'static str> {
        let rest = STATE.split_once(start).expect(start).1;
        identifiers(rest.split_once(end).expect(end).0).collect()
    }

    #[test]
    fn arrays_have_the_fields_of_their_records_in_order() {
        let counts = fields_of::<record::Counts>();
        assert_eq!(words_between("local function counters(", ")"), counts);
        let packed = words_between("            counts.blocked", "}").join(" ").replace("counts ", "");
        assert_eq!(packed, counts[1..].join(" "));
        let hot: Vec<String> = Table::ALL
            .into_iter()
            .filter(|table| table.is_hot())
            .map(|table| format!("{} = true", table.name()))
            .collect();
        assert!(PRELUDE.contains(&format!("\nlocal HOT_TABLES = {{{}}}\n", hot.join(", "))), "{hot:?}");
        for table in Table::ALL {
            assert_eq!(library().source.matches(&format!("\nshapes.{} = ", table.name())).count(), 1, "{table:?}");
        }
        let state = fields_of::<record::State>().join(", ");
        assert!(STATE.contains(&format!("local {state} =\n        unpack(unpack_table(bytes, HOT))")), "{state}");
        assert_eq!(fields_of::<time::LeaseClock>(), ["now", "wall", "boot_id", "boot"], "clock");
        let event = ["csn", "at", "client", "request", "actor", "verb", "wakes", "images", "texts", "gone"];
        assert_eq!(fields_of::<record::Event>(), event, "append_event lists these");
        assert_eq!(fields_of::<record::Image>(), ["table", "key", "record"], "commit lists these");
    }

    /// A check of the text, not a parser: it knows declarations, and assignments that stand outside of braces.
    #[test]
    fn scripts_assign_to_declared_locals_only() {
        {
            let source = &library().source;
            let mut declared: BTreeSet<&str> = BTreeSet::new();
            let mut depth = 0i32;
            for line in source.lines().map(|l| l.split("--").next().unwrap_or_default()) {
                let inside = depth;
                depth += line.matches('{').count() as i32 - line.matches('}').count() as i32;
                let statement = line.trim();
                if let Some(rest) = statement.strip_prefix("local function ").or(statement.strip_prefix("local ")) {
                    declared.extend(identifiers(rest.split(" = ").next().unwrap_or_default()));
                    continue;
                }
                if let Some(name) = statement.strip_prefix("function ") {
                    let (table, _) = name.split_once('.').unwrap_or_else(|| panic!("global function {name}"));
                    assert!(declared.contains(table), "{statement}");
                    declared.extend(identifiers(name));
                    continue;
                }
                if let Some((_, parameters)) = statement.split_once("function(") {
                    declared.extend(identifiers(parameters.split(')').next().unwrap_or_default()));
                }
                let Some((target, _)) = statement.split_once(" = ") else { continue };
                let plain = target.split(", ").all(|t| t.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
                if inside == 0 && plain {
                    for name in target.split(", ") {
                        assert!(declared.contains(name), "global {name} in `{statement}`");
                    }
                }
            }
            assert_eq!(depth, 0, "braces");
        }
    }
}
