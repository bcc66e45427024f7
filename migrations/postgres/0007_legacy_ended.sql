-- Sessions of applications that were ended here. Their rows may come back, since an application that had read one saves it
-- again; what stands here is never believed until `until`, the longest that such a row can live. A digest is one of the
-- source's name and of the hash of the row's key: nobody can be signed in with it.
CREATE TABLE legacy_ended (
    ended_at timestamptz NOT NULL,
    until    timestamptz NOT NULL,
    digest   bytea       NOT NULL CONSTRAINT legacy_ended_pkey PRIMARY KEY
                         CONSTRAINT legacy_ended_digest_check CHECK (octet_length(digest) = 32),
    source   text        NOT NULL CONSTRAINT legacy_ended_source_check CHECK (octet_length(source) BETWEEN 1 AND 64)
);
CREATE INDEX legacy_ended_until_idx ON legacy_ended (until);

-- Told to every gateway like an end of a session of ours (migration 5): s:<digests in hex>, or f for more than 2,000.
CREATE FUNCTION feed_ended() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- The names of channels end after 63 bytes.
    channel  text := 'portcullis_' || CASE WHEN octet_length(TG_TABLE_SCHEMA) <= 52 THEN TG_TABLE_SCHEMA
                     ELSE left(encode(sha256(convert_to(TG_TABLE_SCHEMA, 'UTF8')), 'hex'), 40) END;
    messages text[];
    found    bigint;
BEGIN
    SELECT count(*) INTO found FROM made;
    IF found > 2000 THEN
        messages := ARRAY['f'];
    ELSIF found > 0 THEN
        -- 120 digests are 7,680 bytes; a payload has room for 7,999.
        SELECT array_agg(message) INTO messages FROM (
            SELECT 's:' || string_agg(encode(digest, 'hex'), '')
            FROM (SELECT digest, (row_number() OVER () - 1) / 120 AS batch FROM made) AS few
            GROUP BY batch) AS told (message);
    END IF;
    IF messages IS NOT NULL AND pg_notification_queue_usage() < 0.75 THEN
        PERFORM pg_notify(channel, message) FROM unnest(messages) AS told (message);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'portcullis: gateways were not told of a change: %', SQLERRM;
    RETURN NULL;
END
$$;

CREATE TRIGGER feed_ended AFTER INSERT ON legacy_ended REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION feed_ended();
