//! Stores for tests: a fresh database of the shared server, or a fresh SQLite file.

use super::postgres::Postgres;
use portcullis::clock::Clock;
use portcullis::model::{
    Digest, Event, EventKind, NewSession, PublicId, Session, Timestamp, User, UserId, UserState, Username,
};
use portcullis::store::{NewUser, Place, Role, Settings, Store, open};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use uuid::Uuid;

/// Noon of a day in January 2026: what tests take for the present.
pub const NOON: Timestamp = Timestamp::from_micros(1_769_860_800_000_000);

/// A store and what it was opened with.
pub struct Opened {
    /// The store.
    pub store: Arc<dyn Store>,
    /// How to open it once more.
    pub settings: Settings,
    folder: Option<TempDir>,
}

impl Opened {
    /// A gateway's store. A SQLite file is made in a fresh folder, whatever path the settings name.
    pub async fn with(settings: Settings) -> Self {
        let folder =
            matches!(settings.place, Place::Sqlite { .. }).then(|| tempfile::tempdir().expect("a temporary folder"));
        let place = match &folder {
            Some(folder) => Place::Sqlite {
                path: folder.path().join("data/portcullis.db"),
            },
            None => settings.place,
        };
        let settings = Settings { place, ..settings };
        let store = open(&settings, Role::Gateway, Clock::system()).await;
        Self {
            store: store.expect("a store in a fresh place"),
            settings,
            folder,
        }
    }

    /// Ends this store's life but not its file's.
    pub fn into_folder(self) -> Option<TempDir> {
        self.folder
    }

    /// Another store on the same state, as a command beside the gateway has it.
    pub async fn beside(&self) -> Arc<dyn Store> {
        let opened = open(&self.settings, Role::Command, Clock::system()).await;
        opened.expect("a second store on the same state")
    }

    /// The folder of a SQLite file.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("only a SQLite file has a folder").path()
    }
}

/// In a fresh database of the shared server, in a schema whose name must be quoted.
pub async fn on_postgres() -> Opened {
    Opened::with(postgres_settings(&Postgres::shared().database())).await
}

/// In a fresh SQLite file.
pub async fn on_sqlite() -> Opened {
    Opened::with(sqlite_settings(Path::new("portcullis.db"))).await
}

/// Settings with wide time bounds for a busy machine.
pub fn postgres_settings(url: &str) -> Settings {
    let place = Place::Postgres {
        url: url.to_owned().into(),
        direct_url: None,
        schema: "Port\"cullis".to_owned(),
    };
    settings(place)
}

/// Settings for a SQLite file.
pub fn sqlite_settings(path: &Path) -> Settings {
    settings(Place::Sqlite { path: path.to_owned() })
}

fn settings(place: Place) -> Settings {
    Settings {
        place,
        max_connections: 8,
        call_timeout: Duration::from_secs(20),
        migrate: true,
        required_at_start: true,
        prepared_statements: true,
    }
}

/// A user who may sign in.
pub fn user(name: &str) -> User {
    User {
        id: UserId(Uuid::now_v7()),
        username: Username::parse(name).expect("a user name"),
        email: Some(format!("{name}@example.com")),
        email_verified: true,
        name: Some("Grüße \u{1f600}".to_owned()),
        groups: vec!["admins".to_owned(), "staff".to_owned()],
        state: UserState::Active,
        created_at: NOON,
        app_users: std::collections::BTreeMap::new(),
    }
}

/// A session of `user` with everything filled in, an hour from its idle end.
pub fn session(user: &User) -> Session {
    let public_id = Uuid::now_v7();
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(public_id.as_bytes());
    digest[16..].copy_from_slice(Uuid::now_v7().as_bytes());
    Session {
        digest: Digest(digest),
        public_id: PublicId(public_id),
        user: user.id,
        created_at: NOON,
        authenticated_at: NOON.plus(Duration::from_micros(1)),
        last_seen_at: NOON.plus(Duration::from_secs(2)),
        expires_at: NOON.plus(Duration::from_hours(1)),
        ends_at: NOON.plus(Duration::from_hours(12)),
        remembered: true,
        methods: vec!["pwd".to_owned(), "otp".to_owned()],
        user_agent: Some("Mozilla/5.0 (ä)".to_owned()),
        device: Some("Firefox on Linux".to_owned()),
        first_address: Some([192, 0, 2, 7].into()),
        last_address: Some("2001:db8::7".parse().expect("an address")),
        data: None,
    }
}

/// An event of `kind`.
pub fn event(kind: EventKind) -> Event {
    Event::new(NOON, kind, "tests")
}

/// Adds `user` without a password.
pub async fn add(store: &dyn Store, user: &User) {
    let new = NewUser {
        user: user.clone(),
        password: None,
    };
    let added = store.add_user(new, event(EventKind::UserAdded)).await;
    added.expect("a user is added");
}

/// Opens `session` without replacing another.
pub async fn open_session(store: &dyn Store, session: &Session) {
    let new = NewSession::of(session.clone());
    let opened = store.open_session(new, event(EventKind::LoginSucceeded)).await;
    assert!(opened.expect("a session is opened").is_empty());
}
