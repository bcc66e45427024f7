-- Sessions that were copied from tables of applications, and users who were made for them. Runs in one transaction with
-- search_path on our schema.

-- Each key once, whatever became of its copy since: one that was ended here is not copied again. No foreign key: it
-- outlives the session. The digest is keyed by the session secrets, so that nobody can tell a cookie from it.
CREATE TABLE imported_sessions (
    user_id uuid        NOT NULL,
    seen_at timestamptz NOT NULL,
    digest  bytea       NOT NULL CONSTRAINT imported_sessions_pkey PRIMARY KEY
                        CONSTRAINT imported_sessions_digest_check CHECK (octet_length(digest) = 32),
    source  text        COLLATE "C" NOT NULL CONSTRAINT imported_sessions_source_check CHECK (octet_length(source) <= 64)
);

CREATE INDEX imported_sessions_seen_idx ON imported_sessions (source, seen_at);

-- Who was made for whom, so that a second run finds them again and nobody else is taken for them.
CREATE TABLE imported_users (
    source  text COLLATE "C" NOT NULL CONSTRAINT imported_users_source_check CHECK (octet_length(source) <= 64),
    subject text COLLATE "C" NOT NULL CONSTRAINT imported_users_subject_check CHECK (octet_length(subject) <= 256),
    user_id uuid NOT NULL CONSTRAINT imported_users_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT imported_users_pkey PRIMARY KEY (source, subject)
);

CREATE INDEX imported_users_user_id_idx ON imported_users (user_id);
