-- Who a user of ours is in an application that keeps its own sessions, as an administrator said. The value is JSON as the
-- application itself keeps it: a text, a whole number, or an object.
CREATE TABLE app_users (
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    source  TEXT NOT NULL CHECK (length(source) BETWEEN 1 AND 32 AND source NOT GLOB '*[^a-z0-9-]*' AND source GLOB '[a-z]*'),
    value   TEXT NOT NULL CHECK (octet_length(value) <= 1024 AND json_valid(value)
                 AND json_type(value) IN ('text', 'integer', 'object')),
    PRIMARY KEY (user_id, source)
) STRICT;
