use crate::support::store::Opened;
use portcullis::store::{Instance, Place, Signing};
use std::time::Duration;
use uuid::Uuid;

const LONG: Duration = Duration::from_hours(1);

fn instance(host: &str) -> Instance {
    Instance {
        id: Uuid::now_v7(),
        version: "0.1.0".to_owned(),
        host: host.to_owned(),
        address: "https://10.0.0.1:8443".to_owned(),
        signing: Signing {
            cookie: "sid=aiq_".to_owned(),
            fingerprints: vec!["0123456789abcdef".to_owned(), "fedcba9876543210".to_owned()],
        },
    }
}

pub async fn instances_see_each_other_and_when(opened: &Opened) {
    let shared = matches!(opened.settings.place, Place::Postgres { .. });
    assert_eq!(opened.store.is_shared(), shared);
    assert!(opened.store.list_instances().await.unwrap().is_empty());
    let (one, other) = (instance("one"), instance("other"));
    let alone = opened.store.show_instance(&one, LONG).await.unwrap();
    assert_eq!(alone.len(), 1);
    let both = opened.store.show_instance(&other, LONG).await.unwrap();
    let told: Vec<_> = both.iter().map(|seen| seen.instance.clone()).collect();
    assert_eq!(told, [one, other]);
    let now = opened.store.now().await.unwrap();
    for seen in &both {
        assert!(seen.started_at <= seen.last_seen && seen.last_seen <= now, "{seen:?}");
        assert!(seen.silent_for < Duration::from_mins(1), "{seen:?}");
    }
    let listed = opened.beside().await.list_instances().await.unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed[0].silent_for >= both[0].silent_for, "by the database's clock");
}

pub async fn a_beat_says_what_is_so_by_now(opened: &Opened) {
    let mut one = instance("one");
    let before = opened.store.show_instance(&one, LONG).await.unwrap();
    one.signing.fingerprints.reverse();
    "other=".clone_into(&mut one.signing.cookie);
    let after = opened.store.show_instance(&one, LONG).await.unwrap();
    assert_eq!(after.len(), 1);
    assert_eq!(after[0].instance, one);
    assert_eq!(after[0].started_at, before[0].started_at);
    assert!(after[0].last_seen > before[0].last_seen);
    one.signing.fingerprints = vec!["a secret instead of a fingerprint".to_owned()];
    assert!(opened.store.show_instance(&one, LONG).await.is_err());
}

pub async fn who_stops_or_stays_silent_is_forgotten(opened: &Opened) {
    let (stops, silent, lives) = (instance("stops"), instance("silent"), instance("lives"));
    for one in [&stops, &silent, &lives] {
        opened.store.show_instance(one, LONG).await.unwrap();
    }
    opened.store.forget_instance(stops.id).await.unwrap();
    opened.store.forget_instance(stops.id).await.unwrap();
    assert_eq!(opened.store.list_instances().await.unwrap().len(), 2);
    let left = opened.store.show_instance(&lives, Duration::ZERO).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].instance, lives);
}
