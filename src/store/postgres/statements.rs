use crate::store::statements::statements;

const SESSION: &str = "s.digest, s.public_id, s.user_id, s.created_at, s.authenticated_at, s.last_seen_at, s.expires_at, \
    s.ends_at, s.remembered, s.methods, s.user_agent, s.device, host(s.first_address) AS first_address, \
    host(s.last_address) AS last_address, s.data";
const USER: &str = "u.id, u.username, u.email, u.email_verified, u.name, u.groups, u.state, \
    u.created_at AS user_created_at, \
    (SELECT json_object_agg(a.source, a.value) FROM {schema}.app_users a WHERE a.user_id = u.id) AS app_users";
const EVENT: &str = "e.at, e.kind, e.actor, e.user_id, e.username, e.session_id, host(e.address) AS address, e.reason, e.device, e.successor_id, \
    e.source";

statements! {
    find_session: "SELECT {session}, {user} FROM {schema}.sessions s JOIN {schema}.users u ON u.id = s.user_id
        WHERE s.digest = $1";
    find_sessions: "SELECT {session}, {user} FROM {schema}.sessions s JOIN {schema}.users u ON u.id = s.user_id
        WHERE s.digest = ANY ($1)";
    name_device: "UPDATE {schema}.sessions SET device = $2 WHERE digest = $1 AND device IS DISTINCT FROM $2
        RETURNING digest";
    find_session_by_public_id: "SELECT {session}, {user} FROM {schema}.sessions s
        JOIN {schema}.users u ON u.id = s.user_id WHERE s.public_id = $1";
    list_sessions: "SELECT {session}, {user} FROM {schema}.sessions s JOIN {schema}.users u ON u.id = s.user_id
        WHERE s.public_id < $1 ORDER BY s.public_id DESC LIMIT $2";
    list_sessions_of_user: "SELECT {session}, {user} FROM {schema}.sessions s
        JOIN {schema}.users u ON u.id = s.user_id
        WHERE s.user_id = $3 AND s.public_id < $1 ORDER BY s.public_id DESC LIMIT $2";
    // A disabling under way holds the row: this waits for it and then sees the user disabled. Log-ins of one user go one
    // after another, so that together they open no more sessions than the user may have.
    lock_active_user: "SELECT 1 AS active FROM {schema}.users WHERE id = $1 AND state = 'active'
        AND ($2::text IS NULL OR password = $2) FOR NO KEY UPDATE";
    // Those that are too many besides a new one, with the one that it replaces left out.
    surplus_sessions: "SELECT digest FROM {schema}.sessions WHERE user_id = $1 AND expires_at > $2 AND ends_at > $2
        AND digest <> $3 ORDER BY last_seen_at DESC, public_id DESC OFFSET $4";
    knows_agent: "SELECT 1 AS known FROM {schema}.sessions WHERE user_id = $1 AND expires_at > $2 AND ends_at > $2
        AND user_agent IS NOT DISTINCT FROM $3 LIMIT 1";
    // Locked in order of the digest, as everywhere.
    take_sessions: "DELETE FROM {schema}.sessions WHERE digest IN
        (SELECT digest FROM {schema}.sessions WHERE digest = ANY($1) ORDER BY digest FOR UPDATE)
        RETURNING digest, public_id, user_id, data";
    insert_session: "INSERT INTO {schema}.sessions (digest, public_id, user_id, created_at, authenticated_at,
        last_seen_at, expires_at, ends_at, sweep_at, remembered, methods, user_agent, device, first_address,
        last_address, data)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14::text::inet, $15::text::inet, $16)";
    end_by_digest: "DELETE FROM {schema}.sessions WHERE digest = $1 RETURNING digest, public_id, user_id";
    end_by_public_id: "DELETE FROM {schema}.sessions WHERE public_id = $1 RETURNING digest, public_id, user_id";
    // Locked in order of the digest, so that two that end the same sessions cannot deadlock.
    end_of_user: "DELETE FROM {schema}.sessions WHERE digest IN
        (SELECT digest FROM {schema}.sessions WHERE user_id = $1 ORDER BY digest FOR UPDATE)
        RETURNING digest, public_id, user_id";
    end_others_of_user: "DELETE FROM {schema}.sessions WHERE digest IN
        (SELECT digest FROM {schema}.sessions WHERE user_id = $1 AND digest <> $2 ORDER BY digest FOR UPDATE)
        RETURNING digest, public_id, user_id";
    end_all: "DELETE FROM {schema}.sessions WHERE digest IN
        (SELECT digest FROM {schema}.sessions ORDER BY digest FOR UPDATE) RETURNING digest, public_id, user_id";
    // Locked in order of the digest and without waiting, so that writers cannot deadlock. A touch moves times forward
    // only, and no row whose session is over or was cut short. 500 rows of one statement leave room for new versions on
    // almost every page (HOT); 10,000 neighbours do not.
    touch_sessions: "WITH due AS (
            SELECT s.digest, t.seen_at, t.expires_at, t.sweep_at, t.address
            FROM unnest($1::bytea[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[],
                $6::text[]) AS t (digest, seen_at, expires_at, known_end, sweep_at, address)
            JOIN {schema}.sessions s ON s.digest = t.digest
            WHERE s.expires_at > t.seen_at AND s.ends_at > t.seen_at AND s.expires_at >= t.known_end
                AND s.last_seen_at < t.seen_at AND s.last_seen_at <= t.seen_at - $7::bigint * interval '1 microsecond'
            ORDER BY s.digest FOR NO KEY UPDATE OF s SKIP LOCKED)
        UPDATE {schema}.sessions s SET last_seen_at = due.seen_at,
            last_address = COALESCE(due.address::inet, s.last_address),
            expires_at = GREATEST(s.expires_at, LEAST(due.expires_at, s.ends_at)),
            sweep_at = GREATEST(s.sweep_at, due.sweep_at)
        FROM due WHERE s.digest = due.digest RETURNING s.digest";
    standing_sessions: "SELECT digest, last_seen_at, expires_at, ends_at FROM {schema}.sessions WHERE digest = ANY($1)";
    try_sweep_lock: "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0)) AS mine";
    sweep_sessions: "WITH gone AS (DELETE FROM {schema}.sessions WHERE digest IN
            (SELECT digest FROM {schema}.sessions WHERE sweep_at <= $1 AND expires_at <= $2 ORDER BY sweep_at LIMIT $3
            FOR UPDATE SKIP LOCKED) RETURNING 1)
        SELECT count(*) AS removed FROM gone";
    insert_sweep: "INSERT INTO {schema}.sweeps (at, took_micros, removed, by_hand, error) VALUES ($1, $2, $3, $4, $5)";
    forget_sweeps: "DELETE FROM {schema}.sweeps WHERE id <
        (SELECT min(id) FROM (SELECT id FROM {schema}.sweeps ORDER BY id DESC LIMIT $1) newest)";
    last_sweeps: "SELECT at, took_micros, removed, by_hand, error FROM {schema}.sweeps ORDER BY id DESC LIMIT $1";
    // One at a time adds users: a name and an address in two rows are unique together only that way.
    lock_names: "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    // $3: whether the new address is verified. What nobody has verified is only a claim.
    names_taken: "SELECT EXISTS (SELECT 1 FROM {schema}.users WHERE username = $1 OR (email = $1 AND email_verified))
        OR EXISTS (SELECT 1 FROM {schema}.retired_usernames WHERE username = $1) AS username_taken,
        EXISTS (SELECT 1 FROM {schema}.users WHERE username = $2 OR (email = $2 AND (email_verified OR NOT $3)))
        AS email_taken,
        EXISTS (SELECT 1 FROM {schema}.users WHERE NOT email_verified AND (email = $1 OR ($3 AND email = $2))) AS claimed";
    drop_claims: "UPDATE {schema}.users SET email = NULL WHERE NOT email_verified AND (email = $1 OR ($3 AND email = $2))";
    insert_user: "INSERT INTO {schema}.users (id, created_at, email_verified, state, username, email, name, password,
        groups) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    find_credentials: "SELECT {user}, u.password FROM {schema}.users u WHERE u.username = $1
        OR (u.email = $1 AND u.email_verified)
        ORDER BY (u.username = $1) DESC LIMIT 1";
    find_user: "SELECT {user} FROM {schema}.users u WHERE u.username = $1";
    list_users: "SELECT {user} FROM {schema}.users u WHERE u.username > $1
        AND ($2 = '' OR strpos(u.username, $2) > 0 OR strpos(u.email, $2) > 0) ORDER BY u.username LIMIT $3";
    lock_user: "SELECT groups, username FROM {schema}.users WHERE id = $1 FOR UPDATE";
    update_user: "UPDATE {schema}.users SET password = COALESCE($2, password), state = COALESCE($3, state),
        groups = COALESCE($4, groups) WHERE id = $1";
    swap_password: "UPDATE {schema}.users SET password = $3 WHERE id = $1 AND password = $2 AND state = 'active'
        RETURNING username";
    session_data: "SELECT data FROM {schema}.sessions WHERE digest = $1 AND user_id = $2";
    retire_username: "INSERT INTO {schema}.retired_usernames (username, retired_at) VALUES ($1, $2)
        ON CONFLICT DO NOTHING";
    delete_user: "DELETE FROM {schema}.users WHERE id = $1";
    insert_event: "INSERT INTO {schema}.audit_events (at, kind, actor, user_id, username, session_id, address, reason,
        device, successor_id, source) VALUES ($1, $2, $3, $4, $5, $6, $7::text::inet, $8, $9, $10, $11)";
    // Only rows that count the attempt come back. A row that would refuse for longer than it ever may was written by a clock
    // that went wrong, and begins anew.
    count_attempt: "INSERT INTO {schema}.throttle_cells AS t (bucket, free_at, clear_at, user_id)
        SELECT c.bucket, c.free_at, c.clear_at, c.user_id
        FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::uuid[])
            AS c(bucket, free_at, clear_at, user_id) ORDER BY c.bucket
        ON CONFLICT (bucket) DO UPDATE SET
            free_at = CASE WHEN t.free_at > $5 THEN EXCLUDED.free_at
                ELSE GREATEST(t.free_at + (EXCLUDED.clear_at - $5), EXCLUDED.free_at) END,
            clear_at = CASE WHEN t.free_at > $5 THEN EXCLUDED.clear_at
                ELSE GREATEST(t.clear_at, $5) + (EXCLUDED.clear_at - $5) END,
            banned_at = CASE WHEN t.free_at > $5 OR t.clear_at + (EXCLUDED.clear_at - $5) <= $5 THEN NULL
                ELSE t.banned_at END
            WHERE t.free_at <= $5 OR t.free_at > $5 + 2 * (EXCLUDED.clear_at - $5)
        RETURNING bucket";
    find_cells: "SELECT bucket, free_at, banned_at FROM {schema}.throttle_cells WHERE bucket = ANY($1)";
    begin_ban: "UPDATE {schema}.throttle_cells SET banned_at = $2
        WHERE bucket = $1 AND banned_at IS NULL AND free_at > $2 RETURNING bucket";
    give_back: "WITH held AS (SELECT bucket FROM {schema}.throttle_cells WHERE bucket = ANY($1) ORDER BY bucket FOR UPDATE)
        UPDATE {schema}.throttle_cells t SET free_at = t.free_at - c.micros * interval '1 microsecond',
            clear_at = t.clear_at - c.micros * interval '1 microsecond'
        FROM held JOIN unnest($1::text[], $2::bigint[]) AS c(bucket, micros) ON c.bucket = held.bucket
        WHERE t.bucket = held.bucket";
    list_bans: "SELECT t.bucket, t.free_at, t.banned_at, t.user_id, u.username FROM {schema}.throttle_cells t
        LEFT JOIN {schema}.users u ON u.id = t.user_id
        WHERE t.free_at > $1 AND t.bucket > $2 ORDER BY t.bucket LIMIT $3";
    lift_bans: "DELETE FROM {schema}.throttle_cells WHERE bucket IN (SELECT bucket FROM {schema}.throttle_cells
        WHERE ($1::uuid IS NULL OR user_id = $1) AND ($2::text[] IS NULL OR bucket = ANY($2)) ORDER BY bucket FOR UPDATE)
        RETURNING bucket";
    forget_cells: "DELETE FROM {schema}.throttle_cells WHERE bucket IN (SELECT bucket FROM {schema}.throttle_cells
        WHERE clear_at <= $1 AND (banned_at IS NULL OR clear_at <= $2) LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING bucket";
    list_events: "SELECT {event} FROM {schema}.audit_events e ORDER BY e.id DESC LIMIT $1";
    list_events_of_user: "SELECT {event} FROM {schema}.audit_events e WHERE e.user_id = $2 ORDER BY e.id DESC LIMIT $1";
    find_user_by_id: "SELECT {user} FROM {schema}.users u WHERE u.id = $1";
    edit_user: "UPDATE {schema}.users SET email = CASE WHEN $2 THEN $3::text ELSE email END,
        email_verified = CASE WHEN $2 THEN $3::text IS NOT NULL ELSE email_verified END,
        name = CASE WHEN $4 THEN $5::text ELSE name END, groups = COALESCE($6, groups), state = COALESCE($7, state),
        password = COALESCE($8, password) WHERE id = $1";
    // What nobody has verified is only a claim; an address that an administrator gives is verified.
    email_taken: "SELECT 1 AS taken FROM {schema}.users
        WHERE id <> $1 AND (username = $2 OR (email = $2 AND email_verified)) LIMIT 1";
    drop_email_claims: "UPDATE {schema}.users SET email = NULL WHERE id <> $1 AND email = $2 AND NOT email_verified";
    set_app_user: "INSERT INTO {schema}.app_users (user_id, source, value) VALUES ($1, $2, $3)
        ON CONFLICT (user_id, source) DO UPDATE SET value = EXCLUDED.value";
    unset_app_user: "DELETE FROM {schema}.app_users WHERE user_id = $1 AND source = $2";
    set_session_data: "UPDATE {schema}.sessions SET data = $2 WHERE public_id = $1 RETURNING digest, public_id, user_id";
    // The key of a user; of a deleted one as the log knows it.
    event_user: "SELECT COALESCE((SELECT id FROM {schema}.users WHERE username = $1),
        (SELECT user_id FROM {schema}.audit_events WHERE username = $1 AND kind = 'user_deleted' LIMIT 1)) AS id";
    find_events: "SELECT e.id AS event_id, {event} FROM {schema}.audit_events e WHERE e.id < $1
        AND ($3::timestamptz IS NULL OR e.at >= $3) AND ($4::timestamptz IS NULL OR e.at < $4)
        AND ($5::text IS NULL OR e.kind = $5) ORDER BY e.id DESC LIMIT $2";
    find_events_of_user: "SELECT e.id AS event_id, {event} FROM {schema}.audit_events e WHERE e.id < $1
        AND ($3::timestamptz IS NULL OR e.at >= $3) AND ($4::timestamptz IS NULL OR e.at < $4)
        AND ($5::text IS NULL OR e.kind = $5) AND e.user_id = $6 ORDER BY e.id DESC LIMIT $2";
    find_events_of_session: "SELECT e.id AS event_id, {event} FROM {schema}.audit_events e WHERE e.id < $1
        AND ($3::timestamptz IS NULL OR e.at >= $3) AND ($4::timestamptz IS NULL OR e.at < $4)
        AND ($5::text IS NULL OR e.kind = $5) AND e.session_id = $6 AND ($7::uuid IS NULL OR e.user_id = $7)
        ORDER BY e.id DESC LIMIT $2";
    forget_events: "DELETE FROM {schema}.audit_events WHERE id IN (SELECT id FROM {schema}.audit_events WHERE at < $1
        ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1 AS forgotten";
    // Public ids begin with the time of the log-in. Counting millions takes longer than a call may: then an estimate.
    session_figures: "SELECT CASE WHEN c.reltuples > 5e6 THEN c.reltuples::bigint
            ELSE (SELECT count(*) FROM {schema}.sessions) END AS total,
        (SELECT count(*) FROM {schema}.sessions WHERE sweep_at <= $2 AND expires_at <= $1) AS expired,
        (SELECT count(*) FROM {schema}.sessions WHERE public_id >= $3) AS created_today,
        (SELECT count(*) FROM {schema}.users) AS users, pg_total_relation_size(c.oid) AS bytes
        FROM pg_class c WHERE c.oid = '{schema}.sessions'::regclass";
    busiest_users: "SELECT u.username, c.sessions FROM (SELECT user_id, count(*) AS sessions FROM {schema}.sessions
            WHERE expires_at > $1 GROUP BY user_id ORDER BY 2 DESC, 1 LIMIT $2) c
        JOIN {schema}.users u ON u.id = c.user_id ORDER BY c.sessions DESC, u.username";
    event_hours: "SELECT floor(extract(epoch FROM at) / 3600)::bigint AS hour, kind, count(*) AS events,
        min(at) AS oldest FROM (SELECT at, kind FROM {schema}.audit_events WHERE at >= $1 ORDER BY at DESC LIMIT $2) newest
        GROUP BY 1, 2";
    log_ins_by_network: "SELECT network(set_masklen(address, CASE family(address) WHEN 4 THEN 24 ELSE 48 END))::text
        AS what, count(*) AS events FROM (SELECT kind, address FROM {schema}.audit_events WHERE at >= $1
            ORDER BY at DESC LIMIT $2) newest
        WHERE kind = 'login_succeeded' AND address IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $3";
    failures_by_reason: "SELECT reason AS what, count(*) AS events FROM (SELECT kind, reason FROM {schema}.audit_events
            WHERE at >= $1 ORDER BY at DESC LIMIT $2) newest
        WHERE kind = 'login_failed' AND reason IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $3";
    log_ins_by_device: "SELECT device AS what, count(*) AS events FROM (SELECT kind, device FROM {schema}.audit_events
            WHERE at >= $1 ORDER BY at DESC LIMIT $2) newest
        WHERE kind = 'login_succeeded' AND device IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $3";
    insert_pass: "INSERT INTO {schema}.admin_passes (digest, kind, expires_at) VALUES ($1, $2, $3)";
    take_pass: "DELETE FROM {schema}.admin_passes WHERE digest = $1 AND kind = $2
        AND ($3::timestamptz IS NULL OR expires_at > $3) RETURNING 1 AS taken";
    has_pass: "SELECT 1 AS good FROM {schema}.admin_passes WHERE digest = $1 AND kind = $2 AND expires_at > $3";
    forget_passes: "DELETE FROM {schema}.admin_passes WHERE expires_at <= $1";
    // In the order of the digest; who stands there already is told to nobody again.
    bury: "INSERT INTO {schema}.legacy_ended (digest, source, ended_at, until)
        SELECT digest, source, ended_at, until
            FROM unnest($1::bytea[], $2::text[], $3::timestamptz[], $4::timestamptz[])
            AS t (digest, source, ended_at, until) ORDER BY digest
        ON CONFLICT (digest) DO UPDATE SET until = greatest(legacy_ended.until, EXCLUDED.until)";
    find_tombstones: "SELECT digest FROM {schema}.legacy_ended WHERE digest = ANY ($1)";
    forget_tombstones: "DELETE FROM {schema}.legacy_ended WHERE digest IN (SELECT digest FROM {schema}.legacy_ended
        WHERE until <= $1 ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1 AS forgotten";
    // Nothing while the queue fills up: see migration 5. The seal is what `BeatKey` makes, cut to 16 bytes.
    // Nor while changes are not told, because triggers are gone or switched off.
    beat: "SELECT CASE
            WHEN (SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
                JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = $3 AND c.relname IN ('sessions', 'users', 'legacy_ended') AND t.tgenabled IN ('O', 'A')
                AND t.tgname IN ('feed_deleted', 'feed_truncated', 'feed_updated', 'feed_ended')) < 7 THEN 'untold'
            WHEN pg_notification_queue_usage() >= 0.5 THEN 'full'
            ELSE 'sent' || pg_notify($1, 'h:' || moment || ':' ||
                left(encode(sha256($2 || sha256($2 || convert_to(moment, 'UTF8'))), 'hex'), 32))::text
            END AS outcome
        FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text AS moment OFFSET 0) AS told";
    write_instance: "INSERT INTO {schema}.instances (started_at, last_seen, id, version, host, address, cookie, fingerprints)
        VALUES (now(), now(), $1, $2, $3, $4, $5, $6)
        ON CONFLICT (id) DO UPDATE SET last_seen = EXCLUDED.last_seen, version = EXCLUDED.version, host = EXCLUDED.host,
            address = EXCLUDED.address, cookie = EXCLUDED.cookie, fingerprints = EXCLUDED.fingerprints";
    forget_silent_instances: "DELETE FROM {schema}.instances WHERE id IN (SELECT id FROM {schema}.instances
        WHERE last_seen < now() - $1::bigint * interval '1 microsecond' FOR UPDATE SKIP LOCKED)";
    list_instances: "SELECT id, started_at, last_seen, version, host, address, cookie, fingerprints, now() AS now
        FROM {schema}.instances ORDER BY started_at, id LIMIT 1000";
    forget_instance: "DELETE FROM {schema}.instances WHERE id = $1";
    // Ended in the list of columns, behind a barrier: in a condition it would be tried on every process of the server. Those
    // that serve somebody are left alone.
    end_backends: "WITH ours AS MATERIALIZED (SELECT a.pid, a.state FROM pg_stat_activity a
            JOIN unnest($1::int[], $2::text[]) AS left_over (pid, began)
            ON left_over.pid = a.pid AND left_over.began = extract(epoch FROM a.backend_start)::text)
        SELECT pid AS id, CASE WHEN state = 'idle' THEN pg_terminate_backend(pid) ELSE false END AS ended FROM ours";
    find_imported: "SELECT i.digest, s.user_id AS copy_of, s.ends_at FROM {schema}.imported_sessions i
        LEFT JOIN {schema}.sessions s ON s.digest = i.digest WHERE i.digest = ANY($1)";
    // Held in order of the digest, so that of two runs one decides after the other.
    hold_imported: "SELECT i.digest, s.user_id AS copy_of, s.ends_at FROM {schema}.imported_sessions i
        LEFT JOIN {schema}.sessions s ON s.digest = i.digest WHERE i.digest = ANY($1) ORDER BY i.digest
        FOR UPDATE OF i";
    claim_imports: "INSERT INTO {schema}.imported_sessions (digest, user_id, seen_at, source, of_row)
        SELECT c.digest, c.user_id, $3, $4, c.of_row
            FROM unnest($1::bytea[], $2::uuid[], $5::bytea[]) AS c (digest, user_id, of_row)
            JOIN {schema}.users u ON u.id = c.user_id AND u.state = 'active' ORDER BY c.digest
        ON CONFLICT (digest) DO NOTHING RETURNING digest";
    copy_sessions: "INSERT INTO {schema}.sessions (digest, public_id, user_id, created_at, authenticated_at, last_seen_at,
            expires_at, ends_at, sweep_at, remembered, methods)
        SELECT c.digest, c.public_id, c.user_id, c.created_at, c.authenticated_at, c.created_at, c.expires_at, c.ends_at,
            c.sweep_at, c.remembered, ''
        FROM unnest($1::bytea[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[],
            $7::timestamptz[], $8::timestamptz[], $9::boolean[])
            AS c (digest, public_id, user_id, created_at, authenticated_at, expires_at, ends_at, sweep_at, remembered)";
    insert_import_events: "INSERT INTO {schema}.audit_events (at, kind, actor, reason, source, user_id, username, session_id)
        SELECT $1, $2, $3, $4, $8, c.user_id, c.username, c.session_id
        FROM unnest($5::uuid[], $6::text[], $7::uuid[]) AS c (user_id, username, session_id)";
    move_imports: "UPDATE {schema}.sessions s SET expires_at = c.ends_at, ends_at = c.ends_at, sweep_at = c.sweep_at
        FROM unnest($1::bytea[], $2::timestamptz[], $3::timestamptz[]) AS c (digest, ends_at, sweep_at)
        WHERE s.digest = c.digest";
    see_imports: "UPDATE {schema}.imported_sessions i SET seen_at = $2, of_row = c.of_row
        FROM unnest($1::bytea[], $3::bytea[]) AS c (digest, of_row) WHERE i.digest = c.digest";
    // Waits for ends that are being written down, and makes those that come wait.
    hold_ends: "LOCK TABLE {schema}.legacy_ended IN SHARE MODE";
    end_copies: "DELETE FROM {schema}.sessions WHERE digest IN
        (SELECT s.digest FROM {schema}.imported_sessions i JOIN {schema}.sessions s ON s.digest = i.digest
        WHERE i.of_row = ANY($1) ORDER BY s.digest FOR UPDATE OF s)
        RETURNING digest, public_id, user_id";
    forget_imports: "DELETE FROM {schema}.imported_sessions WHERE digest = ANY($1)";
    count_imported: "SELECT count(*) AS copies FROM {schema}.imported_sessions i
        JOIN {schema}.sessions s ON s.digest = i.digest WHERE i.source = $1";
    end_unseen: "DELETE FROM {schema}.sessions WHERE digest IN
        (SELECT s.digest FROM {schema}.imported_sessions i JOIN {schema}.sessions s ON s.digest = i.digest
        WHERE i.source = $1 AND i.seen_at < $2 ORDER BY s.digest LIMIT $3 FOR UPDATE OF s)
        RETURNING digest, public_id, user_id";
    find_imported_user: "SELECT {user} FROM {schema}.imported_users i JOIN {schema}.users u ON u.id = i.user_id
        WHERE i.source = $1 AND i.subject = $2";
    link_imported_user: "INSERT INTO {schema}.imported_users (source, subject, user_id) VALUES ($1, $2, $3)";
    now: "SELECT clock_timestamp() AS now";
    count: "SELECT (SELECT count(*) FROM {schema}.users) AS users,
        (SELECT count(*) FROM {schema}.sessions WHERE expires_at > $1 AND ends_at > $1) AS sessions";
}

impl Statements {
    /// For tables in `schema`, which is quoted here.
    pub(super) fn in_schema(schema: &str) -> Self {
        let schema = quoted(schema);
        Self::spelled(&[
            ("{session}", SESSION),
            ("{user}", USER),
            ("{event}", EVENT),
            // Last: the lists name tables too.
            ("{schema}", &schema),
        ])
    }
}

/// A name as SQL writes it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
