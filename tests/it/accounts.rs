//! Users and passwords over a real store: what a log-in tells, what it costs, what is written down.

use crate::support::store::{Opened, on_sqlite, open_session, session};
use portcullis::account::{
    AccountError, Accounts, ChangeError, HashError, ImportedAccount, NewAccount, Registration, Settings, SignInError,
};
use portcullis::clock::Clock;
use portcullis::model::{User, UserState};
use portcullis::store::{Added, RecordedEvent};
use secrecy::{ExposeSecret, SecretString};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

struct Fixture {
    opened: Opened,
    accounts: Arc<Accounts>,
}

async fn fixture(settings: Settings) -> Fixture {
    let opened = on_sqlite().await;
    let accounts = Accounts::new(Arc::clone(&opened.store), settings, Clock::system());
    Fixture { opened, accounts }
}

fn cheap() -> Settings {
    Settings {
        memory_kib: 64,
        passes: 1,
        at_once: 2,
        queue: 8,
        least_failure_time: Duration::ZERO,
        ..Settings::default()
    }
}

fn secret(text: &str) -> SecretString {
    text.to_owned().into()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Fixture {
    async fn add(&self, name: &str) -> User {
        let new = NewAccount {
            username: name.to_owned(),
            email: Some(format!("{name}@Example.com")),
            name: Some("Ann".to_owned()),
            groups: words(&["staff", "admins"]),
            password: Some(secret("correct horse")),
        };
        self.accounts.add(new, "command").await.unwrap()
    }

    async fn sign_in(&self, login: &str, password: &str) -> Result<User, SignInError> {
        let proven = self.accounts.sign_in(login, secret(password), HERE).await;
        proven.map(|proven| proven.user)
    }

    async fn newest_event(&self) -> RecordedEvent {
        self.opened.store.list_events(None, 1).await.unwrap().remove(0)
    }
}

#[tokio::test]
async fn the_right_password_signs_in_with_name_or_address_in_any_case() {
    let fixture = fixture(cheap()).await;
    let ann = fixture.add("ann").await;
    for login in ["ann", " ANN ", "ann@example.com", "Ann@EXAMPLE.com"] {
        assert_eq!(fixture.sign_in(login, "correct horse").await.unwrap(), ann, "{login}");
    }
    assert_eq!(
        fixture.newest_event().await.kind,
        "user_added",
        "a log-in is written when its session opens"
    );
}

#[tokio::test]
async fn every_failure_looks_the_same_and_is_told_apart_in_the_log_only() {
    let fixture = fixture(cheap()).await;
    let ann = fixture.add("ann").await;
    fixture.add("bob").await;
    fixture.accounts.disable("bob", "command").await.unwrap();
    let no_password = NewAccount {
        username: "carl".to_owned(),
        ..NewAccount::default()
    };
    fixture.accounts.add(no_password, "command").await.unwrap();
    for (login, password, reason, username) in [
        ("ann", "wrong horse", "wrong_password", Some("ann")),
        ("ann@example.com", "", "wrong_password", Some("ann")),
        ("bob", "correct horse", "disabled", Some("bob")),
        ("carl", "", "wrong_password", Some("carl")),
        ("nobody", "correct horse", "unknown_user", None),
        ("k7qm-2zpt-9wcd", "", "unknown_user", None),
        ("", "correct horse", "unknown_user", None),
        ("my secret password", "x", "unknown_user", None),
        ("ann\0", "correct horse", "unknown_user", None),
        (&"a".repeat(300), "x", "unknown_user", None),
    ] {
        let refused = fixture.sign_in(login, password).await;
        assert!(matches!(refused, Err(SignInError::Wrong)), "{login:?}: {refused:?}");
        let event = fixture.newest_event().await;
        assert_eq!(
            (event.kind.as_str(), event.reason.as_deref()),
            ("login_failed", Some(reason)),
            "{login:?}"
        );
        assert_eq!(
            (event.username.as_deref(), event.address),
            (username, Some(HERE)),
            "{login:?}"
        );
    }
    let of_ann = fixture.opened.store.list_events(Some(ann.id), 9).await.unwrap();
    assert_eq!(of_ann.len(), 3);
    let long = "x".repeat(2000);
    assert!(matches!(fixture.sign_in("ann", &long).await, Err(SignInError::Wrong)));
}

#[tokio::test]
async fn a_failure_is_not_answered_before_its_time_and_a_success_is_not_held_back() {
    let slow = Settings {
        least_failure_time: Duration::from_secs(4),
        ..cheap()
    };
    let fixture = fixture(slow).await;
    fixture.add("ann").await;
    for (login, password) in [("ann", "wrong horse"), ("nobody", "wrong horse")] {
        let start = Instant::now();
        assert!(fixture.sign_in(login, password).await.is_err());
        assert!(start.elapsed() >= Duration::from_secs(4));
    }
    let start = Instant::now();
    fixture.sign_in("ann", "correct horse").await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

/// Without the work for unknown users they would be answered a hundred times sooner.
#[tokio::test]
async fn an_unknown_user_costs_as_much_as_a_known_one() {
    let dear = Settings {
        memory_kib: 32 * 1024,
        passes: 4,
        ..cheap()
    };
    let fixture = fixture(dear).await;
    fixture.add("ann").await;
    let mut known = Duration::MAX;
    let mut unknown = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        assert!(fixture.sign_in("ann", "wrong horse").await.is_err());
        known = known.min(start.elapsed());
        let start = Instant::now();
        assert!(fixture.sign_in("nobody", "wrong horse").await.is_err());
        unknown = unknown.min(start.elapsed());
    }
    assert!(unknown > known / 3, "known {known:?}, unknown {unknown:?}");
}

#[tokio::test]
async fn log_ins_that_find_no_place_are_told_so() {
    let tight = Settings {
        memory_kib: 64 * 1024,
        passes: 4,
        at_once: 1,
        queue: 1,
        ..cheap()
    };
    let fixture = fixture(tight).await;
    let attempts = (0..6).map(|_| fixture.sign_in("nobody", "x"));
    let outcomes = futures_util::future::join_all(attempts).await;
    let busy = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(SignInError::Busy)))
        .count();
    assert_eq!((outcomes.len(), busy), (6, 4), "{outcomes:?}");
}

#[tokio::test]
async fn a_visitor_who_goes_away_does_not_go_unrecorded() {
    let fixture = fixture(cheap()).await;
    let leaving = fixture.sign_in("nobody", "x");
    drop(tokio::time::timeout(Duration::ZERO, leaving).await);
    let start = Instant::now();
    while fixture.opened.store.list_events(None, 1).await.unwrap().is_empty() {
        assert!(start.elapsed() < Duration::from_mins(1), "nothing was written");
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.newest_event().await.kind, "login_failed");
}

#[tokio::test]
async fn an_outage_is_not_a_wrong_password() {
    let fixture = fixture(cheap()).await;
    fixture.add("ann").await;
    fixture.opened.store.close().await.unwrap();
    let asked = fixture.sign_in("ann", "correct horse").await;
    assert!(matches!(asked, Err(SignInError::Store(_))), "{asked:?}");
}

#[tokio::test]
async fn a_new_password_ends_the_sessions_and_the_old_one_no_longer_holds() {
    let fixture = fixture(cheap()).await;
    let ann = fixture.add("ann").await;
    let live = session(&ann);
    open_session(&*fixture.opened.store, &live).await;
    let short = fixture.accounts.set_password("ann", secret("short"), "command").await;
    assert!(matches!(short, Err(AccountError::ShortPassword)), "{short:?}");
    let ended = fixture
        .accounts
        .set_password("ann", secret("battery staple"), "command")
        .await
        .unwrap();
    assert_eq!(
        ended.iter().map(|ended| ended.digest).collect::<Vec<_>>(),
        [live.digest]
    );
    assert!(fixture.sign_in("ann", "correct horse").await.is_err());
    assert!(fixture.sign_in("ann", "battery staple").await.is_ok());
}

#[tokio::test]
async fn a_disabled_user_has_no_session_until_they_are_enabled_again() {
    let fixture = fixture(cheap()).await;
    let ann = fixture.add("ann").await;
    open_session(&*fixture.opened.store, &session(&ann)).await;
    assert_eq!(fixture.accounts.disable("ann", "root").await.unwrap().len(), 1);
    let event = fixture.newest_event().await;
    assert_eq!((event.kind.as_str(), event.actor.as_str()), ("user_disabled", "root"));
    assert_eq!(
        fixture.accounts.find("ann").await.unwrap().unwrap().state,
        UserState::Disabled
    );
    assert!(fixture.accounts.enable("ann", "root").await.unwrap().is_empty());
    assert!(fixture.sign_in("ann", "correct horse").await.is_ok());
}

#[tokio::test]
async fn a_deleted_user_is_gone_with_their_name() {
    let fixture = fixture(cheap()).await;
    let ann = fixture.add("ann").await;
    open_session(&*fixture.opened.store, &session(&ann)).await;
    assert_eq!(fixture.accounts.delete("ann", "command").await.unwrap().len(), 1);
    assert!(fixture.accounts.find("ann").await.unwrap().is_none());
    let again = NewAccount {
        username: "ann".to_owned(),
        ..NewAccount::default()
    };
    let refused = fixture.accounts.add(again, "command").await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the user name is already taken; names of deleted users are not given out again"
    );
    let missing = fixture.accounts.delete("ann", "command").await.unwrap_err();
    assert_eq!(missing.to_string(), "there is no user ann");
}

#[tokio::test]
async fn groups_are_added_and_removed_one_by_one() {
    let fixture = fixture(cheap()).await;
    fixture.add("ann").await;
    fixture
        .accounts
        .add_groups("ann", &words(&["crew", "staff"]), "command")
        .await
        .unwrap();
    fixture
        .accounts
        .remove_groups("ann", &words(&["admins", "unknown"]), "command")
        .await
        .unwrap();
    let ann = fixture.accounts.find("ann").await.unwrap().unwrap();
    assert_eq!(ann.groups, ["crew", "staff"]);
    let comma = fixture.accounts.add_groups("ann", &words(&["a,b"]), "command").await;
    assert!(matches!(comma, Err(AccountError::Group(_))), "{comma:?}");
    let many: Vec<_> = (0..63).map(|number| format!("g{number}")).collect();
    let many = fixture.accounts.add_groups("ann", &many, "command").await;
    assert!(matches!(many, Err(AccountError::TooManyGroups)), "{many:?}");
}

#[tokio::test]
async fn users_are_found_by_a_part_of_their_words_in_any_case() {
    let fixture = fixture(cheap()).await;
    for name in ["ann", "anna", "bob"] {
        fixture.add(name).await;
    }
    let names = |users: Vec<User>| users.iter().map(|user| user.username.to_string()).collect::<Vec<_>>();
    let found = fixture.accounts.list(Some(" ANN"), None, 9).await.unwrap();
    let after = found[0].username.clone();
    assert_eq!(names(found), ["ann", "anna"]);
    assert_eq!(
        names(fixture.accounts.list(None, Some(&after), 1).await.unwrap()),
        ["anna"]
    );
    assert!(fixture.accounts.list(Some("\0"), None, 9).await.unwrap().is_empty());
    assert!(fixture.accounts.find("Not A Name").await.unwrap().is_none());
}

/// bcryptjs 3.0, Django 5.2, Werkzeug 3.1: what stood in their databases for `Grüße, 42 Türme`.
const IMPORTED: [(&str, &str); 3] = [
    ("node", "$2b$04$CMQDxgiyBNTzICCbEbcH6.K3zJjt0D8itb1eBpMU2Z2tmxyETWO1m"),
    (
        "django",
        "pbkdf2_sha256$1000$NaClNaClNaCl1x$dce8H7yIVM2yV0xmqe1esrEisE1wnxMeVsxJxG102N0=",
    ),
    (
        "flask",
        "scrypt:128:8:1$QzjKJ026vdGZ7xXk$7d1aba8f358f8fc721f7e5fc8b6539ba695ec78622fabdd192e308624226c082024d0f902935f07a35\
         fd85492f02fac5d83a6f955b7ecd835a7f15384e0756b3",
    ),
];
const IMPORTED_PASSWORD: &str = "Grüße, 42 Türme";

fn imported(username: &str, hash: Option<&str>) -> ImportedAccount {
    ImportedAccount {
        username: username.to_owned(),
        email: None,
        email_verified: false,
        name: None,
        groups: words(&["staff"]),
        state: UserState::Active,
        password_hash: hash.map(secret),
        created_at: None,
    }
}

impl Fixture {
    async fn import(&self, account: ImportedAccount) -> Added {
        let ready = self.accounts.ready(account, "command").unwrap();
        self.accounts.import(vec![ready], false).await.unwrap().remove(0)
    }

    async fn stored(&self, login: &str) -> String {
        let found = self.opened.store.find_credentials(login).await.unwrap().unwrap();
        found.password.unwrap().expose_secret().to_owned()
    }

    async fn kinds(&self) -> Vec<String> {
        let events = self.opened.store.list_events(None, 99).await.unwrap();
        events.into_iter().map(|event| event.kind).collect()
    }
}

#[tokio::test]
async fn an_imported_hash_is_verified_and_replaced_by_ours_at_the_next_log_in() {
    let fixture = fixture(cheap()).await;
    for (name, hash) in IMPORTED {
        assert_eq!(fixture.import(imported(name, Some(hash))).await, Added::Done);
        let added = fixture.newest_event().await;
        assert_eq!(
            (added.kind.as_str(), added.reason.as_deref()),
            ("user_added", Some("imported"))
        );
        assert!(fixture.sign_in(name, "Grüße, 42 Turme").await.is_err());
        assert_eq!(
            fixture.stored(name).await,
            hash,
            "{name}: a wrong password replaces nothing"
        );
        let live = session(&fixture.accounts.find(name).await.unwrap().unwrap());
        open_session(&*fixture.opened.store, &live).await;
        fixture.sign_in(name, IMPORTED_PASSWORD).await.unwrap();
        let ours = fixture.stored(name).await;
        assert!(ours.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{name}: {ours}");
        let event = fixture.newest_event().await;
        assert_eq!(
            (event.kind.as_str(), event.actor.as_str(), event.username.as_deref()),
            ("password_upgraded", "system", Some(name))
        );
        fixture.sign_in(name, IMPORTED_PASSWORD).await.unwrap();
        assert_eq!(fixture.stored(name).await, ours, "once is enough");
        let kept = fixture.opened.store.find_session(&live.digest).await.unwrap();
        assert!(kept.is_some(), "nobody is signed out by it");
    }
}

/// Both proved the old hash; one of them finds that the other has replaced it.
#[tokio::test]
async fn two_log_ins_at_once_of_an_imported_user_both_hold() {
    for _ in 0..5 {
        let fixture = fixture(cheap()).await;
        let (name, hash) = IMPORTED[0];
        fixture.import(imported(name, Some(hash))).await;
        let sign_in = || fixture.accounts.sign_in(name, secret(IMPORTED_PASSWORD), HERE);
        let (one, other) = tokio::join!(sign_in(), sign_in());
        let stored = fixture.stored(name).await;
        for proven in [one.unwrap(), other.unwrap()] {
            assert_eq!(
                proven.proof.expose_secret(),
                stored,
                "what was proven is what stands there"
            );
        }
        let upgraded = fixture
            .kinds()
            .await
            .into_iter()
            .filter(|kind| kind == "password_upgraded")
            .count();
        assert_eq!(upgraded, 1);
    }
}

#[tokio::test]
async fn a_disabled_user_who_was_imported_gets_no_new_hash() {
    let fixture = fixture(cheap()).await;
    let (name, hash) = IMPORTED[0];
    let disabled = ImportedAccount {
        state: UserState::Disabled,
        ..imported(name, Some(hash))
    };
    fixture.import(disabled).await;
    assert!(fixture.sign_in(name, IMPORTED_PASSWORD).await.is_err());
    assert_eq!(fixture.stored(name).await, hash);
    assert_eq!(fixture.newest_event().await.reason.as_deref(), Some("disabled"));
}

/// The first 72 bytes pass, because the whole password must; what is behind them is unknown and stays so.
#[tokio::test]
async fn a_password_that_bcrypt_cut_is_never_made_the_users_own() {
    let fixture = fixture(cheap()).await;
    let hash = "$2b$04$IrCaD0nWUt4OcHtwUsDpNOFGZOzWFURpiVtEbSU.EPgY5UnqYF.XG";
    fixture.import(imported("node", Some(hash))).await;
    let whole = format!("{}tail", "x".repeat(72));
    for typed in ["x".repeat(72), format!("{}other", "x".repeat(72)), whole.clone()] {
        fixture.sign_in("node", &typed).await.unwrap();
        assert_eq!(fixture.stored("node").await, hash);
    }
    assert!(fixture.sign_in("node", &"x".repeat(71)).await.is_err());
    let user = fixture.accounts.find("node").await.unwrap().unwrap();
    let changed = fixture
        .accounts
        .prepare_change(&user, secret(&whole), secret("several new words"), HERE)
        .await
        .unwrap();
    assert_eq!(changed.before.expose_secret(), hash);
    assert!(changed.after.expose_secret().starts_with("$argon2id$"));
}

#[tokio::test]
async fn what_cannot_be_checked_is_not_imported() {
    let fixture = fixture(cheap()).await;
    for (hash, error) in [
        ("plain text", HashError::Unknown),
        ("$2b$04$short", HashError::Damaged),
        ("pbkdf2_sha256$1000$salt$", HashError::Damaged),
    ] {
        let refused = fixture
            .accounts
            .ready(imported("ann", Some(hash)), "command")
            .err()
            .unwrap();
        assert!(
            matches!(refused, AccountError::Hash(found) if found == error),
            "{hash}: {refused:?}"
        );
        assert!(!refused.to_string().contains(hash));
    }
    let dear = "$2b$31$CMQDxgiyBNTzICCbEbcH6.K3zJjt0D8itb1eBpMU2Z2tmxyETWO1m";
    let refused = fixture
        .accounts
        .ready(imported("ann", Some(dear)), "command")
        .err()
        .unwrap();
    assert!(
        refused.to_string().contains("bcrypt with a cost of more than 15"),
        "{refused}"
    );
    for name in ["system", "Ann", "a b"] {
        assert!(
            fixture.accounts.ready(imported(name, None), "command").is_err(),
            "{name}"
        );
    }
    assert_eq!(fixture.import(imported("ann", None)).await, Added::Done);
    assert_eq!(
        fixture.import(imported("ann", None)).await,
        Added::Taken("the user name")
    );
    assert!(fixture.sign_in("ann", "").await.is_err());
}

#[tokio::test]
async fn a_change_of_password_needs_the_current_one_and_a_fit_new_one() {
    let fixture = fixture(cheap()).await;
    let ann = fixture.add("ann").await;
    let prepare = async |current: &str, new: &str| {
        let (current, new) = (secret(current), secret(new));
        fixture.accounts.prepare_change(&ann, current, new, HERE).await
    };
    let wrong = prepare("wrong horse", "several new words").await;
    assert!(
        matches!(wrong, Err(ChangeError::Current(SignInError::Wrong))),
        "{wrong:?}"
    );
    let event = fixture.newest_event().await;
    assert_eq!(
        (event.kind.as_str(), event.reason.as_deref(), event.address),
        ("login_failed", Some("wrong_current_password"), Some(HERE))
    );
    let short = prepare("correct horse", "short").await;
    assert!(
        matches!(short, Err(ChangeError::New(AccountError::ShortPassword))),
        "{short:?}"
    );
    let same = prepare("correct horse", "correct horse").await;
    assert!(
        matches!(same, Err(ChangeError::New(AccountError::SamePassword))),
        "{same:?}"
    );
    let own = prepare("correct horse", "Ann@example.com").await;
    assert!(
        matches!(own, Err(ChangeError::New(AccountError::OwnPassword))),
        "{own:?}"
    );
    assert!(prepare("correct horse", "several new words").await.is_ok());
    // Nothing of this is stored until the sessions are ended with it.
    assert!(fixture.sign_in("ann", "correct horse").await.is_ok());
}

#[tokio::test]
async fn passwords_are_the_bytes_that_were_typed() {
    let fixture = fixture(cheap()).await;
    fixture.add("ann").await;
    let composed = "  Grüße an Ann ";
    fixture
        .accounts
        .set_password("ann", secret(composed), "command")
        .await
        .unwrap();
    assert!(fixture.sign_in("ann", composed).await.is_ok());
    for other in [
        composed.trim(),
        "  Gru\u{308}ße an Ann ",
        "  GRÜSSE AN ANN ",
        "  Grüsse an Ann ",
    ] {
        assert!(fixture.sign_in("ann", other).await.is_err(), "{other:?}");
    }
}

#[tokio::test]
async fn who_registers_is_in_one_group_and_claims_an_address_only() {
    let fixture = fixture(cheap()).await;
    fixture.add("ann").await;
    let register = async |username: &str, email: &str| {
        let new = Registration {
            username: username.to_owned(),
            email: Some(email.to_owned()),
            name: None,
            password: secret("several new words"),
        };
        fixture.accounts.register(new, HERE).await
    };
    register("eve", "Eve@Example.com").await.unwrap();
    let eve = fixture.accounts.find("eve").await.unwrap().unwrap();
    assert_eq!(
        (eve.groups.as_slice(), eve.email_verified),
        (&["registered".to_owned()][..], false)
    );
    assert!(fixture.sign_in("eve", "several new words").await.is_ok());
    assert!(fixture.sign_in("eve@example.com", "several new words").await.is_err());
    // That somebody has an address is not told, neither by the answer nor by what is kept.
    let mallory = register("mallory", "ann@example.com").await.unwrap();
    assert_eq!(mallory.email.as_deref(), Some("ann@example.com"));
    let kept = fixture.accounts.find("mallory").await.unwrap().unwrap();
    assert_eq!(kept.email, None);
    let taken = register("ann", "x@example.com").await;
    assert!(matches!(taken, Err(AccountError::Taken("the user name"))), "{taken:?}");
    for (name, email) in [
        ("system", "x@example.com"),
        ("boss@example.com", "x@example.com"),
        ("frank", "x"),
    ] {
        assert!(register(name, email).await.is_err(), "{name}");
    }
    let added = fixture
        .kinds()
        .await
        .into_iter()
        .filter(|kind| kind == "user_added")
        .count();
    assert_eq!(added, 3);
}

/// Applications would be told of a stranger as of somebody whom one of them knows.
#[tokio::test]
async fn a_name_that_a_user_of_an_application_has_here_is_nobodys_to_choose() {
    let promised = words(&["ann"]);
    let fixture = fixture(Settings { promised, ..cheap() }).await;
    let new = |username: &str| Registration {
        username: username.to_owned(),
        email: None,
        name: None,
        password: secret("several new words"),
    };
    for name in ["ann", " ann "] {
        let refused = fixture.accounts.register(new(name), HERE).await;
        assert!(
            matches!(refused, Err(AccountError::Taken("the user name"))),
            "{refused:?}"
        );
    }
    assert!(fixture.accounts.register(new("anna"), HERE).await.is_ok());
    // An operator can give it.
    fixture.add("ann").await;
}

#[tokio::test]
async fn nobody_is_called_like_an_actor_of_the_log() {
    let fixture = fixture(cheap()).await;
    for username in ["system", "command", "admin-token-user"] {
        let new = NewAccount {
            username: username.to_owned(),
            ..NewAccount::default()
        };
        let refused = fixture.accounts.add(new, "command").await;
        assert!(
            matches!(refused, Err(AccountError::Reserved(_))),
            "{username}: {refused:?}"
        );
    }
}
