use super::sessions::kinds;
use crate::support::store::{Opened, add, event, open_session, session, user};
use portcullis::model::{Event, EventKind, NewSession, Session, User, UserState};
use portcullis::store::{Added, Ended, NewUser, PasswordChange, StoreError, UserChange};
use secrecy::{ExposeSecret, SecretString};

fn secret(text: &str) -> SecretString {
    text.to_owned().into()
}

async fn with_password(opened: &Opened, name: &str) -> User {
    let user = user(name);
    let new = NewUser {
        user: user.clone(),
        password: Some(secret("first")),
    };
    opened.store.add_user(new, event(EventKind::UserAdded)).await.unwrap();
    user
}

async fn stored(opened: &Opened, user: &User) -> String {
    let found = opened.store.find_credentials(user.username.as_str()).await.unwrap();
    found.unwrap().password.unwrap().expose_secret().to_owned()
}

async fn replace(opened: &Opened, user: &User, before: &str, after: &str) -> bool {
    let upgraded = event(EventKind::PasswordUpgraded);
    let replaced = opened
        .store
        .replace_password(user.id, secret(before), secret(after), upgraded)
        .await;
    replaced.unwrap()
}

async fn change(opened: &Opened, new: NewSession, before: &str, after: &str) -> Option<Vec<Ended>> {
    let change = PasswordChange {
        before: secret(before),
        after: secret(after),
    };
    let changed = event(EventKind::PasswordChanged);
    opened.store.change_password(new, change, changed).await.unwrap()
}

pub async fn a_password_is_replaced_only_where_the_proven_one_still_stands(opened: &Opened) {
    let (ann, bob) = (with_password(opened, "ann").await, with_password(opened, "bob").await);
    assert!(!replace(opened, &ann, "other", "second").await);
    assert!(replace(opened, &ann, "first", "second").await);
    assert!(!replace(opened, &ann, "first", "third").await);
    assert_eq!(
        (stored(opened, &ann).await, stored(opened, &bob).await),
        ("second".into(), "first".into())
    );
    let disable = UserChange {
        state: Some(UserState::Disabled),
        ..UserChange::default()
    };
    let disabled = event(EventKind::UserDisabled);
    opened.store.change_user(bob.id, disable, disabled).await.unwrap();
    assert!(!replace(opened, &bob, "first", "second").await);
    assert_eq!(
        kinds(opened, None).await,
        ["user_disabled", "password_upgraded", "user_added", "user_added"],
        "what was not done is not written down"
    );
}

pub async fn a_change_of_password_ends_every_session_and_opens_one(opened: &Opened) {
    let (ann, bob) = (with_password(opened, "ann").await, with_password(opened, "bob").await);
    let (mut here, there, of_bob) = (session(&ann), session(&ann), session(&bob));
    here.data = Some(serde_json::json!({"cart": 3}));
    for one in [&here, &there, &of_bob] {
        open_session(&*opened.store, one).await;
    }
    let new = session(&ann);
    let replacing = NewSession {
        replaces: Some(here.digest),
        ..NewSession::of(new.clone())
    };
    let mut ended = change(opened, replacing, "first", "second").await.unwrap();
    ended.sort_by_key(|one| one.public_id);
    assert_eq!(
        ended.iter().map(|one| one.digest).collect::<Vec<_>>(),
        [here.digest, there.digest]
    );
    assert_eq!(
        (stored(opened, &ann).await, stored(opened, &bob).await),
        ("second".into(), "first".into())
    );
    let found = opened.store.find_session(&new.digest).await.unwrap().unwrap();
    assert_eq!(found.session, Session { data: here.data, ..new });
    assert!(opened.store.find_session(&of_bob.digest).await.unwrap().is_some());
    assert_eq!(kinds(opened, None).await[0], "password_changed");
}

pub async fn a_change_of_password_that_comes_too_late_does_nothing(opened: &Opened) {
    let ann = with_password(opened, "ann").await;
    let here = session(&ann);
    open_session(&*opened.store, &here).await;
    let before = kinds(opened, None).await;
    let late = NewSession {
        replaces: Some(here.digest),
        ..NewSession::of(session(&ann))
    };
    assert!(change(opened, late.clone(), "zeroth", "second").await.is_none());
    assert_eq!(stored(opened, &ann).await, "first");
    assert!(opened.store.find_session(&here.digest).await.unwrap().is_some());
    assert!(opened.store.find_session(&late.session.digest).await.unwrap().is_none());
    assert_eq!(kinds(opened, None).await, before);
}

/// A log-in that was proven before a change must not open a session behind it.
pub async fn nobody_signs_in_with_a_password_that_was_changed_meanwhile(opened: &Opened) {
    let ann = with_password(opened, "ann").await;
    let proven = |hash: &str| NewSession {
        proven: Some(secret(hash)),
        ..NewSession::of(session(&ann))
    };
    let sign_in = async |new: NewSession| opened.store.open_session(new, event(EventKind::LoginSucceeded)).await;
    assert!(sign_in(proven("first")).await.is_ok());
    let change_of_hers = NewSession::of(session(&ann));
    assert!(change(opened, change_of_hers, "first", "second").await.is_some());
    let late = sign_in(proven("first")).await;
    assert!(matches!(late, Err(StoreError::NoSuchUser)), "{late:?}");
    let left = opened.store.list_sessions(Some(ann.id), None, 9).await.unwrap();
    assert_eq!(left.len(), 1, "only the one that the change opened");
    assert!(sign_in(proven("second")).await.is_ok());
    assert!(
        sign_in(NewSession::of(session(&ann))).await.is_ok(),
        "where no password was proven, none is asked for"
    );
}

pub async fn of_two_changes_of_a_password_one_wins(opened: &Opened) {
    for round in 0..10 {
        let ann = with_password(opened, &format!("ann{round}")).await;
        let one = NewSession::of(session(&ann));
        let other = NewSession::of(session(&ann));
        let (first, second) = tokio::join!(
            change(opened, one.clone(), "first", "second"),
            change(opened, other.clone(), "first", "third"),
        );
        let (winner, word) = match (&first, &second) {
            (Some(_), None) => (one, "second"),
            (None, Some(_)) => (other, "third"),
            both => panic!("{both:?}"),
        };
        assert_eq!(stored(opened, &ann).await, word);
        let left = opened.store.list_sessions(Some(ann.id), None, 9).await.unwrap();
        assert_eq!(
            left.iter().map(|found| found.session.digest).collect::<Vec<_>>(),
            [winner.session.digest]
        );
    }
}

async fn try_add(opened: &Opened, name: &str, email: &str, verified: bool) -> Result<Option<String>, StoreError> {
    let mut new = user(name);
    (new.email, new.email_verified) = (Some(email.to_owned()), verified);
    let username = new.username.clone();
    let new = NewUser {
        user: new,
        password: None,
    };
    opened.store.add_user(new, event(EventKind::UserAdded)).await?;
    Ok(opened.store.find_user(&username).await?.unwrap().email)
}

/// Else anybody who registers could keep others from their own addresses, and learn who has an account.
pub async fn an_address_that_nobody_verified_is_only_a_claim(opened: &Opened) {
    add(&*opened.store, &user("ann")).await;
    // Somebody else's address is left out, and nothing is said.
    assert_eq!(
        try_add(opened, "mallory", "ann@example.com", false).await.unwrap(),
        None
    );
    assert_eq!(try_add(opened, "mallory2", "ann", false).await.unwrap(), None);
    let claimed = Some("boss@example.com".to_owned());
    assert_eq!(
        try_add(opened, "mallory3", "boss@example.com", false).await.unwrap(),
        claimed
    );
    assert_eq!(
        try_add(opened, "mallory4", "boss@example.com", false).await.unwrap(),
        None
    );
    let found = opened.store.find_credentials("boss@example.com").await.unwrap();
    assert!(found.is_none(), "a claim signs nobody in");
    // Who has the address for certain gets it.
    assert_eq!(
        try_add(opened, "boss", "boss@example.com", true).await.unwrap(),
        claimed
    );
    let found = opened
        .store
        .find_credentials("boss@example.com")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.user.username.as_str(), "boss");
    let again = try_add(opened, "boss2", "boss@example.com", true).await;
    assert!(
        matches!(again, Err(StoreError::Taken("the e-mail address"))),
        "{again:?}"
    );
    // And a claim keeps nobody from a name.
    try_add(opened, "mallory5", "chief@example.com", false).await.unwrap();
    assert_eq!(
        try_add(opened, "chief@example.com", "chief@example.com", true)
            .await
            .unwrap()
            .as_deref(),
        Some("chief@example.com")
    );
    let mallory = opened.store.list_users(Some("mallory"), None, 9).await.unwrap();
    assert!(mallory.iter().all(|user| user.email.is_none()), "{mallory:?}");
}

fn new(name: &str, email: Option<&str>) -> (NewUser, Event) {
    let mut user = user(name);
    user.email = email.map(str::to_owned);
    let new = NewUser {
        user,
        password: Some(secret("hash")),
    };
    (new, event(EventKind::UserAdded))
}

pub async fn many_users_are_added_at_once_and_each_is_told(opened: &Opened) {
    add(&*opened.store, &user("ann")).await;
    let users = vec![
        new("bob", Some("bob@example.com")),
        new("ann", None),
        new("cyd", Some("ann@example.com")),
        new("dan", Some("bob@example.com")),
        new("bob", None),
        new("eve", None),
    ];
    let added = opened.store.add_users(users, false).await.unwrap();
    let (name, address) = (Added::Taken("the user name"), Added::Taken("the e-mail address"));
    assert_eq!(added, [Added::Done, name, address, address, name, Added::Done]);
    assert_eq!(kinds(opened, None).await, ["user_added"; 3]);
    assert!(
        opened
            .store
            .find_credentials("eve")
            .await
            .unwrap()
            .unwrap()
            .password
            .is_some()
    );
}

pub async fn a_dry_run_adds_nobody(opened: &Opened) {
    add(&*opened.store, &user("ann")).await;
    let users = vec![new("bob", Some("bob@example.com")), new("ann", None)];
    let added = opened.store.add_users(users, true).await.unwrap();
    assert_eq!(added, [Added::Done, Added::Taken("the user name")]);
    assert_eq!(kinds(opened, None).await, ["user_added"]);
    assert!(opened.store.find_credentials("bob").await.unwrap().is_none());
}
