//! The audit log: it grows, without gaps, byte by byte as given.

use agentcoord_core::Error;
use agentcoord_core::audit::chain::{HASH_DIGITS, Head};
use agentcoord_core::audit::verify::{Place, Stored};
use agentcoord_core::audit::{AppendAudit, Extent, SealAudit};
use agentcoord_core::limits;
use agentcoord_core::store::Backend;
use agentcoord_core::time::Clock;

use crate::actor::{Player, Scene};
use crate::refused;

/// Many append at the same time: the sequence has no gaps and every entry is there once.
pub async fn audit_sequence_has_no_gaps(scene: Scene) {
    let mut running = Vec::new();
    for number in 0..5 {
        let agent = scene.agent(&format!("agent {number}")).await;
        running.push(tokio::spawn(async move {
            let mut places = Vec::new();
            for turn in 0..8 {
                let entry = format!(r#"{{"reason":"{number}/{turn}"}}"#);
                places.push(agent.ask(AppendAudit { entry }).await.expect("accepted").seq);
            }
            places
        }));
    }
    let mut places = Vec::new();
    for task in running {
        places.extend(task.await.expect("no panic"));
    }
    places.sort_unstable();
    assert_eq!(places, (1..=40).collect::<Vec<_>>());
    let page = scene.store().audit().read(0, 100).await.expect("readable");
    let mut entries: Vec<String> = page.items.into_iter().map(|e| e.entry).collect();
    entries.sort();
    entries.dedup();
    assert_eq!(entries.len(), 40);
    assert_eq!(scene.store().audit().extent().await.expect("readable").entries, 40);
}

/// An entry is read back exactly as it was given.
pub async fn an_entry_is_kept_exactly(scene: Scene) {
    let person = scene.human("grace").await;
    let entry = "{\"b\": 1.50, \"a\" : [], \"n\": 9007199254740993, \"t\": \"\\u00e9 \u{1F980}\"}".to_owned();
    assert_eq!(person.ask(AppendAudit { entry: entry.clone() }).await.expect("accepted").seq, 1);
    let page = scene.store().audit().read(0, 1).await.expect("readable");
    assert_eq!((page.items[0].seq, &page.items[0].entry, page.cursor), (1, &entry, None));
}

/// Reading goes on where it stopped.
pub async fn the_log_is_read_in_pages(scene: Scene) {
    let person = scene.human("grace").await;
    for number in 1..=5 {
        person.ask(AppendAudit { entry: format!("{{\"n\":{number}}}") }).await.expect("accepted");
    }
    let first = scene.store().audit().read(0, 2).await.expect("readable");
    assert_eq!(first.items.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(first.cursor.as_deref(), Some("2"));
    let rest = scene.store().audit().read(2, 10).await.expect("readable");
    assert_eq!(rest.items.iter().map(|e| e.seq).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(rest.cursor, None);
}

/// Bad input is refused, and a refused append leaves no gap.
pub async fn a_refused_append_leaves_no_gap(scene: Scene) {
    let ada = scene.agent("ada").await;
    refused!(ada.ask(AppendAudit { entry: " ".to_owned() }).await, Error::Invalid { field: "entry", .. });
    let long = "x".repeat(limits::BLOB_BYTES + 1);
    refused!(ada.ask(AppendAudit { entry: long }).await, Error::Invalid { field: "entry", .. });
    ada.ask(AppendAudit { entry: "{}".to_owned() }).await.expect("accepted");
    ada.leave().await;
    refused!(ada.ask(AppendAudit { entry: "{}".to_owned() }).await, Error::Stale { .. });
    assert_eq!(scene.human("grace").await.ask(AppendAudit { entry: "{}".to_owned() }).await.expect("accepted").seq, 2);
}

/// The time of an entry is the engine's, whatever its text says.
pub async fn entries_are_stamped_by_the_engine(scene: Scene) {
    let person = scene.human("grace").await;
    let mut times = Vec::new();
    for _ in 0..2 {
        person.ask(AppendAudit { entry: "{\"time\":\"1970\"}".to_owned() }).await.expect("accepted");
        times.push(scene.clock().read().wall);
        scene.pass(1_500).await;
    }
    let page = scene.store().audit().read(0, 10).await.expect("readable");
    assert_eq!(page.items.iter().map(|entry| entry.at).collect::<Vec<_>>(), times);
}

async fn append(person: &Player, number: u64) {
    for n in 0..number {
        person.ask(AppendAudit { entry: format!("{{\"n\":{n}}}") }).await.expect("accepted");
    }
}

async fn places(scene: &Scene, first: u64, last: u64) -> Vec<Place> {
    scene.store().audit().inspect(first, last).await.expect("readable")
}

async fn extent(scene: &Scene) -> Extent {
    scene.store().audit().extent().await.expect("readable")
}

/// The hashes of some entries that follow a head.
async fn seals(scene: &Scene, head: &mut Head, last: u64) -> SealAudit {
    let after = head.seq;
    let mut hashes = String::new();
    for place in places(scene, after + 1, last).await {
        let Stored::Entry(record) = place.stored else { panic!("an entry is at {}", place.seq) };
        *head = head.then(record.at, &record.entry);
        hashes.push_str(&head.hash.to_string());
    }
    SealAudit { after, hashes }
}

/// Seals are taken when they go on where the last ones ended and their entries are there; else nothing happens.
pub async fn seals_go_on_where_the_last_ones_ended(scene: Scene) {
    let (system, person) = (scene.system().await, scene.human("grace").await);
    let last = limits::SEAL_RUN + 3;
    append(&person, last).await;
    let mut head = Head::START;
    for part in [2, limits::SEAL_RUN, last] {
        let body = seals(&scene, &mut head, part).await;
        assert_eq!(system.ask(body.clone()).await.expect("accepted").sealed, part);
        let csn = scene.csn().await;
        assert_eq!(system.ask(body).await.expect("an outcome").sealed, part, "they are not taken twice");
        assert_eq!(scene.csn().await, csn);
    }
    assert_eq!(extent(&scene).await, Extent { entries: last, sealed: last });
    let mut check = Head::START;
    for place in places(&scene, 1, last).await {
        let Stored::Entry(record) = place.stored else { panic!("an entry is at {}", place.seq) };
        check = check.then(record.at, &record.entry);
        assert_eq!(place.seal, Some(check.hash), "seal {}", place.seq);
    }
    assert_eq!(check, head);
    let beyond = SealAudit { after: last, hashes: "7".repeat(HASH_DIGITS) };
    assert_eq!(system.ask(beyond).await.expect("an outcome").sealed, last, "there is no such entry");
    let ragged = |after, digits| SealAudit { after, hashes: "7".repeat(digits) };
    for bad in [ragged(last, 0), ragged(last, 63), ragged(limits::SEAL_RUN - 1, 2 * HASH_DIGITS)] {
        refused!(system.ask(bad).await, Error::Invalid { field: "hashes", .. });
    }
}

/// Of many who seal the same entries one does.
pub async fn simultaneous_seals_are_one(scene: Scene) {
    append(&scene.human("grace").await, 5).await;
    let mut head = Head::START;
    let body = seals(&scene, &mut head, 5).await;
    let mut running = Vec::new();
    for _ in 0..4 {
        let (system, body) = (scene.system().await, body.clone());
        running.push(tokio::spawn(async move { system.ask(body).await.expect("an outcome").sealed }));
    }
    for task in running {
        assert_eq!(task.await.expect("no panic"), 5);
    }
    let hashes: String = places(&scene, 1, 5).await.iter().map(|p| p.seal.expect("sealed").to_string()).collect();
    assert_eq!(hashes, body.hashes);
}

/// An agent cannot put a seal of its own making under the log.
pub async fn agents_do_not_seal(scene: Scene) {
    let ada = scene.agent("ada").await;
    ada.ask(AppendAudit { entry: "{}".to_owned() }).await.expect("accepted");
    let mut head = Head::START;
    let body = seals(&scene, &mut head, 1).await;
    refused!(ada.ask(body.clone()).await, Error::Refused { policy: "sealed_by_no_agent", .. });
    assert_eq!(extent(&scene).await, Extent { entries: 1, sealed: 0 });
    assert_eq!(scene.human("grace").await.ask(body).await.expect("accepted").sealed, 1);
}
