//! What is counted together, how long anybody waits, and what is asked of the store, by a clock that stands still.

use crate::support::store::{NOON, Opened, on_postgres, on_sqlite};
use portcullis::account::{
    Accounts, KnownBrowser, NewAccount, Origin, Rate, Rates, Settings, SignInError, ThrottleError,
};
use portcullis::clock::Clock;
use portcullis::model::{User, UserId};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const RIGHT: &str = "correct horse";
const MINUTE: Duration = Duration::from_mins(1);

struct Desk {
    opened: Opened,
    clock: Clock,
    accounts: Arc<Accounts>,
}

fn rate(count: u32) -> Rate {
    Rate {
        count,
        per: MINUTE * count,
    }
}

fn settings(rates: Rates) -> Settings {
    Settings {
        memory_kib: 64,
        passes: 1,
        least_failure_time: Duration::ZERO,
        rates,
        ..Settings::default()
    }
}

fn small() -> Rates {
    Rates {
        account: Some(rate(3)),
        address: Some(rate(6)),
        browser: Some(rate(2)),
        registration: Some(rate(2)),
        token: Some(rate(2)),
    }
}

fn origin(address: &str) -> Origin {
    Origin::from(address.parse::<IpAddr>().expect("an address"))
}

impl Desk {
    fn over(opened: Opened, rates: Rates) -> Self {
        let clock = Clock::manual(NOON);
        let accounts = Accounts::new(Arc::clone(&opened.store), settings(rates), clock.clone());
        Self {
            opened,
            clock,
            accounts,
        }
    }

    async fn add(&self, name: &str) -> User {
        let new = NewAccount {
            username: name.to_owned(),
            email: Some(format!("{name}@example.com")),
            password: Some(RIGHT.to_owned().into()),
            ..NewAccount::default()
        };
        self.accounts.add(new, "command").await.unwrap()
    }

    async fn attempt(&self, login: &str, password: &str, origin: Origin) -> Result<User, SignInError> {
        let proven = self.accounts.sign_in(login, password.to_owned().into(), origin).await;
        proven.map(|proven| proven.user)
    }

    /// A wrong password is looked at.
    async fn is_counted(&self, login: &str, address: &str) -> bool {
        match self.attempt(login, "wrong", origin(address)).await {
            Err(SignInError::Wrong) => true,
            Err(SignInError::Throttled { .. }) => false,
            other => panic!("{other:?}"),
        }
    }

    async fn wait(&self, login: &str, origin: Origin) -> Duration {
        match self.attempt(login, RIGHT, origin).await {
            Err(SignInError::Throttled { retry_after }) => retry_after,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn every_spelling_of_a_name_is_counted_as_one() {
    let desk = Desk::over(on_sqlite().await, small());
    desk.add("ann").await;
    for (login, address) in [
        ("ann", "192.0.2.1"),
        (" Ann@Example.COM ", "192.0.2.2"),
        ("ANN", "192.0.2.3"),
    ] {
        assert!(desk.is_counted(login, address).await, "{login}");
    }
    for login in ["ann", "ANN", "ann@example.com"] {
        let refused = desk.attempt(login, RIGHT, origin("192.0.2.4")).await;
        assert!(
            matches!(refused, Err(SignInError::Throttled { .. })),
            "{login}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_name_that_is_nobodys_is_refused_just_as_soon() {
    let desk = Desk::over(on_sqlite().await, small());
    desk.add("ann").await;
    let mut courses = Vec::new();
    for login in ["ann", "nobody", "nobody@example.com", "", "a\0b", &"x".repeat(300)] {
        let mut course = Vec::new();
        for attempt in 0..5 {
            let outcome = desk
                .attempt(login, "wrong", origin(&format!("198.51.100.{attempt}")))
                .await;
            course.push(match outcome {
                Err(SignInError::Wrong) => None,
                Err(SignInError::Throttled { retry_after }) => Some(retry_after),
                other => panic!("{other:?}"),
            });
        }
        desk.accounts.lift_all("tests").await.unwrap();
        courses.push(course);
    }
    assert_eq!(courses[0], [None, None, None, Some(MINUTE), Some(MINUTE)]);
    for course in &courses {
        assert_eq!(course, &courses[0]);
    }
}

#[tokio::test]
async fn what_is_nobodys_stands_nowhere_in_the_store() {
    let desk = Desk::over(on_sqlite().await, small());
    for attempt in 0..5 {
        desk.is_counted("my-Secret-Password", &format!("192.0.2.{attempt}"))
            .await;
    }
    let bans = desk.accounts.bans(None, 10).await.unwrap();
    assert_eq!(bans.len(), 1);
    let told = serde_json::to_string(&bans).unwrap() + &format!("{:?}", desk.opened.store.list_events(None, 99).await);
    assert!(!told.to_lowercase().contains("my-secret-password"), "{told}");
    let folder = desk.opened.folder().join("data");
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(memchr::memmem::find(&bytes, b"my-secret-password").is_none());
        assert!(memchr::memmem::find(&bytes, b"my-Secret-Password").is_none());
    }
}

#[tokio::test]
async fn nobody_waits_longer_than_is_said_and_nobody_comes_too_early() {
    let desk = Desk::over(on_sqlite().await, small());
    desk.add("ann").await;
    for attempt in 0..3 {
        assert!(desk.is_counted("ann", &format!("192.0.2.{attempt}")).await);
    }
    desk.clock.advance(Duration::from_secs(20));
    let wait = desk.wait("ann", origin("192.0.2.9")).await;
    assert_eq!(wait, Duration::from_secs(40));
    desk.clock.advance(wait.saturating_sub(Duration::from_micros(1)));
    assert_eq!(
        desk.wait("ann", origin("192.0.2.9")).await,
        Duration::from_secs(1),
        "never less than a second"
    );
    desk.clock.advance(Duration::from_micros(1));
    desk.attempt("ann", RIGHT, origin("192.0.2.9")).await.unwrap();
}

#[tokio::test]
async fn a_siege_of_hours_makes_nobody_wait_longer() {
    let desk = Desk::over(on_sqlite().await, small());
    desk.add("ann").await;
    for step in 0..300 {
        desk.is_counted("ann", &format!("203.0.113.{}", step % 250)).await;
        desk.clock.advance(Duration::from_secs(59));
        assert!(desk.wait_of("ann").await <= MINUTE);
    }
}

impl Desk {
    /// How long a stranger to the browser waits now; nothing is counted when nobody has to wait.
    async fn wait_of(&self, login: &str) -> Duration {
        match self.attempt(login, RIGHT, origin("198.51.100.1")).await {
            Ok(_) => Duration::ZERO,
            Err(SignInError::Throttled { retry_after }) => retry_after,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn normal_use_is_never_throttled_and_excuses_no_stranger() {
    let desk = Desk::over(on_sqlite().await, small());
    desk.add("ann").await;
    desk.add("bob").await;
    let office = "192.0.2.1";
    for _ in 0..50 {
        desk.attempt("ann", RIGHT, origin(office)).await.unwrap();
    }
    for login in ["bob", "bob", "bob", "carl", "dora", "emil"] {
        assert!(desk.is_counted(login, office).await, "{login}");
        desk.attempt("ann", RIGHT, origin("198.51.100.1")).await.unwrap();
    }
    let refused = desk.attempt("ann", RIGHT, origin(office)).await;
    assert!(
        matches!(refused, Err(SignInError::Throttled { .. })),
        "six wrong ones came from there: {refused:?}"
    );
    desk.attempt("ann", RIGHT, origin("198.51.100.1")).await.unwrap();
}

#[tokio::test]
async fn an_address_is_one_however_it_is_written_and_a_network_of_64_bits_is_one() {
    let desk = Desk::over(on_sqlite().await, small());
    for (login, address) in ["a", "b", "c", "d", "e", "f"]
        .into_iter()
        .zip(["192.0.2.1", "::ffff:192.0.2.1"].into_iter().cycle())
    {
        assert!(desk.is_counted(login, address).await);
    }
    assert!(!desk.is_counted("g", "::ffff:192.0.2.1").await);
    assert!(desk.is_counted("g", "192.0.2.2").await);
    for (number, login) in ["h", "i", "j", "k", "l", "m"].into_iter().enumerate() {
        assert!(
            desk.is_counted(login, &format!("2001:db8:0:1:{number}::{number}"))
                .await
        );
    }
    assert!(!desk.is_counted("n", "2001:db8:0:1:ffff::1").await);
    assert!(desk.is_counted("n", "2001:db8:0:2::1").await);
    let bans = desk.accounts.bans(None, 10).await.unwrap();
    let who: Vec<_> = bans.iter().map(|ban| ban.who.as_str()).collect();
    assert_eq!(who, ["192.0.2.1", "2001:db8:0:1::/64"]);
    assert_eq!(desk.accounts.lift("2001:db8:0:1::/64", "tests").await.unwrap().len(), 1);
    assert_eq!(desk.accounts.lift("::ffff:192.0.2.1", "tests").await.unwrap().len(), 1);
    assert!(desk.is_counted("o", "2001:db8:0:1::9").await && desk.is_counted("o", "192.0.2.1").await);
}

fn known(user: UserId, number: u8) -> Origin {
    Origin {
        browsers: [UserId(Uuid::from_u128(7)), user]
            .map(|user| KnownBrowser { user, id: [number; 16] })
            .to_vec(),
        ..origin("192.0.2.1")
    }
}

#[tokio::test]
async fn strangers_lock_nobody_out_of_a_browser_in_which_they_signed_in_before() {
    let desk = Desk::over(on_sqlite().await, small());
    let ann = desk.add("ann").await;
    // Strangers use up the account and the very address.
    for login in ["ann", "ann", "ann", "x", "y", "z"] {
        desk.is_counted(login, "192.0.2.1").await;
    }
    let stranger = desk.attempt("ann", RIGHT, origin("192.0.2.1")).await;
    assert!(matches!(stranger, Err(SignInError::Throttled { .. })));
    desk.attempt("ann", RIGHT, known(ann.id, 1)).await.unwrap();
    // It has a limit of its own, which is nobody else's.
    for _ in 0..2 {
        let wrong = desk.attempt("ann", "wrong", known(ann.id, 1)).await;
        assert!(matches!(wrong, Err(SignInError::Wrong)), "{wrong:?}");
    }
    let refused = desk.attempt("ann", RIGHT, known(ann.id, 1)).await;
    assert!(matches!(refused, Err(SignInError::Throttled { .. })), "{refused:?}");
    desk.attempt("ann", RIGHT, known(ann.id, 2)).await.unwrap();
    // A browser that is known to somebody else is a stranger's.
    let other = desk.attempt("ann", RIGHT, known(UserId(Uuid::from_u128(9)), 3)).await;
    assert!(matches!(other, Err(SignInError::Throttled { .. })), "{other:?}");
    let bans = desk.accounts.bans(None, 10).await.unwrap();
    let kinds: Vec<_> = bans.iter().map(|ban| ban.kind.as_str()).collect();
    assert_eq!(kinds, ["account", "address", "browser"]);
    assert_eq!(
        desk.accounts.lift("ANN@example.com", "tests").await.unwrap().len(),
        3,
        "browsers go with the user"
    );
}

#[tokio::test]
async fn a_flood_is_refused_without_asking_the_store() {
    let desk = Desk::over(on_sqlite().await, small());
    desk.add("ann").await;
    for attempt in 0..3 {
        assert!(desk.is_counted("ann", &format!("192.0.2.{attempt}")).await);
    }
    assert!(!desk.is_counted("ann", "192.0.2.9").await);
    desk.opened.store.close().await.unwrap();
    for address in ["192.0.2.9", "192.0.2.10"] {
        assert!(!desk.is_counted("ann", address).await, "refused for all, whoever asks");
    }
    // What is not known to be refused is not let pass without the store, and is no wrong password either.
    let unknown = desk.attempt("bob", RIGHT, origin("192.0.2.9")).await;
    assert!(matches!(unknown, Err(SignInError::Store(_))), "{unknown:?}");
    desk.clock.advance(Duration::from_secs(1));
    let later = desk.attempt("ann", RIGHT, origin("192.0.2.9")).await;
    assert!(
        matches!(later, Err(SignInError::Store(_))),
        "asked again after a second: {later:?}"
    );
}

async fn instances_count_together(opened: Opened) {
    let beside = opened.beside().await;
    let one = Desk::over(opened, small());
    let two = Accounts::new(beside, settings(small()), one.clock.clone());
    one.add("ann").await;
    let on_two = async |password: &str| {
        let origin = origin("198.51.100.7");
        two.sign_in("ann", password.to_owned().into(), origin).await
    };
    assert!(one.is_counted("ann", "192.0.2.1").await);
    assert!(matches!(on_two("wrong").await, Err(SignInError::Wrong)));
    assert!(one.is_counted("ann", "192.0.2.1").await);
    assert!(matches!(on_two(RIGHT).await, Err(SignInError::Throttled { .. })));
    assert!(!one.is_counted("ann", "192.0.2.1").await);
    // Lifted on one, it is lifted on two a second later at most.
    assert_eq!(one.accounts.lift("ann", "tests").await.unwrap().len(), 1);
    one.attempt("ann", RIGHT, origin("192.0.2.1")).await.unwrap();
    one.clock.advance(Duration::from_secs(1));
    on_two(RIGHT).await.unwrap();
}

#[tokio::test]
async fn instances_on_one_postgres_count_together() {
    instances_count_together(on_postgres().await).await;
}

#[tokio::test]
async fn a_command_beside_a_file_counts_with_its_gateway() {
    instances_count_together(on_sqlite().await).await;
}

#[tokio::test]
async fn wrong_tokens_are_counted_and_right_ones_cost_nothing() {
    let desk = Desk::over(on_sqlite().await, small());
    let throttle = desk.accounts.throttle();
    let from = |address: &str| address.parse::<IpAddr>().unwrap();
    let check = async |address: &str, right: bool| throttle.check_token(from(address), || right).await;
    for _ in 0..20 {
        assert!(check("192.0.2.1", true).await.unwrap());
    }
    assert!(!check("192.0.2.1", false).await.unwrap());
    assert!(check("192.0.2.1", true).await.unwrap());
    assert!(!check("192.0.2.1", false).await.unwrap());
    let looked = std::cell::Cell::new(false);
    let refused = throttle.check_token(from("192.0.2.1"), || {
        looked.set(true);
        true
    });
    let Err(ThrottleError::Throttled { retry_after }) = refused.await else {
        panic!("two wrong ones were all")
    };
    assert_eq!(retry_after, MINUTE);
    assert!(!looked.get(), "a token is not looked at any more");
    assert!(check("192.0.2.1", false).await.is_err());
    let told = desk.opened.store.list_events(None, 9).await.unwrap();
    let bans: Vec<_> = told.iter().filter(|event| event.kind == "ban_started").collect();
    let [ban] = &bans[..] else {
        panic!("one ban began: {told:?}")
    };
    assert_eq!(ban.reason.as_deref(), Some("token"));
    assert_eq!(ban.address, Some(from("192.0.2.1")));
    assert!(desk.accounts.bans(None, 9).await.unwrap()[0].since.is_some());
    assert!(check("192.0.2.2", true).await.unwrap());
    desk.clock.advance(retry_after);
    assert!(check("192.0.2.1", true).await.unwrap());
    desk.opened.store.close().await.unwrap();
    let down = check("192.0.2.1", true).await;
    assert!(matches!(down, Err(ThrottleError::Store(_))), "{down:?}");
}

#[tokio::test]
async fn what_has_no_limit_is_not_counted() {
    let none = Rates {
        account: None,
        address: None,
        browser: None,
        registration: None,
        token: None,
    };
    let desk = Desk::over(on_sqlite().await, none);
    desk.add("ann").await;
    for _ in 0..30 {
        assert!(desk.is_counted("ann", "192.0.2.1").await);
    }
    assert!(desk.accounts.lift_all("tests").await.unwrap().is_empty());
}

#[tokio::test]
async fn cells_of_long_ago_are_deleted_along_the_way() {
    let desk = Desk::over(on_sqlite().await, small());
    for number in 0..20 {
        desk.is_counted(&format!("nobody{number}"), &format!("192.0.2.{number}"))
            .await;
    }
    desk.clock.advance(Duration::from_hours(1));
    let kept = async || desk.opened.store.free_at("address:192.0.2.1").await.unwrap().is_some();
    assert!(kept().await);
    let started = std::time::Instant::now();
    desk.is_counted("another", "198.51.100.1").await;
    while kept().await {
        assert!(started.elapsed() < Duration::from_mins(1), "they are kept for ever");
        tokio::task::yield_now().await;
    }
}
