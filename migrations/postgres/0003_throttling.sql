-- Throttling of attempts, and what the audit log tells of devices and of sessions that took another's place.

-- One cell for each account, address or browser that tried something lately (generic cell rate algorithm). The next attempt
-- is counted from free_at on; at clear_at the row says nothing any more and may be deleted. No foreign key to users: it
-- outlives nobody by more than minutes.
CREATE TABLE throttle_cells (
    free_at   timestamptz NOT NULL,
    clear_at  timestamptz NOT NULL,
    banned_at timestamptz,
    user_id   uuid,
    bucket    text        COLLATE "C" NOT NULL CONSTRAINT throttle_cells_pkey PRIMARY KEY
                          CONSTRAINT throttle_cells_bucket_check CHECK (octet_length(bucket) <= 128)
) WITH (fillfactor = 85);

CREATE INDEX throttle_cells_clear_at_idx ON throttle_cells (clear_at);
CREATE INDEX throttle_cells_user_id_idx ON throttle_cells (user_id) WHERE user_id IS NOT NULL;

ALTER TABLE audit_events ADD COLUMN device text;
ALTER TABLE audit_events ADD COLUMN successor_id uuid;
