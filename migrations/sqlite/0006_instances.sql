-- Gateways that run on this database. One file has one gateway, which has nobody to tell; the table is the same all the same.
CREATE TABLE instances (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    started_at   INTEGER NOT NULL,
    last_seen    INTEGER NOT NULL,
    version      TEXT    NOT NULL CHECK (octet_length(version) <= 64),
    host         TEXT    NOT NULL CHECK (octet_length(host) <= 255),
    address      TEXT    NOT NULL CHECK (octet_length(address) <= 255),
    cookie       TEXT    NOT NULL CHECK (octet_length(cookie) <= 512),
    fingerprints TEXT    NOT NULL CHECK (json_valid(fingerprints) AND json_type(fingerprints) = 'array'
                         AND fingerprints NOT GLOB '*[^][",0-9a-f]*')
) STRICT;
