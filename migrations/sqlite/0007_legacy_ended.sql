-- Sessions of applications that were ended here. Their rows may come back, since an application that had read one saves it
-- again; what stands here is never believed until `until`, the longest that such a row can live. A digest is one of the
-- source's name and of the hash of the row's key: nobody can be signed in with it.
CREATE TABLE legacy_ended (
    digest   BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    source   TEXT    NOT NULL CHECK (octet_length(source) BETWEEN 1 AND 64),
    ended_at INTEGER NOT NULL,
    until    INTEGER NOT NULL
) STRICT;
CREATE INDEX legacy_ended_until_idx ON legacy_ended (until);
