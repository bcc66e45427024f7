use crate::store::statements::statements;

const SESSION: &str = "s.digest, s.public_id, s.user_id, s.created_at, s.authenticated_at, s.last_seen_at, s.expires_at, \
    s.ends_at, s.remembered, s.methods, s.user_agent, s.device, host(s.first_address) AS first_address, \
    host(s.last_address) AS last_address, s.data";
const USER: &str = "u.id, u.username, u.email, u.email_verified, u.name, u.groups, u.state, \
    u.created_at AS user_created_at";
const EVENT: &str = "e.at, e.kind, e.actor, e.user_id, e.username, e.session_id, host(e.address) AS address, e.reason";

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
    // A disabling under way holds the row: this waits for it and then sees the user disabled.
    lock_active_user: "SELECT 1 AS active FROM {schema}.users WHERE id = $1 AND state = 'active' FOR SHARE";
    take_session: "DELETE FROM {schema}.sessions WHERE digest = $1 RETURNING digest, public_id, user_id, data";
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
    // One at a time adds users: a name and an address in two rows are unique together only that way.
    lock_names: "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    names_taken: "SELECT EXISTS (SELECT 1 FROM {schema}.users WHERE username = $1 OR email = $1)
        OR EXISTS (SELECT 1 FROM {schema}.retired_usernames WHERE username = $1) AS username_taken,
        EXISTS (SELECT 1 FROM {schema}.users WHERE email = $2 OR username = $2) AS email_taken";
    insert_user: "INSERT INTO {schema}.users (id, created_at, email_verified, state, username, email, name, password,
        groups) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    find_credentials: "SELECT {user}, u.password FROM {schema}.users u WHERE u.username = $1 OR u.email = $1
        ORDER BY (u.username = $1) DESC LIMIT 1";
    find_user: "SELECT {user} FROM {schema}.users u WHERE u.username = $1";
    list_users: "SELECT {user} FROM {schema}.users u WHERE u.username > $1
        AND ($2 = '' OR strpos(u.username, $2) > 0 OR strpos(u.email, $2) > 0) ORDER BY u.username LIMIT $3";
    lock_user: "SELECT groups, username FROM {schema}.users WHERE id = $1 FOR UPDATE";
    update_user: "UPDATE {schema}.users SET password = COALESCE($2, password), state = COALESCE($3, state),
        groups = COALESCE($4, groups) WHERE id = $1";
    retire_username: "INSERT INTO {schema}.retired_usernames (username, retired_at) VALUES ($1, $2)
        ON CONFLICT DO NOTHING";
    delete_user: "DELETE FROM {schema}.users WHERE id = $1";
    insert_event: "INSERT INTO {schema}.audit_events (at, kind, actor, user_id, username, session_id, address, reason)
        VALUES ($1, $2, $3, $4, $5, $6, $7::text::inet, $8)";
    list_events: "SELECT {event} FROM {schema}.audit_events e ORDER BY e.id DESC LIMIT $1";
    list_events_of_user: "SELECT {event} FROM {schema}.audit_events e WHERE e.user_id = $2 ORDER BY e.id DESC LIMIT $1";
    now: "SELECT clock_timestamp() AS now";
    count: "SELECT (SELECT count(*) FROM {schema}.users) AS users,
        (SELECT count(*) FROM {schema}.sessions WHERE expires_at > $1 AND ends_at > $1) AS sessions";
}

impl Statements {
    /// For tables in `schema`, which is quoted here.
    pub(super) fn in_schema(schema: &str) -> Self {
        let schema = quoted(schema);
        Self::spelled(&[
            ("{schema}", &schema),
            ("{session}", SESSION),
            ("{user}", USER),
            ("{event}", EVENT),
        ])
    }
}

/// A name as SQL writes it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
