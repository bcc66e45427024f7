-- Runs of the sweep: when expired sessions were removed last, how many and how long it took. Only the newest are kept.

CREATE TABLE sweeps (
    id          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    took_micros INTEGER NOT NULL,
    removed     INTEGER NOT NULL,
    by_hand     INTEGER NOT NULL CHECK (by_hand IN (0, 1)),
    error       TEXT    CHECK (error IN ('timed_out', 'unreachable', 'refused'))
) STRICT;
