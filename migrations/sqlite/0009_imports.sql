-- Sessions that were copied from tables of applications, and users who were made for them.

-- Each key once, whatever became of its copy since: one that was ended here is not copied again. No foreign key: it
-- outlives the session. The digest is keyed by the session secrets, so that nobody can tell a cookie from it.
CREATE TABLE imported_sessions (
    digest  BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    user_id BLOB    NOT NULL CHECK (length(user_id) = 16),
    seen_at INTEGER NOT NULL,
    source  TEXT    NOT NULL CHECK (octet_length(source) <= 64)
) STRICT;

CREATE INDEX imported_sessions_seen_idx ON imported_sessions (source, seen_at);

-- Who was made for whom, so that a second run finds them again and nobody else is taken for them.
CREATE TABLE imported_users (
    source  TEXT NOT NULL CHECK (octet_length(source) <= 64),
    subject TEXT NOT NULL CHECK (octet_length(subject) <= 256),
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (source, subject)
) STRICT;

CREATE INDEX imported_users_user_id_idx ON imported_users (user_id);
