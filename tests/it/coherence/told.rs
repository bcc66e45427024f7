//! What the triggers tell, to whom it may concern: who listens on the channel.

use crate::support::postgres::Postgres;
use crate::support::store::{Opened, add, event, on_postgres, postgres_settings, session, user};
use portcullis::model::{Digest, EventKind, User, UserId};
use portcullis::store::{Beat, BeatKey, FeedMessage, Place, Settings, Subscription, SweepScope, Touch, Touched, Which};
use secrecy::ExposeSecret;
use std::collections::HashSet;
use std::time::Duration;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(30);

struct Listener {
    opened: Opened,
    ears: Box<dyn Subscription>,
    schema: String,
}

impl Listener {
    async fn start() -> Self {
        Self::over(on_postgres().await).await
    }

    async fn over(opened: Opened) -> Self {
        let ears = opened.store.listen().await.unwrap().expect("Postgres has a feed");
        let Place::Postgres { schema, .. } = &opened.settings.place else {
            panic!("not Postgres")
        };
        let schema = schema.replace('"', "\"\"");
        Self { opened, ears, schema }
    }

    fn url(&self) -> String {
        let Place::Postgres { url, .. } = &self.opened.settings.place else {
            panic!("not Postgres")
        };
        url.expose_secret().to_owned()
    }

    fn sql(&self, sql: &str) -> String {
        let sql = format!("SET search_path TO \"{}\"; {sql}", self.schema);
        Postgres::shared().sql(&self.url(), &sql)
    }

    /// All that was told so far: up to a heartbeat that is sent now.
    async fn told(&mut self) -> Vec<FeedMessage> {
        let key = BeatKey::new([7; 32]);
        assert_eq!(self.opened.store.beat(key.clone()).await.unwrap(), Beat::Sent);
        let mut told = Vec::new();
        loop {
            let message = tokio::time::timeout(PATIENCE, self.ears.next()).await.unwrap().unwrap();
            if let FeedMessage::Beat(beat) = message {
                let sent = beat
                    .sent(std::slice::from_ref(&key))
                    .expect("sealed as the gateway seals");
                let now = self.opened.store.now().await.unwrap();
                assert!(now.since(sent) < PATIENCE && now >= sent, "{sent:?}");
                return told;
            }
            told.push(message);
        }
    }

    /// Rows of sessions, `each` of them for each of `users` users; an expression tells when they end.
    async fn sessions(&mut self, users: u32, each: u32, ends: &str) -> Vec<Digest> {
        self.sql(&format!(
            "INSERT INTO users (id, created_at, email_verified, state, username, groups)
             SELECT gen_random_uuid(), now(), false, 'active', 'user-' || gen_random_uuid(), '{{}}'
             FROM generate_series(1, {users});
             INSERT INTO sessions (digest, public_id, user_id, created_at, authenticated_at, last_seen_at, expires_at,
                ends_at, sweep_at, remembered, methods)
             SELECT sha256(gen_random_uuid()::text::bytea), gen_random_uuid(), id, t - interval '1 day', t, t - interval '1 day',
                {ends}, {ends} + interval '7d', date_trunc('hour', {ends}), false, 'pwd'
             FROM users, generate_series(1, {each}) n, (SELECT now() AS t) t
             WHERE NOT EXISTS (SELECT 1 FROM sessions s WHERE s.user_id = users.id)"
        ));
        assert_eq!(self.told().await, [], "who signs in is news to nobody");
        self.digests()
    }

    fn digests(&self) -> Vec<Digest> {
        let text = self.sql("SELECT encode(digest, 'hex') FROM sessions ORDER BY digest");
        let digest = |line: &str| Digest(hex::decode(line).unwrap().try_into().unwrap());
        text.lines().map(digest).collect()
    }
}

const LIVE: &str = "t + interval '12h'";

fn sessions(told: &[FeedMessage]) -> Vec<Digest> {
    let digests = |message: &FeedMessage| match message {
        FeedMessage::Sessions(digests) => digests.clone(),
        other => panic!("{other:?}"),
    };
    told.iter().flat_map(digests).collect()
}

fn set<T: Eq + std::hash::Hash>(list: impl IntoIterator<Item = T>) -> HashSet<T> {
    list.into_iter().collect()
}

#[tokio::test]
async fn ten_thousand_touches_tell_nothing() {
    let mut listener = Listener::start().await;
    let digests = listener.sessions(10, 1_000, LIVE).await;
    let now = listener.opened.store.now().await.unwrap();
    let (mut written, hour) = (0, Duration::from_hours(1));
    for batch in digests.chunks(500) {
        let touch = |digest: &Digest| Touch {
            digest: *digest,
            seen_at: now,
            expires_at: now.plus(13 * hour),
            known_end: now,
            address: None,
        };
        let touches: Vec<Touch> = batch.iter().map(touch).collect();
        let outcome = listener.opened.store.touch_sessions(&touches, hour).await.unwrap();
        written += outcome.iter().filter(|one| **one == Touched::Written).count();
    }
    assert_eq!(written, 10_000);
    assert_eq!(listener.told().await, []);
}

#[tokio::test]
async fn sweeping_tells_nothing() {
    let mut listener = Listener::start().await;
    listener.sessions(5, 300, "t - interval '2h'").await;
    let now = listener.opened.store.now().await.unwrap();
    let swept = listener
        .opened
        .store
        .sweep_sessions(SweepScope::All, now, 1_000)
        .await
        .unwrap();
    assert_eq!(swept, Some(1_000));
    listener.sql("DELETE FROM sessions");
    assert_eq!(listener.told().await, []);
    // Those among them that live are told.
    let live = listener.sessions(1, 3, LIVE).await;
    listener.sessions(1, 500, "t - interval '2h'").await;
    listener.sql("DELETE FROM sessions");
    assert_eq!(set(sessions(&listener.told().await)), set(live));
}

#[tokio::test]
async fn many_sessions_are_told_in_messages_that_fit() {
    let mut listener = Listener::start().await;
    let digests = listener.sessions(500, 3, LIVE).await;
    listener.sql("DELETE FROM sessions");
    let told = listener.told().await;
    assert_eq!(told.len(), 13, "120 sessions a message");
    assert_eq!(sessions(&told).len(), 1_500);
    assert_eq!(set(sessions(&told)), set(digests));
}

#[tokio::test]
async fn more_than_two_hundred_sessions_of_a_user_are_told_as_the_user() {
    let mut listener = Listener::start().await;
    listener.sessions(1, 300, LIVE).await;
    let many = listener.sql("SELECT DISTINCT user_id FROM sessions");
    listener.sessions(1, 200, LIVE).await;
    let few = listener.sql(&format!(
        "SELECT encode(digest, 'hex') FROM sessions WHERE user_id <> '{many}'"
    ));
    listener.sql("DELETE FROM sessions");
    let mut told = listener.told().await;
    let user = FeedMessage::User(UserId(Uuid::try_parse(&many).unwrap()));
    assert!(told.contains(&user), "{told:?}");
    told.retain(|message| *message != user);
    assert_eq!(told.len(), 2);
    let few: Vec<Digest> = few
        .lines()
        .map(|line| Digest(hex::decode(line).unwrap().try_into().unwrap()))
        .collect();
    assert_eq!(set(sessions(&told)), set(few));
}

#[tokio::test]
async fn more_than_two_thousand_sessions_are_told_as_everything() {
    let mut listener = Listener::start().await;
    listener.sessions(30, 100, LIVE).await;
    listener.sql("DELETE FROM sessions");
    assert_eq!(listener.told().await, [FeedMessage::Everything]);
    listener.sql("DELETE FROM users");
    listener.told().await;
    listener.sessions(20, 100, LIVE).await;
    listener.sql("DELETE FROM users");
    let told = listener.told().await;
    assert!(
        !told.contains(&FeedMessage::Everything),
        "each of the users and their sessions: {}",
        told.len()
    );
    listener.sql(
        "INSERT INTO users (id, created_at, email_verified, state, username, groups)
         SELECT gen_random_uuid(), now(), false, 'active', 'many-' || n, '{}' FROM generate_series(1, 2001) n",
    );
    listener.sql("DELETE FROM users");
    assert_eq!(listener.told().await, [FeedMessage::Everything]);
}

#[tokio::test]
async fn every_change_that_ends_or_alters_something_is_told_and_nothing_else_is() {
    let mut listener = Listener::start().await;
    let digest = listener.sessions(1, 1, LIVE).await[0];
    let id = UserId(Uuid::try_parse(&listener.sql("SELECT id FROM users")).unwrap());
    let this = || vec![FeedMessage::Sessions(vec![digest])];
    let whom = || vec![FeedMessage::User(id)];
    for (sql, expected) in [
        (
            "UPDATE sessions SET last_seen_at = now(), expires_at = expires_at + interval '1h'",
            vec![],
        ),
        (
            "UPDATE sessions SET ends_at = ends_at + interval '1h', last_address = '192.0.2.1'",
            vec![],
        ),
        (
            "UPDATE sessions SET device = 'Lamp', data = '{}', sweep_at = now()",
            vec![],
        ),
        (
            "UPDATE sessions SET expires_at = expires_at - interval '1 microsecond'",
            this(),
        ),
        (
            "UPDATE sessions SET ends_at = ends_at - interval '1 microsecond'",
            this(),
        ),
        (
            "UPDATE sessions SET authenticated_at = authenticated_at - interval '1 day'",
            this(),
        ),
        (
            "UPDATE users SET state = state, groups = groups, username = username",
            vec![],
        ),
        ("UPDATE users SET created_at = now()", vec![]),
        ("UPDATE users SET state = 'disabled'", whom()),
        ("UPDATE users SET state = 'active'", whom()),
        ("UPDATE users SET groups = '{staff}'", whom()),
        ("UPDATE users SET name = 'Ada'", whom()),
        ("UPDATE users SET name = NULL", whom()),
        ("UPDATE users SET email = 'ada@example.test'", whom()),
        ("UPDATE users SET email_verified = true", whom()),
        ("UPDATE users SET password = 'x'", whom()),
        ("UPDATE users SET username = 'ada'", whom()),
        (
            "BEGIN; DELETE FROM sessions; UPDATE users SET state = 'disabled'; ROLLBACK",
            vec![],
        ),
        ("DELETE FROM sessions WHERE false", vec![]),
        ("DELETE FROM sessions", this()),
        ("TRUNCATE sessions", vec![FeedMessage::Everything]),
        ("TRUNCATE users CASCADE", vec![FeedMessage::Everything]),
    ] {
        listener.sql(sql);
        assert_eq!(listener.told().await, expected, "{sql}");
    }
}

#[tokio::test]
async fn a_digest_or_an_owner_that_is_exchanged_is_told_as_both() {
    let mut listener = Listener::start().await;
    let before = listener.sessions(1, 1, LIVE).await[0];
    listener.sql("UPDATE sessions SET digest = sha256(digest)");
    let after = listener.digests()[0];
    assert_eq!(listener.told().await, [FeedMessage::Sessions(vec![before, after])]);
    listener.sessions(1, 1, LIVE).await;
    let digests = listener.digests();
    listener.sql("UPDATE sessions s SET user_id = (SELECT id FROM users u WHERE u.id <> s.user_id)");
    assert_eq!(set(sessions(&listener.told().await)), set(digests));
}

/// A row that somebody put back under the digest it had.
#[tokio::test]
async fn a_row_that_is_exchanged_for_another_of_its_digest_is_told() {
    let mut listener = Listener::start().await;
    let digest = listener.sessions(1, 1, LIVE).await[0];
    listener.sql(
        "BEGIN; CREATE TEMP TABLE kept AS SELECT * FROM sessions; DELETE FROM sessions;
         UPDATE kept SET public_id = gen_random_uuid(); INSERT INTO sessions SELECT * FROM kept; COMMIT",
    );
    assert_eq!(listener.told().await, [FeedMessage::Sessions(vec![digest])]);
}

#[tokio::test]
async fn a_user_who_is_deleted_is_told_with_their_sessions() {
    let mut listener = Listener::start().await;
    let digests = listener.sessions(1, 3, LIVE).await;
    let id = UserId(Uuid::try_parse(&listener.sql("SELECT id FROM users")).unwrap());
    listener.sql("DELETE FROM users");
    let mut told = listener.told().await;
    assert!(told.contains(&FeedMessage::User(id)), "{told:?}");
    told.retain(|message| *message != FeedMessage::User(id));
    assert_eq!(set(sessions(&told)), set(digests));
}

#[tokio::test]
async fn what_the_program_ends_is_told_by_the_same_triggers() {
    let mut listener = Listener::start().await;
    let ann: User = user("ann");
    let live = session(&ann);
    add(&*listener.opened.store, &ann).await;
    crate::support::store::open_session(&*listener.opened.store, &live).await;
    assert_eq!(listener.told().await, []);
    // Its times are of a day in January, so it is over and nobody need hear of it.
    listener.sql("UPDATE sessions SET ends_at = now() + interval '2h', expires_at = now() + interval '1h'");
    assert_eq!(listener.told().await, []);
    let end = listener
        .opened
        .store
        .end_sessions(Which::User(ann.id), event(EventKind::SessionEnded));
    assert_eq!(end.await.unwrap().len(), 1);
    assert_eq!(listener.told().await, [FeedMessage::Sessions(vec![live.digest])]);
}

#[tokio::test]
async fn schemas_of_one_database_hear_their_own_changes_whatever_they_are_called() {
    let url = Postgres::shared().database();
    let mut listeners = Vec::new();
    for schema in [
        "a",
        "A",
        "söhne 'n\" \"töchter",
        &"x".repeat(52),
        &"x".repeat(53),
        &"y".repeat(63),
    ] {
        let Settings { place, .. } = postgres_settings(&url);
        let Place::Postgres { url, direct_url, .. } = place else {
            panic!("not Postgres")
        };
        let place = Place::Postgres {
            url,
            direct_url,
            schema: schema.to_owned(),
        };
        let settings = Settings {
            place,
            max_connections: 2,
            ..postgres_settings("postgres://u@h/d")
        };
        listeners.push(Listener::over(Opened::with(settings).await).await);
    }
    for index in 0..listeners.len() {
        let digest = listeners[index].sessions(1, 1, LIVE).await[0];
        listeners[index].sql("DELETE FROM sessions");
        for (other, listener) in listeners.iter_mut().enumerate() {
            let expected = if other == index {
                vec![FeedMessage::Sessions(vec![digest])]
            } else {
                vec![]
            };
            assert_eq!(listener.told().await, expected, "{}", listener.schema);
        }
    }
}

#[tokio::test]
async fn a_trigger_that_fails_fails_nobodys_statement() {
    let mut listener = Listener::start().await;
    listener.sessions(2, 2, LIVE).await;
    let role = format!("clumsy_{}", Uuid::now_v7().simple());
    listener.sql(&format!(
        "CREATE ROLE {role}; GRANT USAGE ON SCHEMA \"{0}\" TO {role};
         GRANT ALL ON ALL TABLES IN SCHEMA \"{0}\" TO {role};
         REVOKE EXECUTE ON FUNCTION pg_catalog.pg_notify(text, text) FROM PUBLIC",
        listener.schema
    ));
    for statement in [
        "UPDATE sessions SET expires_at = now()",
        "UPDATE users SET state = 'disabled'",
        "DELETE FROM sessions WHERE digest = (SELECT digest FROM sessions ORDER BY digest LIMIT 1)",
        "DELETE FROM users WHERE id = (SELECT id FROM users ORDER BY id LIMIT 1)",
        "TRUNCATE users CASCADE",
    ] {
        listener.sql(&format!("SET ROLE {role}; {statement}"));
    }
    assert_eq!(listener.sql("SELECT count(*) FROM users"), "0");
    assert_eq!(listener.told().await, []);
    listener.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// Objects of a session's own, or of a schema that stands first, are not taken for those of the database.
#[tokio::test]
async fn a_trigger_does_not_look_where_others_may_put_things() {
    let mut listener = Listener::start().await;
    let digest = listener.sessions(1, 1, LIVE).await[0];
    listener.sql(
        "CREATE FUNCTION encode(bytea, text) RETURNS text LANGUAGE sql AS 'SELECT ''trapped''';
         CREATE FUNCTION pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT 1/0';
         CREATE TEMP TABLE told (message text);
         SET search_path TO \"Port\"\"cullis\", pg_catalog; DELETE FROM sessions",
    );
    assert_eq!(listener.told().await, [FeedMessage::Sessions(vec![digest])]);
}
