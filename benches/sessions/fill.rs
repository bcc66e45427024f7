//! A table as a busy year leaves it: sessions of ordinary browsers, in random order of their digests.

use super::Bench;
use sqlx::Row;
use std::time::Instant;

const USERS: u64 = 100_000;

/// Every column as a log-in fills it; the user agent is Chrome's, cut as the program cuts it.
const SESSIONS: &str = "
INSERT INTO portcullis.sessions (public_id, user_id, created_at, authenticated_at, last_seen_at, expires_at, ends_at,
    sweep_at, remembered, digest, methods, user_agent, device, first_address, last_address)
SELECT
    (lpad(to_hex((1700000000000 + n * 2000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3) || 'a'
        || substr(md5(n::text), 4, 15))::uuid,
    u.id, at, at, at + interval '1 hour', now() + interval '2 hours' + (n % 36000) * interval '1 second',
    now() + interval '6 days',
    date_trunc('hour', now() + interval '3 hours' + (n % 36000) * interval '1 second'),
    false, sha256(n::text::bytea), 'pwd',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36',
    'Chrome on Windows', ('10.' || n % 250 || '.' || n % 251 || '.' || n % 253)::inet,
    ('10.' || n % 250 || '.' || n % 251 || '.' || n % 253)::inet
FROM generate_series($1::bigint, $2::bigint) AS n
CROSS JOIN LATERAL (SELECT now() - interval '2 days' + n * interval '100 milliseconds' AS at) AS moment
JOIN portcullis.users u ON u.username = 'user' || n % $3::bigint";

pub(super) async fn fill(bench: &Bench) {
    let started = Instant::now();
    let mut psql = bench.psql().await;
    sqlx::query(
        "INSERT INTO portcullis.users (id, created_at, email_verified, state, username, groups)
         SELECT gen_random_uuid(), now(), false, 'active', 'user' || n, '{}' FROM generate_series(0, $1::bigint - 1) AS n",
    )
    .bind(signed(USERS))
    .execute(&mut psql)
    .await
    .expect("users");
    let batch = 100_000;
    let mut first = 1;
    while first <= bench.sessions {
        let last = (first + batch - 1).min(bench.sessions);
        sqlx::query(SESSIONS)
            .bind(signed(first))
            .bind(signed(last))
            .bind(signed(USERS))
            .execute(&mut psql)
            .await
            .expect("sessions");
        first = last + 1;
    }
    sqlx::query("VACUUM (ANALYZE) portcullis.sessions")
        .execute(&mut psql)
        .await
        .expect("a vacuum");
    println!(
        "filled: {} sessions of {USERS} users in {:.0?}",
        bench.sessions,
        started.elapsed()
    );
}

/// Bytes a session, the table and each index.
pub(super) async fn size(bench: &Bench) {
    let mut psql = bench.psql().await;
    let rows = sqlx::query(
        "SELECT c.relname::text AS name, pg_relation_size(c.oid) AS bytes FROM pg_class c
         WHERE c.oid = 'portcullis.sessions'::regclass
            OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'portcullis.sessions'::regclass)
         ORDER BY bytes DESC",
    )
    .fetch_all(&mut psql)
    .await
    .expect("sizes");
    let of = |bytes: i64| bytes as f64 / bench.sessions as f64;
    let total: i64 = rows.iter().map(|row| row.get::<i64, _>("bytes")).sum();
    println!(
        "size: {:.0} bytes a session with indexes (should be under 550)",
        of(total)
    );
    for row in &rows {
        println!("    {:28} {:4.0}", row.get::<String, _>("name"), of(row.get("bytes")));
    }
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("a small number")
}
