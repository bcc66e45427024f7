-- Users, sessions and the audit log. Runs in one transaction with search_path on our schema.

-- Usernames are compared and sorted by bytes, as in SQLite and in the program.
CREATE TABLE users (
    id             uuid        NOT NULL CONSTRAINT users_pkey PRIMARY KEY,
    created_at     timestamptz NOT NULL,
    email_verified boolean     NOT NULL,
    state          text        NOT NULL CONSTRAINT users_state_check CHECK (state IN ('active', 'disabled')),
    username       text        COLLATE "C" NOT NULL CONSTRAINT users_username_key UNIQUE
                               CONSTRAINT users_username_check CHECK (username ~ '^[a-z0-9._@+-]{1,64}$'),
    email          text        COLLATE "C" CONSTRAINT users_email_key UNIQUE
                               CONSTRAINT users_email_check CHECK (octet_length(email) <= 254 AND email = lower(email)),
    name           text        CONSTRAINT users_name_check CHECK (octet_length(name) <= 128),
    password       text        CONSTRAINT users_password_check CHECK (octet_length(password) <= 512),
    groups         text[]      NOT NULL
);

-- Names of deleted users: never given out again.
CREATE TABLE retired_usernames (
    username   text        COLLATE "C" NOT NULL CONSTRAINT retired_usernames_pkey PRIMARY KEY,
    retired_at timestamptz NOT NULL
);

-- Wide columns first: no padding between them. Room on each page for updates that touch no index (HOT): a touch moves
-- last_seen_at and expires_at, and sweep_at only when the hour changes.
CREATE TABLE sessions (
    public_id        uuid        NOT NULL CONSTRAINT sessions_public_id_key UNIQUE,
    user_id          uuid        NOT NULL CONSTRAINT sessions_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    created_at       timestamptz NOT NULL,
    authenticated_at timestamptz NOT NULL,
    last_seen_at     timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    ends_at          timestamptz NOT NULL,
    sweep_at         timestamptz NOT NULL,
    remembered       boolean     NOT NULL,
    digest           bytea       NOT NULL CONSTRAINT sessions_pkey PRIMARY KEY
                                 CONSTRAINT sessions_digest_check CHECK (octet_length(digest) = 32),
    methods          text        NOT NULL,
    user_agent       text        CONSTRAINT sessions_user_agent_check CHECK (octet_length(user_agent) <= 128),
    device           text        CONSTRAINT sessions_device_check CHECK (octet_length(device) <= 128),
    first_address    inet,
    last_address     inet,
    -- jsonb's text form has spaces that the 4 KiB of the program's check do not count.
    data             jsonb       CONSTRAINT sessions_data_check
                                 CHECK (jsonb_typeof(data) = 'object' AND octet_length(data::text) <= 8192),
    CONSTRAINT sessions_ends_check CHECK (expires_at <= ends_at)
) WITH (fillfactor = 85);

CREATE INDEX sessions_user_id_idx ON sessions (user_id);
CREATE INDEX sessions_sweep_at_idx ON sessions (sweep_at);

-- No foreign key to users or sessions: the log outlives them.
CREATE TABLE audit_events (
    id         bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT audit_events_pkey PRIMARY KEY,
    at         timestamptz NOT NULL,
    user_id    uuid,
    session_id uuid,
    kind       text        NOT NULL,
    actor      text        NOT NULL,
    username   text,
    address    inet,
    reason     text
);

CREATE INDEX audit_events_at_idx ON audit_events (at);
CREATE INDEX audit_events_user_id_idx ON audit_events (user_id, id) WHERE user_id IS NOT NULL;
