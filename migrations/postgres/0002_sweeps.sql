-- Runs of the sweep: when expired sessions were removed last, how many and how long it took. Only the newest are kept.

CREATE TABLE sweeps (
    id          bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT sweeps_pkey PRIMARY KEY,
    at          timestamptz NOT NULL,
    took_micros bigint      NOT NULL,
    removed     bigint      NOT NULL,
    by_hand     boolean     NOT NULL,
    error       text        CONSTRAINT sweeps_error_check CHECK (error IN ('timed_out', 'unreachable', 'refused'))
);
