use super::sessions::kinds;
use crate::support::store::{NOON, Opened, add, event, open_session, session, user};
use portcullis::model::{EventKind, NewSession, User, UserId, UserState, Username};
use portcullis::store::{NewUser, StoreError, UserChange};
use secrecy::ExposeSecret;
use std::time::Duration;
use uuid::Uuid;

pub async fn a_user_comes_back_as_they_were_added(opened: &Opened) {
    let ann = user("ann");
    let new = NewUser {
        user: ann.clone(),
        password: Some("$argon2id$hash".to_owned().into()),
    };
    opened.store.add_user(new, event(EventKind::UserAdded)).await.unwrap();
    assert_eq!(opened.store.find_user(&ann.username).await.unwrap(), Some(ann.clone()));
    assert_eq!(opened.store.find_user(&name("nobody")).await.unwrap(), None);
    let credentials = opened.store.find_credentials("ann").await.unwrap().unwrap();
    assert_eq!(credentials.user, ann);
    assert_eq!(credentials.password.unwrap().expose_secret(), "$argon2id$hash");
}

pub async fn a_user_signs_in_with_name_or_address(opened: &Opened) {
    let (ann, bob) = (user("ann"), user("bob@home"));
    add(&*opened.store, &ann).await;
    add(&*opened.store, &bob).await;
    for (login, expected) in [("ann", &ann), ("ann@example.com", &ann), ("bob@home", &bob)] {
        let found = opened.store.find_credentials(login).await.unwrap().unwrap();
        assert_eq!(&found.user, expected, "{login}");
        assert!(found.password.is_none());
    }
    for login in ["", "an", "ANN", "example.com", "ann@example.com "] {
        assert!(
            opened.store.find_credentials(login).await.unwrap().is_none(),
            "{login:?}"
        );
    }
}

pub async fn names_and_addresses_belong_to_one_user_only(opened: &Opened) {
    add(&*opened.store, &user("ann")).await;
    let same_name = with_email("ann", Some("other@example.com"));
    let same_address = with_email("anna", Some("ann@example.com"));
    let name_is_an_address = with_email("ann@example.com", None);
    let address_is_a_name = with_email("berta", Some("bert@home"));
    add(&*opened.store, &with_email("bert@home", None)).await;
    for (taken, what) in [
        (same_name, "the user name"),
        (same_address, "the e-mail address"),
        (name_is_an_address, "the user name"),
        (address_is_a_name, "the e-mail address"),
    ] {
        let refused = try_add(opened, &taken).await;
        assert!(
            matches!(refused, Err(StoreError::Taken(word)) if word == what),
            "{taken:?}: {refused:?}"
        );
    }
    // Two users without an address do not stand in each other's way.
    add(&*opened.store, &with_email("carl", None)).await;
    add(&*opened.store, &with_email("cora", None)).await;
}

pub async fn the_name_of_a_deleted_user_is_never_given_out_again(opened: &Opened) {
    let ann = user("ann");
    add(&*opened.store, &ann).await;
    opened
        .store
        .delete_user(ann.id, event(EventKind::UserDeleted))
        .await
        .unwrap();
    assert!(opened.store.find_user(&ann.username).await.unwrap().is_none());
    let again = try_add(opened, &user("ann")).await;
    assert!(matches!(again, Err(StoreError::Taken("the user name"))), "{again:?}");
    add(&*opened.store, &with_email("anna", ann.email.as_deref())).await;
}

pub async fn a_user_who_was_not_added_leaves_no_event(opened: &Opened) {
    add(&*opened.store, &user("ann")).await;
    assert!(try_add(opened, &user("ann")).await.is_err());
    assert_eq!(kinds(opened, None).await, ["user_added"]);
}

pub async fn users_are_listed_by_name_in_pages(opened: &Opened) {
    for name in ["zoe", "a_b", "ab", "a.b", "a-b", "m9"] {
        add(&*opened.store, &user(name)).await;
    }
    let first = listed(opened, None, None, 4).await;
    assert_eq!(first, ["a-b", "a.b", "a_b", "ab"]);
    assert_eq!(listed(opened, None, Some("ab"), 4).await, ["m9", "zoe"]);
    assert_eq!(listed(opened, Some("b"), Some("a.b"), 1).await, ["a_b"]);
    assert_eq!(listed(opened, Some("zoe@exam"), None, 9).await, ["zoe"]);
}

pub async fn a_search_takes_wildcards_for_letters(opened: &Opened) {
    for name in ["a_b", "acb"] {
        add(&*opened.store, &with_email(name, None)).await;
    }
    assert_eq!(listed(opened, Some("a_b"), None, 9).await, ["a_b"]);
    assert!(listed(opened, Some("%"), None, 9).await.is_empty());
}

pub async fn a_change_leaves_alone_what_it_does_not_name(opened: &Opened) {
    let ann = user("ann");
    let new = NewUser {
        user: ann.clone(),
        password: Some("first".to_owned().into()),
    };
    opened.store.add_user(new, event(EventKind::UserAdded)).await.unwrap();
    let groups = UserChange {
        groups: Some(vec!["crew".to_owned()]),
        ..UserChange::default()
    };
    change(opened, ann.id, groups, EventKind::GroupsChanged).await;
    let password = UserChange {
        password: Some("second".to_owned().into()),
        ..UserChange::default()
    };
    change(opened, ann.id, password, EventKind::PasswordSet).await;
    let found = opened.store.find_credentials("ann").await.unwrap().unwrap();
    assert_eq!(found.password.unwrap().expose_secret(), "second");
    assert_eq!(
        found.user,
        User {
            groups: vec!["crew".to_owned()],
            ..ann
        }
    );
    assert_eq!(
        kinds(opened, None).await,
        ["password_set", "groups_changed", "user_added"]
    );
}

pub async fn groups_are_added_and_removed_from_what_the_user_has_by_then(opened: &Opened) {
    let ann = user("ann");
    add(&*opened.store, &ann).await;
    let grow = |group: &str| UserChange {
        add_groups: vec![group.to_owned(), "staff".to_owned()],
        ..UserChange::default()
    };
    let (one, other) = tokio::join!(
        opened
            .store
            .change_user(ann.id, grow("x"), event(EventKind::GroupsChanged)),
        opened
            .store
            .change_user(ann.id, grow("b"), event(EventKind::GroupsChanged)),
    );
    assert!(one.unwrap().is_empty() && other.unwrap().is_empty());
    let shrink = UserChange {
        remove_groups: vec!["admins".to_owned(), "unknown".to_owned()],
        ..UserChange::default()
    };
    change(opened, ann.id, shrink, EventKind::GroupsChanged).await;
    let found = opened.store.find_user(&ann.username).await.unwrap().unwrap();
    assert_eq!(found.groups, ["b", "staff", "x"]);
}

pub async fn disabling_ends_all_sessions_of_the_user_and_no_other(opened: &Opened) {
    let (ann, bob) = (user("ann"), user("bob"));
    let (first, second, other) = (session(&ann), session(&ann), session(&bob));
    add(&*opened.store, &ann).await;
    add(&*opened.store, &bob).await;
    for session in [&first, &second, &other] {
        open_session(&*opened.store, session).await;
    }
    let disable = UserChange {
        state: Some(UserState::Disabled),
        ..UserChange::default()
    };
    let ended = opened
        .store
        .change_user(ann.id, disable, event(EventKind::UserDisabled))
        .await
        .unwrap();
    assert_eq!(ended.len(), 2);
    assert!(ended.iter().all(|ended| ended.user == ann.id));
    assert!(opened.store.find_session(&first.digest).await.unwrap().is_none());
    assert!(opened.store.find_session(&other.digest).await.unwrap().is_some());
    let disabled = opened.store.find_user(&ann.username).await.unwrap().unwrap();
    assert_eq!(disabled.state, UserState::Disabled);
}

pub async fn a_change_may_end_sessions_and_else_does_not(opened: &Opened) {
    let ann = user("ann");
    let live = session(&ann);
    add(&*opened.store, &ann).await;
    open_session(&*opened.store, &live).await;
    let mut password = UserChange {
        password: Some("new".to_owned().into()),
        ..UserChange::default()
    };
    assert_eq!(
        change(opened, ann.id, password.clone(), EventKind::PasswordSet).await,
        0
    );
    assert!(opened.store.find_session(&live.digest).await.unwrap().is_some());
    password.end_sessions = true;
    assert_eq!(change(opened, ann.id, password, EventKind::PasswordSet).await, 1);
    assert!(opened.store.find_session(&live.digest).await.unwrap().is_none());
}

pub async fn deleting_a_user_ends_their_sessions_and_keeps_the_log(opened: &Opened) {
    let (ann, bob) = (user("ann"), user("bob"));
    let (gone, kept) = (session(&ann), session(&bob));
    add(&*opened.store, &ann).await;
    add(&*opened.store, &bob).await;
    open_session(&*opened.store, &gone).await;
    open_session(&*opened.store, &kept).await;
    let mut deleted = event(EventKind::UserDeleted);
    deleted.user = Some(ann.id);
    let ended = opened.store.delete_user(ann.id, deleted).await.unwrap();
    assert_eq!(
        ended.iter().map(|ended| ended.digest).collect::<Vec<_>>(),
        [gone.digest]
    );
    assert!(opened.store.find_session(&kept.digest).await.unwrap().is_some());
    assert_eq!(opened.store.count(NOON).await.unwrap().users, 1);
    assert_eq!(kinds(opened, Some(ann.id)).await, ["user_deleted"]);
}

pub async fn a_missing_user_is_neither_changed_nor_deleted(opened: &Opened) {
    let nobody = UserId(Uuid::now_v7());
    let changed = opened
        .store
        .change_user(nobody, UserChange::default(), event(EventKind::PasswordSet))
        .await;
    assert!(matches!(changed, Err(StoreError::NoSuchUser)), "{changed:?}");
    let deleted = opened.store.delete_user(nobody, event(EventKind::UserDeleted)).await;
    assert!(matches!(deleted, Err(StoreError::NoSuchUser)), "{deleted:?}");
    assert!(kinds(opened, None).await.is_empty());
}

/// Whatever the order in which the two arrive, a disabled user has no session afterwards.
pub async fn a_disabling_under_way_is_not_overtaken_by_a_log_in(opened: &Opened) {
    for round in 0..10 {
        let ann = user(&format!("ann{round}"));
        add(&*opened.store, &ann).await;
        let disable = UserChange {
            state: Some(UserState::Disabled),
            ..UserChange::default()
        };
        let new = NewSession::of(session(&ann));
        let beside = opened.beside().await;
        let (disabled, _) = tokio::join!(
            opened
                .store
                .change_user(ann.id, disable, event(EventKind::UserDisabled)),
            beside.open_session(new, event(EventKind::LoginSucceeded)),
        );
        disabled.unwrap();
        assert!(
            opened
                .store
                .list_sessions(Some(ann.id), None, 9)
                .await
                .unwrap()
                .is_empty()
        );
    }
}

pub async fn one_of_two_who_add_the_same_name_wins(opened: &Opened) {
    let beside = opened.beside().await;
    for round in 0..10 {
        let name = format!("ann{round}@example.com");
        let (by_name, by_address) = (with_email(&name, None), with_email(&format!("b{round}"), Some(&name)));
        let new = |user: &User| NewUser {
            user: user.clone(),
            password: None,
        };
        let (one, other) = tokio::join!(
            opened.store.add_user(new(&by_name), event(EventKind::UserAdded)),
            beside.add_user(new(&by_address), event(EventKind::UserAdded)),
        );
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        let refused = one.and(other).unwrap_err();
        assert!(matches!(refused, StoreError::Taken(_)), "{refused:?}");
    }
}

fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

fn with_email(name: &str, email: Option<&str>) -> User {
    User {
        email: email.map(str::to_owned),
        created_at: NOON.plus(Duration::from_secs(1)),
        ..user(name)
    }
}

async fn try_add(opened: &Opened, user: &User) -> Result<(), StoreError> {
    let new = NewUser {
        user: user.clone(),
        password: None,
    };
    opened.store.add_user(new, event(EventKind::UserAdded)).await
}

async fn change(opened: &Opened, user: UserId, change: UserChange, kind: EventKind) -> usize {
    opened.store.change_user(user, change, event(kind)).await.unwrap().len()
}

async fn listed(opened: &Opened, search: Option<&str>, after: Option<&str>, limit: u32) -> Vec<String> {
    let after = after.map(name);
    let users = opened.store.list_users(search, after.as_ref(), limit).await.unwrap();
    users.iter().map(|user| user.username.to_string()).collect()
}
