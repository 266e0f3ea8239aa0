//! A judge that finds no fault in a bad history proves nothing.

use agentcoord_core::ids::Token;
use agentcoord_core::lock::{LockMode, LockPath};
use agentcoord_core::task::TaskStatus;
use agentcoord_testkit::history::locks::{self, Call, Outcome};
use agentcoord_testkit::history::{Operation, Recorder, read, tasks};

/// A call of a process from one time to another; without the second it never heard of an outcome.
fn call<C, O>(process: u32, from: u64, to: impl Into<Option<(u64, O)>>, call: C) -> Operation<C, O> {
    Operation { process, number: from, invoked: from, call, returned: to.into() }
}

fn path(text: &str) -> LockPath {
    LockPath::parse(text).expect("a path")
}

fn acquire(text: &str, mode: LockMode) -> Call {
    Call::Acquire { paths: vec![path(text)], mode, lane: String::new() }
}

fn exclusive(text: &str) -> Call {
    acquire(text, LockMode::Exclusive)
}

fn release(text: &str, token: u64) -> Call {
    Call::Release { paths: vec![path(text)], token: Token(token) }
}

fn granted(at: u64, token: u64) -> (u64, Outcome) {
    (at, Outcome::Granted(Token(token)))
}

/// What is wrong with a history of locks.
fn fault(history: &[locks::Operation]) -> String {
    let mut history = history.to_vec();
    history.sort_by_key(|o| o.invoked);
    locks::check(&history).expect_err("a bad history")
}

fn good(history: &[locks::Operation]) {
    let mut history = history.to_vec();
    history.sort_by_key(|o| o.invoked);
    locks::check(&history).expect("a good history");
}

#[test]
fn what_is_recorded_is_read_again_and_a_call_without_an_outcome_is_unknown() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut one, mut two) = (Recorder::create(dir.path(), 1), Recorder::create(dir.path(), 2));
    let first = one.invoke(exclusive("a"));
    two.invoke(exclusive("a"));
    one.complete(first, Outcome::Granted(Token(7)));
    let history = read::<Call, Outcome>(dir.path());
    assert_eq!(history.iter().map(|o| o.process).collect::<Vec<_>>(), [1, 2]);
    let (at, outcome) = history[0].returned.expect("an outcome");
    assert!(at > history[0].invoked && outcome == Outcome::Granted(Token(7)));
    assert_eq!(history[1].returned, None);
}

#[test]
fn two_who_hold_what_overlaps_are_found() {
    for (one, two) in [("d/a", "d/a"), ("d/", "d/a"), ("d/a", "d/"), ("d", "d/")] {
        let history = [call(1, 0, granted(10, 1), exclusive(one)), call(2, 5, granted(20, 2), exclusive(two))];
        assert!(fault(&history).contains("two hold at once"), "{one} {two}");
    }
    good(&[call(1, 0, granted(10, 1), exclusive("d/a")), call(2, 5, granted(20, 2), exclusive("d/b"))]);
    let shared = acquire("d/a", LockMode::Shared);
    good(&[call(1, 0, granted(10, 1), shared.clone()), call(2, 5, granted(20, 2), shared)]);
}

#[test]
fn token_that_goes_back_or_is_given_twice_is_found() {
    let back = [call(1, 0, granted(10, 5), exclusive("a")), call(2, 20, granted(30, 4), exclusive("b"))];
    assert!(fault(&back).contains("token 4 after 5"));
    let twice = [call(1, 0, granted(10, 5), exclusive("a")), call(2, 5, granted(30, 5), exclusive("b"))];
    assert!(fault(&twice).contains("one token, two grants"));
    good(&[call(1, 0, granted(10, 5), exclusive("a")), call(1, 20, granted(30, 5), exclusive("a"))]);
}

#[test]
fn release_that_frees_nothing_is_found() {
    let held = call(1, 0, granted(10, 1), exclusive("a"));
    let freed = call(1, 20, (30, Outcome::Released), release("a", 1));
    let late = |from| call(2, from, (from + 5, Outcome::Contended), exclusive("a"));
    assert!(fault(&[held.clone(), freed.clone(), late(40)]).contains("no order explains"));
    // While it is under way, somebody may still be in the way.
    good(&[held.clone(), freed, late(25)]);
    let verify = Call::Verify { path: path("a"), token: Token(1) };
    let still = call(2, 40, (50, Outcome::Current(true)), verify.clone());
    let gone = call(2, 40, (50, Outcome::Current(false)), verify);
    let freed = call(1, 20, (30, Outcome::Released), release("a", 1));
    assert!(fault(&[held.clone(), freed.clone(), still]).contains("no order explains"));
    good(&[held, freed, gone]);
}

#[test]
fn lock_that_its_holder_has_lost_is_found() {
    let verify = Call::Verify { path: path("a"), token: Token(1) };
    let history = [call(1, 0, granted(10, 1), exclusive("a")), call(1, 20, (30, Outcome::Current(false)), verify)];
    assert!(fault(&history).contains("a holder has lost its lock"));
}

#[test]
fn grant_that_nobody_heard_of_explains_who_was_in_the_way_until_its_process_ended() {
    let unheard = call(1, 0, None, exclusive("a"));
    let refused = call(2, 20, (25, Outcome::Contended), exclusive("a"));
    let next = call(3, 30, granted(60, 9), exclusive("a"));
    let killed = call(0, 50, None, Call::End { process: 1 });
    good(&[unheard.clone(), refused.clone(), killed, next.clone()]);
    // Without the end, nobody can have got it.
    assert!(fault(&[unheard.clone(), refused.clone(), next.clone()]).contains("no order explains"));
    // A future that was dropped gives back what it took.
    good(&[unheard, refused, call(1, 40, None, Call::Withdraw { acquire: 0 }), next]);
}

#[test]
fn ended_process_gets_nothing() {
    let ended = call(1, 0, (10, Outcome::Ended), Call::End { process: 1 });
    let history = [call(1, 5, granted(8, 1), exclusive("a")), ended.clone()];
    good(&history);
    assert!(fault(&[ended, call(1, 20, granted(30, 1), exclusive("a"))]).contains("no order explains"));
}

#[test]
fn lost_update_is_found() {
    let count = |from, number: Option<u64>| {
        let outcome = number.map(|n| (from + 1, Outcome::Counted(n)));
        call(1, from, outcome, Call::Count { file: "a".to_owned() })
    };
    good(&[count(0, Some(1)), count(10, None), count(20, Some(3))]);
    assert!(fault(&[count(0, Some(1)), count(10, Some(1))]).contains("written twice"));
    assert!(fault(&[count(0, Some(1)), count(10, Some(3))]).contains("too many"));
}

#[test]
fn good_history_of_a_busy_lock_is_judged_in_time() {
    let mut history = Vec::new();
    for turn in 0..400_u64 {
        let (process, at) = (u32::try_from(turn % 32).expect("small"), turn * 10);
        // Everybody asks long before it is its turn.
        history.push(call(process, at.saturating_sub(300) + 1, granted(at + 301, turn), exclusive("a")));
        history.push(call(process, at + 303, (at + 309, Outcome::Released), release("a", turn)));
        history.push(call(100, at + 302, (at + 308, Outcome::Contended), exclusive("a")));
    }
    good(&history);
}

fn claimed(at: u64, token: u64) -> (u64, tasks::Outcome) {
    (at, tasks::Outcome::Claimed("t".to_owned(), Token(token)))
}

fn now(at: u64, status: TaskStatus) -> (u64, tasks::Outcome) {
    (at, tasks::Outcome::Now(status))
}

fn complete(token: u64) -> tasks::Call {
    tasks::Call::Complete("t".to_owned(), Token(token))
}

#[test]
fn task_that_two_claim_or_complete_is_found() {
    use tasks::{Call, Outcome, check};
    let one = call(1, 0, claimed(10, 1), Call::Claim { leased: false });
    let two = call(2, 20, claimed(30, 2), Call::Claim { leased: false });
    let wrong = check(&[one.clone(), two.clone()]).expect_err("two claimers");
    assert!(wrong.contains("no order explains"), "{wrong}");
    let leased = call(1, 0, claimed(10, 1), Call::Claim { leased: true });
    check(&[leased, two.clone()]).expect("the lease of the first one has run out");
    let killed = call(0, 15, None, Call::End(1));
    check(&[one.clone(), killed.clone(), two.clone()]).expect("the first one was killed");
    let done = |process, from, token| call(process, from, now(from + 5, TaskStatus::Completed), complete(token));
    let wrong = check(&[one.clone(), killed.clone(), two.clone(), done(1, 40, 1)]).expect_err("a stale completion");
    assert!(wrong.contains("no order explains"), "{wrong}");
    let stale = call(1, 40, (45, Outcome::Stale), complete(1));
    check(&[one.clone(), killed.clone(), two.clone(), stale, done(2, 60, 2)]).expect("the stale one is told");
    let wrong = check(&[one, done(1, 12, 1), killed, two, done(2, 60, 2)]).expect_err("two completions");
    assert!(wrong.contains("more than once"), "{wrong}");
}

#[test]
fn completion_that_nobody_heard_of_may_have_happened_once() {
    use tasks::{Call, Outcome, check};
    let read = |at, status| call(0, at, (at + 5, Outcome::Now(status)), Call::Read("t".to_owned()));
    let one = call(1, 0, claimed(10, 1), Call::Claim { leased: false });
    let unheard = call(1, 20, None, complete(1));
    let killed = call(0, 30, None, Call::End(1));
    let history = [one, unheard, killed];
    for status in [TaskStatus::Completed, TaskStatus::Pending, TaskStatus::Dead] {
        check(&[&history[..], &[read(40, status)]].concat()).expect("either is possible");
    }
    let both = [&history[..], &[read(40, TaskStatus::Completed), read(50, TaskStatus::Pending)]].concat();
    check(&both).expect_err("done is done");
    let again = call(2, 60, claimed(70, 2), Call::Claim { leased: false });
    check(&[&history[..], &[read(40, TaskStatus::Completed), again]].concat()).expect_err("done is done");
}
