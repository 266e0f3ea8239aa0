//! The audit log: it grows, without gaps, byte by byte as given.

use agentcoord_core::Error;
use agentcoord_core::audit::AppendAudit;
use agentcoord_core::limits;
use agentcoord_core::store::Backend;

use crate::actor::Scene;
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
    assert_eq!(scene.store().audit().head().await.expect("readable"), 40);
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
