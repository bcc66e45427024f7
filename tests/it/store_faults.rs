//! What a store does when its database does not do what it should. *Could not ask* is never *absent*, every call ends in
//! its time, and nothing has to be opened again afterwards.

mod postgres;
mod races;
mod sqlite;

use crate::support::store::{Opened, add, event, open_session, session, user};
use portcullis::model::{EventKind, Session, User};
use portcullis::store::StoreError;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::time::{Duration, Instant};

/// Between the end of a call's time and the answer, on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

/// A user with a session, so that there is something to be found or lost.
async fn ann_signed_in(opened: &Opened) -> (User, Session) {
    let ann = user("ann");
    let live = session(&ann);
    add(&*opened.store, &ann).await;
    open_session(&*opened.store, &live).await;
    (ann, live)
}

async fn is_found(opened: &Opened, session: &Session) -> Result<bool, StoreError> {
    let found = opened.store.find_session(&session.digest).await?;
    Ok(found.is_some())
}

async fn record(opened: &Opened) -> Result<(), StoreError> {
    opened.store.record(event(EventKind::LoggedOut)).await
}

/// The answer of a call that must end within the store's time.
async fn in_time<T>(opened: &Opened, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let start = Instant::now();
    let answer = call.await;
    let took = start.elapsed();
    assert!(took < opened.settings.call_timeout + SLACK, "{took:?}");
    answer
}

/// A table that nobody else can use until this is released.
struct Locked(PgConnection);

async fn lock(url: &str, table: &str) -> Locked {
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.execute("BEGIN").await.unwrap();
    let lock = format!("LOCK TABLE \"Port\"\"cullis\".{table} IN ACCESS EXCLUSIVE MODE");
    connection.execute(AssertSqlSafe(lock)).await.unwrap();
    Locked(connection)
}

impl Locked {
    async fn release(mut self) {
        self.0.execute("ROLLBACK").await.unwrap();
    }
}
