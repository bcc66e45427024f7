use crate::support::store::{NOON, Opened, event};
use portcullis::model::{Digest, EventKind};
use portcullis::store::{StoreError, Tombstone};
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

fn tombstone(byte: u8, days: u32) -> Tombstone {
    Tombstone {
        digest: Digest([byte; 32]),
        source: "crm".to_owned(),
        ended_at: NOON,
        until: NOON.plus(DAY * days),
    }
}

async fn found(opened: &Opened, bytes: &[u8]) -> Vec<u8> {
    let digests: Vec<Digest> = bytes.iter().map(|byte| Digest([*byte; 32])).collect();
    let mut found: Vec<u8> = opened
        .store
        .find_tombstones(&digests)
        .await
        .unwrap()
        .iter()
        .map(|digest| digest.0[0])
        .collect();
    found.sort_unstable();
    found
}

pub async fn what_was_ended_is_found_with_its_event_until_its_time_is_over(opened: &Opened) {
    let ends = [tombstone(3, 1), tombstone(1, 2), tombstone(3, 1)];
    opened.store.bury(&ends, event(EventKind::SessionEnded)).await.unwrap();
    assert_eq!(found(opened, &[1, 2, 3]).await, [1, 3]);
    assert!(found(opened, &[]).await.is_empty());
    assert_eq!(opened.store.list_events(None, 9).await.unwrap().len(), 1);
    // Ended once more, it stays until the later of both moments.
    opened
        .store
        .bury(&[tombstone(3, 5), tombstone(1, 1)], event(EventKind::SessionEnded))
        .await
        .unwrap();
    let forgotten = |days: u32, limit: u32| opened.store.forget_tombstones(NOON.plus(DAY * days), limit);
    assert_eq!(forgotten(1, 9).await.unwrap(), 0);
    assert_eq!(forgotten(2, 9).await.unwrap(), 1);
    assert_eq!(found(opened, &[1, 3]).await, [3]);
    assert_eq!(forgotten(4, 9).await.unwrap(), 0);
    assert_eq!(forgotten(5, 9).await.unwrap(), 1);
    assert!(found(opened, &[1, 3]).await.is_empty());
}

pub async fn an_end_that_was_not_stored_leaves_no_event(opened: &Opened) {
    let nameless = Tombstone {
        source: String::new(),
        ..tombstone(2, 1)
    };
    let outcome = opened
        .store
        .bury(&[tombstone(1, 1), nameless], event(EventKind::SessionEnded))
        .await;
    assert!(matches!(outcome, Err(StoreError::Failed { .. })), "{outcome:?}");
    assert!(found(opened, &[1, 2]).await.is_empty());
    assert!(opened.store.list_events(None, 9).await.unwrap().is_empty());
}

pub async fn so_many_are_forgotten_at_once_as_was_said(opened: &Opened) {
    let ends: Vec<Tombstone> = (1..=5).map(|byte| tombstone(byte, 1)).collect();
    opened.store.bury(&ends, event(EventKind::SessionEnded)).await.unwrap();
    assert_eq!(opened.store.forget_tombstones(NOON.plus(DAY), 3).await.unwrap(), 3);
    assert_eq!(opened.store.forget_tombstones(NOON.plus(DAY), 3).await.unwrap(), 2);
    assert_eq!(opened.store.forget_tombstones(NOON.plus(DAY), 3).await.unwrap(), 0);
}
