-- Gateways that run on this database, so that each can see whether the others understand its cookies. The fingerprints are
-- of the session secrets in their order (the first signs, all verify) and give none of them away.
CREATE TABLE instances (
    started_at   timestamptz NOT NULL,
    last_seen    timestamptz NOT NULL,
    id           uuid        NOT NULL CONSTRAINT instances_pkey PRIMARY KEY,
    version      text        NOT NULL CONSTRAINT instances_version_check CHECK (octet_length(version) <= 64),
    host         text        NOT NULL CONSTRAINT instances_host_check CHECK (octet_length(host) <= 255),
    address      text        NOT NULL CONSTRAINT instances_address_check CHECK (octet_length(address) <= 255),
    cookie       text        NOT NULL CONSTRAINT instances_cookie_check CHECK (octet_length(cookie) <= 512),
    fingerprints text[]      NOT NULL CONSTRAINT instances_fingerprints_check
                             CHECK (array_to_string(fingerprints, ',') ~ '^([0-9a-f]{16}(,[0-9a-f]{16})*)?$')
);
