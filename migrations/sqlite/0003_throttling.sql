-- Throttling of attempts, and what the audit log tells of devices and of sessions that took another's place.

-- One cell for each account, address or browser that tried something lately (generic cell rate algorithm). The next attempt
-- is counted from free_at on; at clear_at the row says nothing any more and may be deleted.
CREATE TABLE throttle_cells (
    bucket    TEXT    NOT NULL PRIMARY KEY CHECK (octet_length(bucket) <= 128),
    free_at   INTEGER NOT NULL,
    clear_at  INTEGER NOT NULL,
    banned_at INTEGER,
    user_id   BLOB
) STRICT;

CREATE INDEX throttle_cells_clear_at_idx ON throttle_cells (clear_at);
CREATE INDEX throttle_cells_user_id_idx ON throttle_cells (user_id) WHERE user_id IS NOT NULL;

ALTER TABLE audit_events ADD COLUMN device TEXT;
ALTER TABLE audit_events ADD COLUMN successor_id BLOB;
