//! With approvers configured, nobody's vote is taken on trust: not where it is cast, and not out of the store.

use agentcoord::core::approval::{Approval, ApprovalStatus, CastVote, Verdict};
use agentcoord::core::audit::AuditLog;
use agentcoord::core::op::{Actor, decode};
use agentcoord::core::record::{ApprovalRecord, Shape};
use agentcoord::{Approvers, Ballot, CoordinationClient, Decision, Error, SIGNATURE_NAMESPACE, statement};
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair};
use ssh_key::{Algorithm, HashAlg, LineEnding, PublicKey, Signature, SshSig};

use crate::people::People;
use crate::place::Place;

on_both_engines!(
    signed_votes_of_approvers_decide,
    votes_that_do_not_count_are_refused_where_they_are_cast_and_where_they_are_counted,
    one_key_is_one_vote_whatever_the_names,
    person_who_asked_does_not_vote_under_another_name,
    forged_rejection_is_no_rejection,
    votes_count_by_what_was_asked_for_and_not_by_what_the_store_says,
    record_that_is_rewritten_in_the_store_lets_nobody_through,
    revocation_holds_at_once,
    list_that_cannot_be_read_lets_nobody_in,
);

/// An agent that asks, and people who have keys.
struct Stage {
    people: People,
    agent: CoordinationClient,
}

const LISTED: &[(&str, &str)] = &[
    ("ada", "ada"),
    ("bob,bobby namespaces=\"agentcoord-approval\"", "bob"),
    ("git namespaces=\"git\"", "git"),
    ("late valid-before=\"20200101Z\"", "late"),
    ("early valid-after=\"20990101Z\"", "early"),
    ("gone", "gone"),
    ("*@authority cert-authority", "authority"),
];

impl Stage {
    async fn new(place: &Place) -> Self {
        let people = People::new();
        for name in ["ada", "bob", "git", "late", "early", "gone", "authority", "mallory"] {
            people.make(name, &["-t", "ed25519"]);
        }
        let approvers = people.approvers(LISTED, &["gone"]);
        let agent = place.session("agent").approvers(approvers).await.unwrap();
        Self { people, agent }
    }

    fn text(&self, approval: &Approval, verdict: Verdict) -> String {
        statement(self.agent.connection().namespace(), approval, verdict)
    }

    fn yes(&self, key: &str, approval: &Approval) -> Ballot {
        Ballot::approve().signed(self.people.sign(key, &self.text(approval, Verdict::Approve)))
    }

    /// A vote as an agent that writes to the store casts it: nobody has looked at the signature.
    async fn smuggle(&self, name: &str, approval: &Approval, ballot: Ballot) {
        let body = CastVote {
            approval: approval.key.clone(),
            verdict: ballot.verdict,
            digest: Some(approval.digest.clone()),
            note: ballot.note,
            signature: ballot.signature,
            audit: "{}".to_owned(),
        };
        self.agent.connection().run(&Actor::Human(name.to_owned()), body).await.unwrap();
    }

    /// How often the audit log says that a vote was refused for a reason.
    async fn refusals(&self, policy: &str) -> usize {
        let entries = self.agent.store().await.unwrap().read(0, 1_000).await.unwrap().items;
        let told = format!("\"policy\":\"{policy}\"");
        entries.iter().filter(|e| e.entry.contains("\"vote_refused\"") && e.entry.contains(&told)).count()
    }
}

fn refused_as(result: Result<impl std::fmt::Debug, Error>, expected: &str) -> String {
    match result {
        Err(Error::Refused { policy, reason }) if policy == expected => reason,
        other => panic!("expected a refusal as {expected}, got {other:?}"),
    }
}

async fn signed_votes_of_approvers_decide(place: &Place) {
    let stage = Stage::new(place).await;
    let approval = stage.agent.request_approval("deployment", "ship 2.0").diff("+ a line").quorum(2).await.unwrap();
    let asked = approval.look().await.unwrap();
    assert!(asked.signed, "whoever has approvers asks for signatures");
    let connection = stage.agent.connection();
    let votes = async {
        connection.vote("ada", &asked, stage.yes("ada", &asked)).await.unwrap();
        let asked = approval.look().await.unwrap();
        assert_eq!(asked.status, ApprovalStatus::Pending);
        connection.vote("bob", &asked, stage.yes("bob", &asked)).await.unwrap();
    };
    let (decision, ()) = tokio::join!(approval.decision(), votes);
    assert_eq!(decision.unwrap(), Decision::Approved);
    assert_eq!(approval.decision().await.unwrap(), Decision::ConsumedBefore);

    let approval = stage.agent.request_approval("deployment", "ship 3.0").await.unwrap();
    let asked = approval.look().await.unwrap();
    let no = stage.people.sign("ada", &stage.text(&asked, Verdict::Reject));
    connection.vote("ada", &asked, Ballot::reject("not today").signed(no)).await.unwrap();
    assert_eq!(approval.decision().await.unwrap(), Decision::Rejected);
    stage.agent.close().await.unwrap();
}

/// Every row of the table in the README: why a vote does not count, who casts it, and what it carries.
fn table(stage: &Stage, asked: &Approval, other: &Approval) -> Vec<(&'static str, &'static str, Option<String>)> {
    let text = stage.text(asked, Verdict::Approve);
    let sign = |key: &str, text: &str| Some(stage.people.sign(key, text));
    let with = |change: &dyn Fn(&mut Approval)| {
        let mut changed = asked.clone();
        change(&mut changed);
        sign("ada", &stage.text(&changed, Verdict::Approve))
    };
    let broken = stage.people.sign("ada", &text).replacen("U1NIU0lH", "U1NIU0lI", 1);
    vec![
        ("unsigned", "ada", None),
        ("unreadable_signature", "ada", Some("yes, honestly".to_owned())),
        ("unreadable_signature", "ada", Some(broken)),
        ("unknown_key", "ada", sign("mallory", &text)),
        ("not_their_key", "ada", sign("bob", &text)),
        ("not_their_key", "Ada", sign("ada", &text)),
        ("other_use", "git", sign("git", &text)),
        ("other_purpose", "ada", Some(stage.people.sign_for("git", "ada", &text))),
        ("forged", "ada", sign("ada", &stage.text(other, Verdict::Approve))),
        ("forged", "ada", sign("ada", &stage.text(asked, Verdict::Reject))),
        ("forged", "ada", sign("ada", &statement("another", asked, Verdict::Approve))),
        ("forged", "ada", with(&|a| a.id = other.id.clone())),
        ("forged", "ada", with(&|a| a.digest = "0".repeat(64))),
        ("forged", "ada", with(&|a| a.expires_at += 1)),
        ("key_not_valid_now", "late", sign("late", &text)),
        ("key_not_valid_now", "early", sign("early", &text)),
        ("key_revoked", "gone", sign("gone", &text)),
        ("unknown_key", "eve@authority", sign("authority", &text)),
    ]
}

async fn votes_that_do_not_count_are_refused_where_they_are_cast_and_where_they_are_counted(place: &Place) {
    let stage = Stage::new(place).await;
    let connection = stage.agent.connection();
    let other = stage.agent.request_approval("deployment", "ship 1.0").await.unwrap();
    let other = other.look().await.unwrap();
    let rows = table(&stage, &other, &other).len();
    for row in 0..rows {
        let approval = stage.agent.request_approval("deployment", "ship 2.0").await.unwrap();
        let asked = approval.look().await.unwrap();
        let (policy, name, signature) = table(&stage, &asked, &other).swap_remove(row);
        let before = stage.refusals(policy).await;
        let ballot = Ballot { signature, ..Ballot::approve() };

        refused_as(connection.vote(name, &asked, ballot.clone()).await, policy);
        assert_eq!(approval.look().await.unwrap(), asked, "row {row}: nothing was cast");
        assert_eq!(stage.refusals(policy).await, before + 1, "row {row}: it is audited");

        if ballot.signature.is_none() {
            let body = CastVote {
                approval: asked.key.clone(),
                verdict: Verdict::Approve,
                digest: None,
                note: None,
                signature: None,
                audit: "{}".to_owned(),
            };
            refused_as(connection.run(&Actor::Human(name.to_owned()), body).await, "unsigned");
            continue;
        }
        stage.smuggle(name, &asked, ballot).await;
        assert_eq!(approval.look().await.unwrap().status, ApprovalStatus::Approved, "the store cannot tell");
        let reason = refused_as(approval.decision().await, "votes_not_verified");
        assert!(reason.contains("0 of 1") && reason.contains(&format!("human:{name}")), "row {row}: {reason}");
        assert_eq!(stage.refusals(policy).await, before + 2, "row {row}: it is audited again");
    }
    stage.agent.close().await.unwrap();
}

async fn one_key_is_one_vote_whatever_the_names(place: &Place) {
    let stage = Stage::new(place).await;
    let approval = stage.agent.request_approval("deployment", "ship 2.0").quorum(2).await.unwrap();
    let asked = approval.look().await.unwrap();
    stage.agent.connection().vote("bob", &asked, stage.yes("bob", &asked)).await.unwrap();
    let asked = approval.look().await.unwrap();
    let again = stage.agent.connection().vote("bobby", &asked, stage.yes("bob", &asked)).await;
    refused_as(again, "already_voted");
    stage.smuggle("bobby", &asked, stage.yes("bob", &asked)).await;
    let reason = refused_as(approval.decision().await, "votes_not_verified");
    assert!(reason.contains("1 of 2"), "{reason}");
    stage.agent.close().await.unwrap();
}

async fn person_who_asked_does_not_vote_under_another_name(place: &Place) {
    let stage = Stage::new(place).await;
    let connection = stage.agent.connection();
    let bob = Actor::Human("bob".to_owned());
    let body = agentcoord::core::approval::RequestApproval::new("deployment", "ship 2.0");
    let request = connection.request_approval(&bob, body).await.unwrap();
    let asked = stage.agent.approval(request.id()).look().await.unwrap();
    refused_as(connection.vote("bobby", &asked, stage.yes("bob", &asked)).await, "own_request");
    stage.smuggle("bobby", &asked, stage.yes("bob", &asked)).await;
    refused_as(connection.verdict(&bob, &request, None).await, "votes_not_verified");
    stage.agent.close().await.unwrap();
}

async fn forged_rejection_is_no_rejection(place: &Place) {
    let stage = Stage::new(place).await;
    let approval = stage.agent.request_approval("deployment", "ship 2.0").await.unwrap();
    let asked = approval.look().await.unwrap();
    let no = stage.people.sign("mallory", &stage.text(&asked, Verdict::Reject));
    stage.smuggle("ada", &asked, Ballot::reject("never").signed(no)).await;
    let reason = refused_as(approval.decision().await, "votes_not_verified");
    assert!(reason.contains("the store says rejected"), "{reason}");
    stage.agent.close().await.unwrap();
}

/// The approval that is stored under a key says less than what is asked for under it now: the agent does not attach.
async fn votes_count_by_what_was_asked_for_and_not_by_what_the_store_says(place: &Place) {
    let stage = Stage::new(place).await;
    let strict = || stage.agent.request_approval("deployment", "ship 2.0").quorum(2).key("2.0");
    let approval = strict().await.unwrap();
    let asked = approval.look().await.unwrap();
    let lax = stage.agent.request_approval("deployment", "ship 2.0").quorum(1).key("2.0").await;
    refused_as(lax, "key_reused");
    stage.agent.connection().vote("ada", &asked, stage.yes("ada", &asked)).await.unwrap();
    // Whoever attaches again, by key or by id, counts by the same terms.
    let by_key = strict().await.unwrap();
    assert_eq!(by_key.id(), approval.id());
    stage.agent.connection().vote("bob", &approval.look().await.unwrap(), stage.yes("bob", &asked)).await.unwrap();
    assert_eq!(by_key.decision().await.unwrap(), Decision::Approved);
    let by_id = stage.agent.approval(approval.id());
    assert_eq!(by_id.decision().await.unwrap(), Decision::ConsumedBefore);
    stage.agent.close().await.unwrap();
}

/// Changes a stored approval by the engine's own client, past all rules.
async fn rewrite(place: &Place, stage: &Stage, key: &str, change: impl FnOnce(&mut ApprovalRecord)) {
    let namespace = stage.agent.connection().namespace().to_owned();
    let record = |bytes: Vec<u8>| decode::<ApprovalRecord>(&bytes, "approval").unwrap();
    match &place.redis_url {
        Some(url) => {
            let mut redis = ::redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
            let name = format!("ac:{{{namespace}}}:1:approval:{key}");
            let mut changed = record(::redis::cmd("GET").arg(&name).query(&mut redis).unwrap());
            change(&mut changed);
            ::redis::cmd("SET").arg(&name).arg(changed.stored().unwrap()).exec(&mut redis).unwrap();
        }
        None => {
            let database = place.dir.path().join(format!("state/namespaces/{namespace}/agentcoord.db"));
            let files = rusqlite::Connection::open(database).unwrap();
            let stored = files.query_row("SELECT record FROM approval WHERE key = ?1", [key], |row| row.get(0));
            let mut changed = record(stored.unwrap());
            change(&mut changed);
            let bytes = changed.stored().unwrap();
            files.execute("UPDATE approval SET record = ?2 WHERE key = ?1", rusqlite::params![key, bytes]).unwrap();
        }
    }
}

async fn record_that_is_rewritten_in_the_store_lets_nobody_through(place: &Place) {
    type Change = fn(&mut ApprovalRecord);
    let stage = Stage::new(place).await;
    let changes: [(&str, Change); 5] = [
        ("1 of 2", |_| {}),
        ("1 of 2", |a| a.quorum = 1),
        ("1 of 2", |a| {
            let mut bob = a.votes[0].clone();
            bob.by = "human:bob".to_owned();
            a.votes.push(bob);
        }),
        ("0 of 2", |a| a.expires_at += 1),
        ("0 of 2", |a| a.votes.iter_mut().for_each(|vote| vote.by = "human:bob".to_owned())),
    ];
    for (counted, change) in changes {
        let approval = stage.agent.request_approval("deployment", "ship 2.0").quorum(2).await.unwrap();
        let asked = approval.look().await.unwrap();
        stage.agent.connection().vote("ada", &asked, stage.yes("ada", &asked)).await.unwrap();
        rewrite(place, &stage, approval.id(), |record| {
            change(record);
            record.status = ApprovalStatus::Approved;
        })
        .await;
        let reason = refused_as(approval.decision().await, "votes_not_verified");
        assert!(reason.contains(counted), "{reason}");
    }
    // A requester that has forgotten what it asked for is not told something else.
    let changes: [Change; 2] = [|a| a.quorum = 1, |a| a.description = "drop the table".to_owned()];
    for change in changes {
        let approval = stage.agent.request_approval("deployment", "ship 2.0").quorum(2).await.unwrap();
        rewrite(place, &stage, approval.id(), change).await;
        refused_as(stage.agent.approval(approval.id()).decision().await, "digest_mismatch");
    }
    stage.agent.close().await.unwrap();
}

async fn revocation_holds_at_once(place: &Place) {
    let stage = Stage::new(place).await;
    let approval = stage.agent.request_approval("deployment", "ship 2.0").await.unwrap();
    let asked = approval.look().await.unwrap();
    stage.agent.connection().vote("ada", &asked, stage.yes("ada", &asked)).await.unwrap();
    drop::<Approvers>(stage.people.approvers(LISTED, &["gone", "ada"]));
    let reason = refused_as(approval.decision().await, "votes_not_verified");
    assert!(reason.contains("revoked"), "{reason}");
    stage.agent.close().await.unwrap();
}

async fn list_that_cannot_be_read_lets_nobody_in(place: &Place) {
    let stage = Stage::new(place).await;
    let approval = stage.agent.request_approval("deployment", "ship 2.0").await.unwrap();
    let asked = approval.look().await.unwrap();
    let ballot = stage.yes("ada", &asked);
    let approvers = stage.agent.connection().config().approvers.clone().unwrap();
    let whole = std::fs::read(&approvers.allowed_signers).unwrap();
    std::fs::write(&approvers.allowed_signers, [&whole[..], b"eve sh-ed25519 AAAA\n"].concat()).unwrap();
    let cast = stage.agent.connection().vote("ada", &asked, ballot.clone()).await;
    assert!(
        matches!(cast, Err(Error::Invalid { field: "approvers", ref allowed, .. }) if allowed.contains("line 8")),
        "{cast:?}"
    );
    stage.smuggle("ada", &asked, ballot).await;
    assert!(matches!(approval.decision().await, Err(Error::Invalid { field: "approvers", .. })));
    std::fs::remove_file(&approvers.allowed_signers).unwrap();
    assert!(matches!(approval.decision().await, Err(Error::Invalid { field: "approvers", .. })));
    stage.agent.close().await.unwrap();
}

/// What OpenSSH accepts we accept, and the other way round, for every kind of key.
#[tokio::test]
async fn judgement_is_that_of_ssh_keygen() {
    let place = Place::files();
    let people = People::new();
    let kinds: [(&str, &[&str]); 5] = [
        ("ed", &["-t", "ed25519"]),
        ("p256", &["-t", "ecdsa", "-b", "256"]),
        ("p384", &["-t", "ecdsa", "-b", "384"]),
        ("rsa2", &["-t", "rsa", "-b", "2048"]),
        ("rsa4", &["-t", "rsa", "-b", "4096"]),
    ];
    for (name, kind) in kinds {
        people.make(name, kind);
    }
    people.make("out", &["-t", "ed25519"]);
    let lines = [
        ("ed,edith", "ed"),
        ("\"p256\" namespaces=\"git,agentcoord-*\"", "p256"),
        ("p*,!p256 valid-after=\"20200101Z\",valid-before=\"209901010000Z\"", "p384"),
        ("rsa2 NAMESPACES=\"*,!agentcoord-approval\"", "rsa2"),
        ("rsa? valid-before=\"20300101000000Z\"", "rsa4"),
        ("out", "out"),
    ];
    let approvers = people.approvers(&lines, &["out"]);
    let agent = place.session("agent").approvers(approvers.clone()).await.unwrap();
    let mut accepted = 0;
    for name in ["ed", "edith", "p256", "p384", "p999", "rsa2", "rsa4", "out", "nobody"] {
        for key in ["ed", "p256", "p384", "rsa2", "rsa4", "out"] {
            let approval = agent.request_approval("deployment", "ship 2.0").await.unwrap();
            let asked = approval.look().await.unwrap();
            let text = statement(agent.connection().namespace(), &asked, Verdict::Approve);
            let signature = people.sign(key, &text);
            let theirs = people.accepts(&approvers, name, &text, &signature);
            let cast = agent.connection().vote(name, &asked, Ballot::approve().signed(signature.clone())).await;
            assert_eq!(cast.is_ok(), theirs, "{name} with the key {key}: {cast:?}");
            assert!(!people.accepts(&approvers, name, &text.replace("verdict approve", "verdict reject"), &signature));
            accepted += usize::from(theirs);
        }
    }
    assert!(accepted >= 6, "{accepted}");
    agent.close().await.unwrap();
}

/// No security key is at hand here, so the test plays one: what it makes, `ssh-keygen` takes for the real thing.
#[tokio::test]
async fn signature_of_a_touched_security_key_counts() {
    let place = Place::files();
    let people = People::new();
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let string = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let kind = b"sk-ssh-ed25519@openssh.com";
    let wire = [string(kind), string(pair.public_key().as_ref()), string(b"ssh:")].concat();
    let public = PublicKey::from_bytes(&wire).unwrap();
    std::fs::write(people.key("sk").with_extension("pub"), public.to_openssh().unwrap()).unwrap();
    let approvers = people.approvers(&[("ada", "sk")], &[]);
    let agent = place.session("agent").approvers(approvers.clone()).await.unwrap();
    let approval = agent.request_approval("deployment", "ship 2.0").await.unwrap();
    let asked = approval.look().await.unwrap();
    let text = statement(agent.connection().namespace(), &asked, Verdict::Approve);
    let signed = SshSig::signed_data(SIGNATURE_NAMESPACE, HashAlg::Sha512, text.as_bytes()).unwrap();
    let make = |flags: u8| {
        let added = [&[flags][..], &9_u32.to_be_bytes()].concat();
        let touched = [digest(&SHA256, b"ssh:").as_ref(), &added, digest(&SHA256, &signed).as_ref()].concat();
        let bytes = [pair.sign(&touched).as_ref(), &added].concat();
        let signature = Signature::new(Algorithm::SkEd25519, bytes).unwrap();
        let made = SshSig::new(public.key_data().clone(), SIGNATURE_NAMESPACE, HashAlg::Sha512, signature);
        made.unwrap().to_pem(LineEnding::LF).unwrap()
    };
    let untouched = agent.connection().vote("ada", &asked, Ballot::approve().signed(make(0))).await;
    assert!(refused_as(untouched, "unreadable_signature").contains("touched"));
    assert!(people.accepts(&approvers, "ada", &text, &make(1)));
    agent.connection().vote("ada", &asked, Ballot::approve().signed(make(1))).await.unwrap();
    assert_eq!(approval.decision().await.unwrap(), Decision::Approved);
    agent.close().await.unwrap();
}
