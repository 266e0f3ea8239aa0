//! Tasks.

use super::{Goal, How, Row};
use crate::bench::conditions::Pin;

pub(super) fn rows() -> Vec<Row> {
    [finished(), fused(), on_files(), beside_peers(), handed_out(), crowded(), kept()].concat()
}

fn finished() -> Vec<Row> {
    let group = Row {
        part: "tasks",
        name: "group-process",
        ours: "create + claim + complete, files, class process, 64 at once",
        limit: "one transaction each",
        peer: "",
        pin: Pin::None,
        redis: false,
        how: How::Program(&["group", "--class", "process", "--clients", "64"], 2_000),
        goal: Goal::AtLeast(2.5),
        apart: &[],
    };
    let claim = Row {
        name: "claim-1",
        ours: "claim + complete, Redis, one at a time",
        limit: "two bare scripts, one SET each",
        pin: Pin::Across,
        redis: true,
        how: How::Program(&["claim", "--clients", "1"], 2_000),
        goal: Goal::None,
        ..group
    };
    vec![
        group,
        Row {
            name: "group-power",
            ours: "create + claim + complete, files, class power, 64 at once",
            how: How::Program(&["group", "--class", "power", "--clients", "64"], 1_000),
            goal: Goal::AtLeast(6.0),
            ..group
        },
        claim,
        Row {
            name: "claim-50",
            ours: "claim + complete, Redis, 50 at once",
            how: How::Program(&["claim", "--clients", "50"], 8_000),
            ..claim
        },
    ]
}

/// The end of a task with the next claim.
fn fused() -> Vec<Row> {
    let one = Row {
        part: "tasks",
        name: "fused-1",
        ours: "complete + claim the next, in one call, with a lease, Redis, one at a time",
        limit: "the bare fused script",
        how: How::Program(&["fused", "--clients", "1"], 2_000),
        goal: Goal::None,
        ..DEEP
    };
    vec![
        one,
        Row {
            name: "fused-50",
            ours: "complete + claim the next, in one call, with a lease, Redis, 50 at once",
            how: How::Program(&["fused", "--clients", "50"], 8_000),
            goal: Goal::AtLeast(0.3),
            ..one
        },
    ]
}

fn on_files() -> Vec<Row> {
    let library = Row {
        part: "tasks",
        name: "raw-library",
        ours: "claim + complete, files, one client of the library",
        limit: "a raw loop that writes the same rows",
        peer: "",
        pin: Pin::None,
        redis: false,
        how: How::Program(&["raw-library"], 4_000),
        goal: Goal::AtLeast(0.3),
        apart: &[],
    };
    let paced = Row {
        name: "share-paced",
        ours: "tasks of 8 processes that pause between them, slowest, files",
        limit: "fastest",
        // As many seconds, a round.
        how: How::Program(&["share", "--engine", "files", "--processes", "8", "--pause", "10000"], 3),
        goal: Goal::AtLeast(0.85),
        apart: &[("longest wait", Goal::Alone(50.0))],
        ..library
    };
    vec![
        library,
        Row {
            name: "raw-direct",
            ours: "claim + complete, files, the command line's path",
            how: How::Program(&["raw-direct"], 4_000),
            goal: Goal::AtLeast(0.6),
            ..library
        },
        paced,
        Row {
            name: "share-saturated",
            ours: "tasks of 8 processes that work without a pause, slowest, files",
            how: How::Program(&["share", "--engine", "files", "--processes", "8", "--pause", "0"], 3),
            goal: Goal::AtLeast(0.4),
            ..paced
        },
    ]
}

fn beside_peers() -> Vec<Row> {
    let bullmq = Row {
        part: "tasks",
        name: "bullmq-1",
        ours: "claim + complete with priorities and leases, 100,000 waiting, Redis, one at a time",
        limit: "",
        peer: "BullMQ's worker",
        how: How::Program(&["bullmq", "--clients", "1"], 2_000),
        goal: Goal::AtLeast(2.0),
        ..DEEP
    };
    vec![
        bullmq,
        Row {
            name: "bullmq-50",
            ours: "claim + complete with priorities and leases, 100,000 waiting, Redis, 50 at once",
            how: How::Program(&["bullmq", "--clients", "50"], 8_000),
            ..bullmq
        },
        Row {
            name: "plainjob",
            ours: "claim + complete, files, 64 at once in one process",
            peer: "plainjob",
            pin: Pin::None,
            redis: false,
            how: How::Program(&["plainjob", "--clients", "64"], 8_000),
            goal: Goal::AtLeast(1.5),
            ..bullmq
        },
    ]
}

const DEEP: Row = Row {
    part: "queues",
    name: "deep-redis",
    ours: "claim, with many ready tasks, Redis",
    limit: "with a thousand",
    peer: "",
    pin: Pin::Across,
    redis: true,
    how: How::Program(&["deep", "--engine", "redis"], 2_000),
    goal: Goal::AtMost(1.3),
    apart: &[],
};

fn handed_out() -> Vec<Row> {
    let idle = Row {
        part: "tasks",
        name: "idle-across",
        ours: "create -> an idle worker's code, Redis",
        limit: "bare publish + one claim",
        how: How::Program(&["idle-worker", "--engine", "redis"], 1_000),
        goal: Goal::AtMost(1.25),
        ..DEEP
    };
    let killed = Row {
        part: "processes",
        name: "killed-worker-redis",
        ours: "kill -9 of a worker -> its task runs again, Redis",
        limit: "",
        pin: Pin::None,
        how: How::Program(&["killed-worker", "--engine", "redis"], 100),
        goal: Goal::None,
        apart: &[("p99", Goal::Alone(50.0))],
        ..DEEP
    };
    vec![
        idle,
        Row { name: "idle-one", pin: Pin::One, ..idle },
        killed,
        Row {
            name: "killed-worker-files",
            ours: "kill -9 of a worker -> its task runs again, files",
            redis: false,
            how: How::Program(&["killed-worker", "--engine", "files"], 100),
            ..killed
        },
    ]
}

fn crowded() -> Vec<Row> {
    let ahead = Row {
        name: "ahead-redis",
        ours: "claim, with 100,000 tasks ahead that do not match, Redis",
        limit: "with none",
        how: How::Program(&["behind-others", "--engine", "redis", "--ahead", "100000"], 2_000),
        goal: Goal::AtMost(1.1),
        ..DEEP
    };
    let tags = Row {
        name: "tags-redis",
        ours: "claim by a tag, with 10,000 tags in the store, Redis",
        limit: "with ten",
        how: How::Program(&["many-tags", "--engine", "redis", "--tags", "10000"], 2_000),
        ..DEEP
    };
    let on_files = |row: Row| Row { pin: Pin::None, redis: false, ..row };
    vec![
        DEEP,
        Row {
            name: "deep-files",
            ours: "claim, with many ready tasks, files",
            how: How::Program(&["deep", "--engine", "files"], 2_000),
            ..on_files(DEEP)
        },
        ahead,
        Row {
            name: "ahead-files",
            ours: "claim, with 100,000 tasks ahead that do not match, files",
            how: How::Program(&["behind-others", "--engine", "files", "--ahead", "100000"], 2_000),
            ..on_files(ahead)
        },
        tags,
        Row {
            name: "tags-files",
            ours: "claim by a tag, with 10,000 tags in the store, files",
            how: How::Program(&["many-tags", "--engine", "files", "--tags", "10000"], 2_000),
            ..on_files(tags)
        },
    ]
}

fn kept() -> Vec<Row> {
    let bulk = Row {
        name: "bulk",
        ours: "create, 100 tasks a call, Redis",
        limit: "bare HSET and ZADD, as many a call",
        how: How::Program(&["bulk", "--engine", "redis"], 20_000),
        goal: Goal::AtLeast(0.4),
        apart: &[("longest command", Goal::Alone(5.0))],
        ..DEEP
    };
    vec![
        bulk,
        Row {
            name: "weight",
            ours: "memory of a waiting task, Redis",
            limit: "a bare hash and its member",
            how: How::Program(&["weight", "--engine", "redis"], 20_000),
            goal: Goal::AtMost(1.6),
            apart: &[],
            ..bulk
        },
    ]
}
