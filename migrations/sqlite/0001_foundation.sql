-- Users, sessions and the audit log. Times are microseconds since 1970 in UTC, keys are 16 or 32 bytes.

CREATE TABLE users (
    id             BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    created_at     INTEGER NOT NULL,
    email_verified INTEGER NOT NULL CHECK (email_verified IN (0, 1)),
    state          TEXT    NOT NULL CHECK (state IN ('active', 'disabled')),
    username       TEXT    NOT NULL UNIQUE CHECK (length(username) BETWEEN 1 AND 64 AND username NOT GLOB '*[^a-z0-9._@+-]*'),
    email          TEXT    UNIQUE CHECK (octet_length(email) <= 254 AND email = lower(email)),
    name           TEXT    CHECK (octet_length(name) <= 128),
    password       TEXT    CHECK (octet_length(password) <= 512),
    groups         TEXT    NOT NULL CHECK (json_valid(groups) AND json_type(groups) = 'array')
) STRICT;

-- Names of deleted users: never given out again.
CREATE TABLE retired_usernames (
    username   TEXT    NOT NULL PRIMARY KEY,
    retired_at INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    digest           BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    public_id        BLOB    NOT NULL UNIQUE CHECK (length(public_id) = 16),
    user_id          BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at       INTEGER NOT NULL,
    authenticated_at INTEGER NOT NULL,
    last_seen_at     INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    ends_at          INTEGER NOT NULL,
    sweep_at         INTEGER NOT NULL,
    remembered       INTEGER NOT NULL CHECK (remembered IN (0, 1)),
    methods          TEXT    NOT NULL,
    user_agent       TEXT    CHECK (octet_length(user_agent) <= 128),
    device           TEXT    CHECK (octet_length(device) <= 128),
    first_address    TEXT,
    last_address     TEXT,
    data             TEXT    CHECK (json_valid(data) AND json_type(data) = 'object' AND octet_length(data) <= 8192),
    CHECK (expires_at <= ends_at)
) STRICT;

CREATE INDEX sessions_user_id_idx ON sessions (user_id);
CREATE INDEX sessions_sweep_at_idx ON sessions (sweep_at);

-- No foreign key to users or sessions: the log outlives them.
CREATE TABLE audit_events (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    user_id    BLOB,
    session_id BLOB,
    kind       TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    username   TEXT,
    address    TEXT,
    reason     TEXT
) STRICT;

CREATE INDEX audit_events_at_idx ON audit_events (at);
CREATE INDEX audit_events_user_id_idx ON audit_events (user_id, id) WHERE user_id IS NOT NULL;
