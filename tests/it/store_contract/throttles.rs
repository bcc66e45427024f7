use crate::support::store::{NOON, Opened, add, event, user};
use portcullis::model::{Event, EventKind, Timestamp, User};
use portcullis::store::{Admission, BucketKind, Cell, WhichBans};
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);

fn cell(kind: BucketKind, key: &str, burst: u32) -> Cell {
    Cell {
        kind,
        key: key.to_owned(),
        user: None,
        burst,
        interval: MINUTE,
    }
}

fn account(user: &User, burst: u32) -> Cell {
    Cell {
        user: Some(user.id),
        ..cell(BucketKind::Account, &user.id.to_string(), burst)
    }
}

fn ban(user: Option<&User>) -> Event {
    Event {
        user: user.map(|user| user.id),
        username: user.map(|user| user.username.to_string()),
        address: Some([192, 0, 2, 7].into()),
        ..event(EventKind::BanStarted)
    }
}

async fn admit(opened: &Opened, cells: &[Cell], now: Timestamp) -> Admission {
    opened.store.admit(cells, now, &ban(None)).await.unwrap()
}

async fn admitted(opened: &Opened, cells: &[Cell], now: Timestamp) -> bool {
    admit(opened, cells, now).await == Admission::Admitted
}

pub async fn a_burst_is_counted_and_then_one_each_interval(opened: &Opened) {
    let one = [cell(BucketKind::Address, "192.0.2.7", 3)];
    for _ in 0..3 {
        assert!(admitted(opened, &one, NOON).await);
    }
    let refused = admit(opened, &one, NOON).await;
    let free_at = NOON.plus(MINUTE);
    assert_eq!(
        refused,
        Admission::Refused(vec![("address:192.0.2.7".to_owned(), free_at)])
    );
    assert_eq!(opened.store.free_at("address:192.0.2.7").await.unwrap(), Some(free_at));
    let almost = free_at.minus(Duration::from_micros(1));
    assert!(!admitted(opened, &one, almost).await, "exact at the boundary");
    assert!(admitted(opened, &one, free_at).await);
    assert!(!admitted(opened, &one, free_at).await);
    // Nothing for a long time: the whole burst again.
    let later = free_at.plus(MINUTE * 60);
    for _ in 0..3 {
        assert!(admitted(opened, &one, later).await);
    }
    assert!(!admitted(opened, &one, later).await);
}

pub async fn refused_attempts_make_nobody_wait_longer(opened: &Opened) {
    let one = [cell(BucketKind::Address, "192.0.2.7", 1)];
    assert!(admitted(opened, &one, NOON).await);
    for seconds in 0..60 {
        assert!(!admitted(opened, &one, NOON.plus(Duration::from_secs(seconds))).await);
    }
    assert!(admitted(opened, &one, NOON.plus(MINUTE)).await);
}

pub async fn an_attempt_that_one_cell_refuses_is_counted_by_none(opened: &Opened) {
    let tight = cell(BucketKind::Address, "192.0.2.7", 1);
    let wide = cell(BucketKind::Account, "of-somebody", 3);
    let both = [wide.clone(), tight.clone()];
    assert!(admitted(opened, &both, NOON).await);
    for _ in 0..5 {
        let Admission::Refused(refusals) = admit(opened, &both, NOON).await else {
            panic!("the address had its attempt")
        };
        assert_eq!(refusals.len(), 1, "only the address refuses: {refusals:?}");
    }
    let alone = [wide];
    assert!(admitted(opened, &alone, NOON).await && admitted(opened, &alone, NOON).await);
    assert!(!admitted(opened, &alone, NOON).await);
}

pub async fn what_is_given_back_was_never_counted_and_strangers_stay_counted(opened: &Opened) {
    let one = [cell(BucketKind::Address, "192.0.2.7", 2)];
    assert!(admitted(opened, &one, NOON).await);
    for _ in 0..10 {
        assert!(admitted(opened, &one, NOON).await);
        opened.store.give_back(&one).await.unwrap();
    }
    assert!(admitted(opened, &one, NOON).await);
    assert!(
        !admitted(opened, &one, NOON).await,
        "the first one was never given back"
    );
    // Of a row that is gone nothing can be given back, and nothing is made of it.
    let never = [cell(BucketKind::Address, "198.51.100.1", 1)];
    opened.store.give_back(&never).await.unwrap();
    assert!(opened.store.free_at("address:198.51.100.1").await.unwrap().is_none());
}

pub async fn a_ban_is_told_once_until_nothing_was_tried_for_a_while(opened: &Opened) {
    let ann = user("ann");
    let cells = [account(&ann, 1), cell(BucketKind::Address, "192.0.2.7", 100)];
    let try_at = async |at| opened.store.admit(&cells, at, &ban(Some(&ann))).await.unwrap();
    let told = async || {
        let events = opened.store.list_events(None, 100).await.unwrap();
        events
            .into_iter()
            .filter(|event| event.kind == "ban_started")
            .collect::<Vec<_>>()
    };
    assert_eq!(try_at(NOON).await, Admission::Admitted);
    assert!(told().await.is_empty());
    // A siege of ten minutes, in which one attempt a minute is counted.
    for seconds in (1..600).step_by(15) {
        try_at(NOON.plus(Duration::from_secs(seconds))).await;
    }
    let bans = told().await;
    assert_eq!(bans.len(), 1, "{bans:?}");
    assert_eq!((bans[0].user, bans[0].username.as_deref()), (Some(ann.id), Some("ann")));
    assert_eq!((bans[0].reason.as_deref(), bans[0].at), (Some("account"), NOON));
    let quiet = NOON.plus(Duration::from_hours(1));
    try_at(quiet).await;
    try_at(quiet).await;
    assert_eq!(told().await.len(), 2);
    // A ban of an address concerns no user.
    let address = [cell(BucketKind::Address, "198.51.100.1", 1)];
    for _ in 0..2 {
        opened.store.admit(&address, NOON, &ban(Some(&ann))).await.unwrap();
    }
    let newest = &told().await[0];
    assert_eq!(
        (newest.user, newest.username.as_deref(), newest.reason.as_deref()),
        (None, None, Some("address"))
    );
}

/// Bans of ann's account and browser and of an address; another address has room left. The buckets in order.
async fn banned(opened: &Opened, ann: &User) -> [String; 3] {
    add(&*opened.store, ann).await;
    let browser = Cell {
        user: Some(ann.id),
        ..cell(BucketKind::Browser, "of-ann", 1)
    };
    let address = cell(BucketKind::Address, "192.0.2.7", 1);
    let quiet = cell(BucketKind::Address, "198.51.100.1", 9);
    for one in [&account(ann, 1), &browser, &address, &quiet] {
        let one = std::slice::from_ref(one);
        assert!(admitted(opened, one, NOON).await);
        admitted(opened, one, NOON).await;
    }
    [account(ann, 1).bucket(), address.bucket(), browser.bucket()]
}

pub async fn bans_are_listed_by_bucket_in_pages(opened: &Opened) {
    let ann = user("ann");
    let expected = banned(opened, &ann).await;
    let bans = opened.store.list_bans(NOON, None, 10).await.unwrap();
    let buckets: Vec<_> = bans.iter().map(|ban| ban.bucket.clone()).collect();
    assert_eq!(buckets, expected);
    assert_eq!(bans[0].username.as_ref(), Some(&ann.username));
    assert_eq!((bans[0].since, bans[0].until), (Some(NOON), NOON.plus(MINUTE)));
    assert_eq!((bans[1].user, &bans[1].username), (None, &None));
    let page = opened.store.list_bans(NOON, Some(&buckets[0]), 1).await.unwrap();
    assert_eq!(page[0].bucket, buckets[1]);
    let over = opened.store.list_bans(NOON.plus(MINUTE), None, 10).await.unwrap();
    assert!(over.is_empty(), "exact at the boundary");
}

pub async fn what_is_lifted_counts_anew(opened: &Opened) {
    let ann = user("ann");
    let [of_account, of_address, of_browser] = banned(opened, &ann).await;
    let lifted = async |which| {
        let event = event(EventKind::BanLifted);
        opened.store.lift_bans(&which, &event).await.unwrap()
    };
    let mut of_ann = lifted(WhichBans::User(ann.id)).await;
    of_ann.sort();
    assert_eq!(of_ann, [of_account, of_browser]);
    assert!(admitted(opened, &[account(&ann, 1)], NOON).await);
    let nobodys = WhichBans::Buckets(vec!["address:203.0.113.9".to_owned()]);
    assert!(lifted(nobodys).await.is_empty());
    assert_eq!(lifted(WhichBans::Buckets(vec![of_address.clone()])).await, [of_address]);
    assert_eq!(lifted(WhichBans::All).await.len(), 2);
    assert!(lifted(WhichBans::All).await.is_empty());
    let events = opened.store.list_events(None, 100).await.unwrap();
    let told = events.iter().filter(|event| event.kind == "ban_lifted").count();
    assert_eq!(told, 3, "lifting nothing is not told");
}

pub async fn cells_that_say_nothing_any_more_are_deleted(opened: &Opened) {
    for number in 0..5 {
        let one = [cell(BucketKind::Name, &number.to_string(), 10)];
        let at = NOON.plus(Duration::from_secs(number));
        assert!(admitted(opened, &one, at).await);
    }
    let forget = |at, limit| opened.store.forget_cells(at, limit);
    assert_eq!(forget(NOON.plus(Duration::from_secs(59)), 100).await.unwrap(), 0);
    assert_eq!(forget(NOON.plus(Duration::from_secs(61)), 100).await.unwrap(), 2);
    assert_eq!(forget(NOON.plus(MINUTE * 2), 2).await.unwrap(), 2);
    assert_eq!(forget(NOON.plus(MINUTE * 2), 2).await.unwrap(), 1);
    assert_eq!(forget(NOON.plus(MINUTE * 2), 2).await.unwrap(), 0);
}

pub async fn a_ban_that_is_over_is_remembered_for_a_while(opened: &Opened) {
    let one = [cell(BucketKind::Address, "192.0.2.7", 1)];
    assert!(admitted(opened, &one, NOON).await);
    assert!(!admitted(opened, &one, NOON).await);
    let soon = NOON.plus(MINUTE * 15);
    assert_eq!(opened.store.forget_cells(soon, 10).await.unwrap(), 0);
    assert_eq!(opened.store.forget_cells(soon.plus(MINUTE), 10).await.unwrap(), 1);
}

pub async fn a_clock_that_went_wrong_locks_nobody_out(opened: &Opened) {
    let one = [cell(BucketKind::Address, "192.0.2.7", 2)];
    let ahead = NOON.plus(Duration::from_hours(24));
    while admitted(opened, &one, ahead).await {}
    assert!(admitted(opened, &one, NOON).await && admitted(opened, &one, NOON).await);
    assert!(!admitted(opened, &one, NOON).await);
    assert_eq!(
        opened.store.free_at("address:192.0.2.7").await.unwrap(),
        Some(NOON.plus(MINUTE))
    );
}

pub async fn of_many_at_once_as_many_are_counted_as_may_be(opened: &Opened) {
    let beside = opened.beside().await;
    let cells = [
        cell(BucketKind::Account, "of-somebody", 7),
        cell(BucketKind::Address, "192.0.2.7", 50),
    ];
    let attempts = (0..40).map(|number| {
        let store = if number % 2 == 0 { &opened.store } else { &beside };
        // In either order: the store has one of its own.
        let mut cells = cells.clone();
        if number % 3 == 0 {
            cells.reverse();
        }
        async move { store.admit(&cells, NOON, &ban(None)).await.unwrap() }
    });
    let outcomes = futures_util::future::join_all(attempts).await;
    let counted = outcomes
        .iter()
        .filter(|outcome| **outcome == Admission::Admitted)
        .count();
    assert_eq!(counted, 7);
    let events = opened.store.list_events(None, 100).await.unwrap();
    assert_eq!(events.len(), 1, "one ban began: {events:?}");
    let backs = (0..7).map(|_| opened.store.give_back(&cells));
    for back in futures_util::future::join_all(backs).await {
        back.unwrap();
    }
    assert!(admitted(opened, &cells, NOON).await);
}
