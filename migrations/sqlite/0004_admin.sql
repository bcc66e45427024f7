-- What opens the operators' page: links that are good for one use, and the browsers that used one. Only digests are kept.
CREATE TABLE admin_passes (
    digest     BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    kind       TEXT    NOT NULL CHECK (kind IN ('link', 'browser')),
    expires_at INTEGER NOT NULL
) STRICT;

-- What happened to one session is asked for by name.
CREATE INDEX audit_events_session_id_idx ON audit_events (session_id, id) WHERE session_id IS NOT NULL;
