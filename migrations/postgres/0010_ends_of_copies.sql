-- Of which row a session is a copy, as `legacy_ended` knows it (migration 7), so that who ends the application's session
-- ends its copies with it. Null of copies that an older version made, until a run of the import sees their row again. And
-- which application an event is about.
ALTER TABLE imported_sessions ADD COLUMN of_row bytea CONSTRAINT imported_sessions_of_row_check
    CHECK (octet_length(of_row) = 32);
CREATE INDEX imported_sessions_of_row_idx ON imported_sessions (of_row) WHERE of_row IS NOT NULL;
ALTER TABLE audit_events ADD COLUMN source text CONSTRAINT audit_events_source_check CHECK (octet_length(source) <= 64);
