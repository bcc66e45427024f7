use crate::store::statements::statements;

const SESSION: &str = "s.digest, s.public_id, s.user_id, s.created_at, s.authenticated_at, s.last_seen_at, s.expires_at, \
    s.ends_at, s.remembered, s.methods, s.user_agent, s.device, s.first_address, s.last_address, s.data";
const USER: &str = "u.id, u.username, u.email, u.email_verified, u.name, u.groups, u.state, \
    u.created_at AS user_created_at, \
    (SELECT json_group_object(a.source, json(a.value)) FROM app_users a WHERE a.user_id = u.id) AS app_users";
const EVENT: &str = "e.at, e.kind, e.actor, e.user_id, e.username, e.session_id, e.address, e.reason, e.device, e.successor_id, \
     e.source";

statements! {
    find_session: "SELECT {session}, {user} FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.digest = $1";
    find_sessions: "SELECT {session}, {user} FROM sessions s JOIN users u ON u.id = s.user_id
        WHERE s.digest IN (SELECT unhex(value) FROM json_each($1))";
    name_device: "UPDATE sessions SET device = $2 WHERE digest = $1 AND device IS NOT $2 RETURNING digest";
    find_session_by_public_id: "SELECT {session}, {user} FROM sessions s JOIN users u ON u.id = s.user_id
        WHERE s.public_id = $1";
    list_sessions: "SELECT {session}, {user} FROM sessions s JOIN users u ON u.id = s.user_id
        WHERE s.public_id < $1 ORDER BY s.public_id DESC LIMIT $2";
    list_sessions_of_user: "SELECT {session}, {user} FROM sessions s JOIN users u ON u.id = s.user_id
        WHERE s.user_id = $3 AND s.public_id < $1 ORDER BY s.public_id DESC LIMIT $2";
    active_user: "SELECT 1 AS active FROM users WHERE id = $1 AND state = 'active'
        AND ($2 IS NULL OR password = $2)";
    surplus_sessions: "SELECT digest FROM sessions WHERE user_id = $1 AND expires_at > $2 AND ends_at > $2
        AND digest <> $3 ORDER BY last_seen_at DESC, public_id DESC LIMIT -1 OFFSET $4";
    knows_agent: "SELECT 1 AS known FROM sessions WHERE user_id = $1 AND expires_at > $2 AND ends_at > $2
        AND user_agent IS $3 LIMIT 1";
    take_session: "DELETE FROM sessions WHERE digest = $1 RETURNING digest, public_id, user_id, data";
    insert_session: "INSERT INTO sessions (digest, public_id, user_id, created_at, authenticated_at, last_seen_at,
        expires_at, ends_at, sweep_at, remembered, methods, user_agent, device, first_address, last_address, data)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
    end_by_digest: "DELETE FROM sessions WHERE digest = $1 RETURNING digest, public_id, user_id";
    end_by_public_id: "DELETE FROM sessions WHERE public_id = $1 RETURNING digest, public_id, user_id";
    end_of_user: "DELETE FROM sessions WHERE user_id = $1 RETURNING digest, public_id, user_id";
    end_others_of_user: "DELETE FROM sessions WHERE user_id = $1 AND digest <> $2
        RETURNING digest, public_id, user_id";
    end_all: "DELETE FROM sessions RETURNING digest, public_id, user_id";
    standing_session: "SELECT last_seen_at, expires_at, ends_at FROM sessions WHERE digest = $1";
    touch_session: "UPDATE sessions SET last_seen_at = $2, last_address = COALESCE($5, last_address),
        expires_at = max(expires_at, min($3, ends_at)), sweep_at = max(sweep_at, $4) WHERE digest = $1";
    sweep_sessions: "DELETE FROM sessions WHERE digest IN (SELECT digest FROM sessions WHERE sweep_at <= $1
        AND expires_at <= $2 ORDER BY sweep_at LIMIT $3) RETURNING 1 AS removed";
    insert_sweep: "INSERT INTO sweeps (at, took_micros, removed, by_hand, error) VALUES ($1, $2, $3, $4, $5)";
    forget_sweeps: "DELETE FROM sweeps WHERE id <
        (SELECT min(id) FROM (SELECT id FROM sweeps ORDER BY id DESC LIMIT $1) newest)";
    last_sweeps: "SELECT at, took_micros, removed, by_hand, error FROM sweeps ORDER BY id DESC LIMIT $1";
    // $3: whether the new address is verified. What nobody has verified is only a claim.
    names_taken: "SELECT EXISTS (SELECT 1 FROM users WHERE username = $1 OR (email = $1 AND email_verified))
        OR EXISTS (SELECT 1 FROM retired_usernames WHERE username = $1) AS username_taken,
        EXISTS (SELECT 1 FROM users WHERE username = $2 OR (email = $2 AND (email_verified OR NOT $3)))
        AS email_taken,
        EXISTS (SELECT 1 FROM users WHERE NOT email_verified AND (email = $1 OR ($3 AND email = $2))) AS claimed";
    drop_claims: "UPDATE users SET email = NULL WHERE NOT email_verified AND (email = $1 OR ($3 AND email = $2))";
    insert_user: "INSERT INTO users (id, created_at, email_verified, state, username, email, name, password, groups)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    find_credentials: "SELECT {user}, u.password FROM users u WHERE u.username = $1
        OR (u.email = $1 AND u.email_verified)
        ORDER BY (u.username = $1) DESC LIMIT 1";
    find_user: "SELECT {user} FROM users u WHERE u.username = $1";
    list_users: "SELECT {user} FROM users u WHERE u.username > $1
        AND ($2 = '' OR instr(u.username, $2) > 0 OR instr(u.email, $2) > 0) ORDER BY u.username LIMIT $3";
    find_groups: "SELECT groups, username FROM users WHERE id = $1";
    update_user: "UPDATE users SET password = COALESCE($2, password), state = COALESCE($3, state),
        groups = COALESCE($4, groups) WHERE id = $1";
    swap_password: "UPDATE users SET password = $3 WHERE id = $1 AND password = $2 AND state = 'active'
        RETURNING username";
    session_data: "SELECT data FROM sessions WHERE digest = $1 AND user_id = $2";
    retire_username: "INSERT INTO retired_usernames (username, retired_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    delete_user: "DELETE FROM users WHERE id = $1";
    insert_event: "INSERT INTO audit_events (at, kind, actor, user_id, username, session_id, address, reason,
        device, successor_id, source) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    // A row comes back only when it counts the attempt. One that would refuse for longer than it ever may was written by a
    // clock that went wrong, and begins anew.
    count_attempt: "INSERT INTO throttle_cells AS t (bucket, free_at, clear_at, user_id) VALUES ($1, $2, $3, $4)
        ON CONFLICT (bucket) DO UPDATE SET
            free_at = iif(t.free_at > $5, excluded.free_at, max(t.free_at + (excluded.clear_at - $5), excluded.free_at)),
            clear_at = iif(t.free_at > $5, excluded.clear_at, max(t.clear_at, $5) + (excluded.clear_at - $5)),
            banned_at = iif(t.free_at > $5 OR t.clear_at + (excluded.clear_at - $5) <= $5, NULL, t.banned_at)
            WHERE t.free_at <= $5 OR t.free_at > $5 + 2 * (excluded.clear_at - $5)
        RETURNING bucket";
    find_cell: "SELECT free_at, banned_at FROM throttle_cells WHERE bucket = $1";
    begin_ban: "UPDATE throttle_cells SET banned_at = $2
        WHERE bucket = $1 AND banned_at IS NULL AND free_at > $2 RETURNING bucket";
    give_back: "UPDATE throttle_cells SET free_at = free_at - $2, clear_at = clear_at - $2 WHERE bucket = $1";
    list_bans: "SELECT t.bucket, t.free_at, t.banned_at, t.user_id, u.username FROM throttle_cells t
        LEFT JOIN users u ON u.id = t.user_id
        WHERE t.free_at > $1 AND t.bucket > $2 ORDER BY t.bucket LIMIT $3";
    lift_bans_of_user: "DELETE FROM throttle_cells WHERE user_id = $1 RETURNING bucket";
    lift_ban: "DELETE FROM throttle_cells WHERE bucket = $1 RETURNING bucket";
    lift_all_bans: "DELETE FROM throttle_cells RETURNING bucket";
    forget_cells: "DELETE FROM throttle_cells WHERE bucket IN
        (SELECT bucket FROM throttle_cells WHERE clear_at <= $1 AND (banned_at IS NULL OR clear_at <= $2) LIMIT $3) RETURNING bucket";
    list_events: "SELECT {event} FROM audit_events e ORDER BY e.id DESC LIMIT $1";
    list_events_of_user: "SELECT {event} FROM audit_events e WHERE e.user_id = $2 ORDER BY e.id DESC LIMIT $1";
    find_user_by_id: "SELECT {user} FROM users u WHERE u.id = $1";
    edit_user: "UPDATE users SET email = CASE WHEN $2 THEN $3 ELSE email END,
        email_verified = CASE WHEN $2 THEN $3 IS NOT NULL ELSE email_verified END,
        name = CASE WHEN $4 THEN $5 ELSE name END, groups = COALESCE($6, groups), state = COALESCE($7, state),
        password = COALESCE($8, password) WHERE id = $1";
    // What nobody has verified is only a claim; an address that an administrator gives is verified.
    email_taken: "SELECT 1 AS taken FROM users
        WHERE id <> $1 AND (username = $2 OR (email = $2 AND email_verified)) LIMIT 1";
    drop_email_claims: "UPDATE users SET email = NULL WHERE id <> $1 AND email = $2 AND NOT email_verified";
    set_app_user: "INSERT INTO app_users (user_id, source, value) VALUES ($1, $2, $3)
        ON CONFLICT (user_id, source) DO UPDATE SET value = excluded.value";
    unset_app_user: "DELETE FROM app_users WHERE user_id = $1 AND source = $2";
    set_session_data: "UPDATE sessions SET data = $2 WHERE public_id = $1 RETURNING digest, public_id, user_id";
    // The key of a user; of a deleted one as the log knows it.
    event_user: "SELECT COALESCE((SELECT id FROM users WHERE username = $1),
        (SELECT user_id FROM audit_events WHERE username = $1 AND kind = 'user_deleted' LIMIT 1)) AS id";
    find_events: "SELECT e.id AS event_id, {event} FROM audit_events e WHERE e.id < $1
        AND ($3 IS NULL OR e.at >= $3) AND ($4 IS NULL OR e.at < $4)
        AND ($5 IS NULL OR e.kind = $5) ORDER BY e.id DESC LIMIT $2";
    find_events_of_user: "SELECT e.id AS event_id, {event} FROM audit_events e WHERE e.id < $1
        AND ($3 IS NULL OR e.at >= $3) AND ($4 IS NULL OR e.at < $4)
        AND ($5 IS NULL OR e.kind = $5) AND e.user_id = $6 ORDER BY e.id DESC LIMIT $2";
    find_events_of_session: "SELECT e.id AS event_id, {event} FROM audit_events e WHERE e.id < $1
        AND ($3 IS NULL OR e.at >= $3) AND ($4 IS NULL OR e.at < $4)
        AND ($5 IS NULL OR e.kind = $5) AND e.session_id = $6 AND ($7 IS NULL OR e.user_id = $7)
        ORDER BY e.id DESC LIMIT $2";
    forget_events: "DELETE FROM audit_events WHERE id IN (SELECT id FROM audit_events WHERE at < $1
        ORDER BY at LIMIT $2) RETURNING 1 AS forgotten";
    // Public ids begin with the time of the log-in. `bytes` is what the texts of one session take, by a sample.
    session_figures: "SELECT (SELECT count(*) FROM sessions) AS total,
        (SELECT count(*) FROM sessions WHERE sweep_at <= $2 AND expires_at <= $1) AS expired,
        (SELECT count(*) FROM sessions WHERE public_id >= $3) AS created_today,
        (SELECT count(*) FROM users) AS users,
        (SELECT CAST(COALESCE(avg(octet_length(methods) + COALESCE(octet_length(user_agent), 0)
            + COALESCE(octet_length(device), 0) + COALESCE(octet_length(first_address), 0)
            + COALESCE(octet_length(last_address), 0) + COALESCE(octet_length(data), 0)), 0) AS INTEGER)
            FROM (SELECT * FROM sessions LIMIT 1000)) AS bytes";
    busiest_users: "SELECT u.username, c.sessions FROM (SELECT user_id, count(*) AS sessions FROM sessions
            WHERE expires_at > $1 GROUP BY user_id ORDER BY 2 DESC, 1 LIMIT $2) c
        JOIN users u ON u.id = c.user_id ORDER BY c.sessions DESC, u.username";
    event_hours: "SELECT at / 3600000000 AS hour, kind, count(*) AS events,
        min(at) AS oldest FROM (SELECT at, kind FROM audit_events WHERE at >= $1 ORDER BY at DESC LIMIT $2) newest
        GROUP BY 1, 2";
    log_ins_by_address: "SELECT address AS what, count(*) AS events FROM (SELECT kind, address FROM audit_events
            WHERE at >= $1 ORDER BY at DESC LIMIT $2) newest
        WHERE kind = 'login_succeeded' AND address IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $3";
    failures_by_reason: "SELECT reason AS what, count(*) AS events FROM (SELECT kind, reason FROM audit_events
            WHERE at >= $1 ORDER BY at DESC LIMIT $2) newest
        WHERE kind = 'login_failed' AND reason IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $3";
    log_ins_by_device: "SELECT device AS what, count(*) AS events FROM (SELECT kind, device FROM audit_events
            WHERE at >= $1 ORDER BY at DESC LIMIT $2) newest
        WHERE kind = 'login_succeeded' AND device IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $3";
    insert_pass: "INSERT INTO admin_passes (digest, kind, expires_at) VALUES ($1, $2, $3)";
    take_pass: "DELETE FROM admin_passes WHERE digest = $1 AND kind = $2
        AND ($3 IS NULL OR expires_at > $3) RETURNING 1 AS taken";
    has_pass: "SELECT 1 AS good FROM admin_passes WHERE digest = $1 AND kind = $2 AND expires_at > $3";
    forget_passes: "DELETE FROM admin_passes WHERE expires_at <= $1";
    bury: "INSERT INTO legacy_ended (digest, source, ended_at, until) VALUES ($1, $2, $3, $4)
        ON CONFLICT (digest) DO UPDATE SET until = max(until, excluded.until)";
    find_tombstones: "SELECT digest FROM legacy_ended WHERE digest IN (SELECT unhex(value) FROM json_each($1))";
    forget_tombstones: "DELETE FROM legacy_ended WHERE digest IN
        (SELECT digest FROM legacy_ended WHERE until <= $1 ORDER BY until LIMIT $2) RETURNING 1 AS forgotten";
    write_instance: "INSERT INTO instances (id, version, host, address, cookie, fingerprints, started_at, last_seen)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
        ON CONFLICT (id) DO UPDATE SET last_seen = excluded.last_seen, version = excluded.version, host = excluded.host,
            address = excluded.address, cookie = excluded.cookie, fingerprints = excluded.fingerprints";
    forget_silent_instances: "DELETE FROM instances WHERE last_seen < $1";
    list_instances: "SELECT id, started_at, last_seen, version, host, address, cookie, fingerprints FROM instances
        ORDER BY started_at, id LIMIT 1000";
    forget_instance: "DELETE FROM instances WHERE id = $1";
    find_imported: "SELECT s.user_id AS copy_of, s.ends_at FROM imported_sessions i
        LEFT JOIN sessions s ON s.digest = i.digest WHERE i.digest = $1";
    claim_import: "INSERT INTO imported_sessions (digest, user_id, seen_at, source, of_row)
        VALUES ($1, $2, $3, $4, $5)";
    move_import: "UPDATE sessions SET expires_at = $2, ends_at = $2, sweep_at = $3 WHERE digest = $1";
    see_import: "UPDATE imported_sessions SET seen_at = $2, of_row = $3 WHERE digest = $1";
    end_copies: "DELETE FROM sessions WHERE digest IN (SELECT digest FROM imported_sessions WHERE of_row = $1)
        RETURNING digest, public_id, user_id";
    forget_import: "DELETE FROM imported_sessions WHERE digest = $1";
    count_imported: "SELECT count(*) AS copies FROM imported_sessions i JOIN sessions s ON s.digest = i.digest
        WHERE i.source = $1";
    end_unseen: "DELETE FROM sessions WHERE digest IN
        (SELECT s.digest FROM imported_sessions i JOIN sessions s ON s.digest = i.digest
        WHERE i.source = $1 AND i.seen_at < $2 ORDER BY s.digest LIMIT $3)
        RETURNING digest, public_id, user_id";
    find_imported_user: "SELECT {user} FROM imported_users i JOIN users u ON u.id = i.user_id
        WHERE i.source = $1 AND i.subject = $2";
    link_imported_user: "INSERT INTO imported_users (source, subject, user_id) VALUES ($1, $2, $3)";
    data_version: "PRAGMA data_version";
    count: "SELECT (SELECT count(*) FROM users) AS users,
        (SELECT count(*) FROM sessions WHERE expires_at > $1 AND ends_at > $1) AS sessions";
}

impl Statements {
    pub(super) fn new() -> Self {
        Self::spelled(&[("{session}", SESSION), ("{user}", USER), ("{event}", EVENT)])
    }
}
