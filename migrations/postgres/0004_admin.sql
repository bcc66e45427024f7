-- What opens the operators' page: links that are good for one use, and the browsers that used one. Only digests are kept.
CREATE TABLE admin_passes (
    expires_at timestamptz NOT NULL,
    digest     bytea       NOT NULL CONSTRAINT admin_passes_pkey PRIMARY KEY
                           CONSTRAINT admin_passes_digest_check CHECK (octet_length(digest) = 32),
    kind       text        NOT NULL CONSTRAINT admin_passes_kind_check CHECK (kind IN ('link', 'browser'))
);

-- What happened to one session is asked for by name.
CREATE INDEX audit_events_session_id_idx ON audit_events (session_id, id) WHERE session_id IS NOT NULL;
