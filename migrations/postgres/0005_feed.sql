-- The change feed: what is changed here, by a gateway or by hand, is told to every gateway that listens on the channel
-- portcullis_<schema>. Messages: s:<digests in hex> (these sessions), u:<id> (this user), f (anything). Runs in one
-- transaction with search_path on our schema.

-- One function for all triggers, so that no role needs a right to another one. It never fails the statement that it tells
-- of: gateways that are told nothing go on asking at their bounds. A queue that fills up (somebody listens and does not
-- read) would fail the commit, where nothing can be caught; heartbeats stop at half of it, so by three quarters no gateway
-- relies on being told.
CREATE FUNCTION feed() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- The names of channels end after 63 bytes.
    channel  text := 'portcullis_' || CASE WHEN octet_length(TG_TABLE_SCHEMA) <= 52 THEN TG_TABLE_SCHEMA
                     ELSE left(encode(sha256(convert_to(TG_TABLE_SCHEMA, 'UTF8')), 'hex'), 40) END;
    moment   timestamptz := clock_timestamp();
    messages text[];
    found    bigint;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        messages := ARRAY['f'];
    ELSIF TG_ARGV[0] = 'sessions' AND TG_OP = 'UPDATE' THEN
        messages := ARRAY['s:' || encode(OLD.digest, 'hex') ||
            CASE WHEN NEW.digest = OLD.digest THEN '' ELSE encode(NEW.digest, 'hex') END];
    ELSIF TG_ARGV[0] = 'sessions' THEN
        -- Nobody believes what had expired, so the sweep tells nothing.
        SELECT count(*) INTO found FROM gone WHERE expires_at > moment AND ends_at > moment;
        IF found > 2000 THEN
            messages := ARRAY['f'];
        ELSIF found > 0 THEN
            -- 120 digests are 7,680 bytes; a payload has room for 7,999.
            WITH live AS (
                SELECT user_id, digest, count(*) OVER (PARTITION BY user_id) AS of_user
                FROM gone WHERE expires_at > moment AND ends_at > moment),
            few AS (SELECT digest, (row_number() OVER () - 1) / 120 AS batch FROM live WHERE of_user <= 200)
            SELECT array_agg(message) INTO messages FROM (
                SELECT DISTINCT 'u:' || user_id FROM live WHERE of_user > 200
                UNION ALL
                SELECT 's:' || string_agg(encode(digest, 'hex'), '') FROM few GROUP BY batch) AS told (message);
        END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        messages := ARRAY['u:' || OLD.id, 'u:' || NEW.id];
    ELSE
        SELECT count(*) INTO found FROM gone;
        IF found > 2000 THEN
            messages := ARRAY['f'];
        ELSE
            SELECT array_agg('u:' || id) INTO messages FROM gone;
        END IF;
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

CREATE TRIGGER feed_deleted AFTER DELETE ON sessions REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION feed('sessions');
CREATE TRIGGER feed_truncated AFTER TRUNCATE ON sessions
    FOR EACH STATEMENT EXECUTE FUNCTION feed('sessions');
-- Activity only moves ends forward, and is never told.
CREATE TRIGGER feed_updated AFTER UPDATE ON sessions FOR EACH ROW
    WHEN (OLD.digest <> NEW.digest OR OLD.user_id <> NEW.user_id OR OLD.expires_at > NEW.expires_at
        OR OLD.ends_at > NEW.ends_at OR OLD.authenticated_at > NEW.authenticated_at)
    EXECUTE FUNCTION feed('sessions');

CREATE TRIGGER feed_deleted AFTER DELETE ON users REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION feed('users');
CREATE TRIGGER feed_truncated AFTER TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION feed('users');
CREATE TRIGGER feed_updated AFTER UPDATE ON users FOR EACH ROW
    WHEN ((OLD.id, OLD.state, OLD.groups, OLD.name, OLD.email, OLD.email_verified, OLD.password, OLD.username)
        IS DISTINCT FROM
        (NEW.id, NEW.state, NEW.groups, NEW.name, NEW.email, NEW.email_verified, NEW.password, NEW.username))
    EXECUTE FUNCTION feed('users');
