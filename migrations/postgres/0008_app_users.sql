-- Who a user of ours is in an application that keeps its own sessions, as an administrator said. The value is JSON as the
-- application itself keeps it: a text, a whole number, or an object.
CREATE TABLE app_users (
    user_id uuid NOT NULL CONSTRAINT app_users_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    source  text COLLATE "C" NOT NULL CONSTRAINT app_users_source_check CHECK (source ~ '^[a-z][a-z0-9-]{0,31}$'),
    value   json NOT NULL CONSTRAINT app_users_value_check
                 CHECK (octet_length(value::text) <= 1024 AND json_typeof(value) IN ('string', 'number', 'object')),
    CONSTRAINT app_users_pkey PRIMARY KEY (user_id, source)
);

-- Gateways keep it with the user, so a change of it is told as one of the user.
CREATE FUNCTION feed_app_users() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- The names of channels end after 63 bytes.
    channel text := 'portcullis_' || CASE WHEN octet_length(TG_TABLE_SCHEMA) <= 52 THEN TG_TABLE_SCHEMA
                    ELSE left(encode(sha256(convert_to(TG_TABLE_SCHEMA, 'UTF8')), 'hex'), 40) END;
BEGIN
    IF pg_notification_queue_usage() >= 0.75 THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify(channel, 'f');
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify(channel, 'u:' || OLD.user_id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM pg_notify(channel, 'u:' || NEW.user_id);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'portcullis: gateways were not told of a change: %', SQLERRM;
    RETURN NULL;
END
$$;

CREATE TRIGGER feed_changed AFTER INSERT OR UPDATE OR DELETE ON app_users
    FOR EACH ROW EXECUTE FUNCTION feed_app_users();
CREATE TRIGGER feed_truncated AFTER TRUNCATE ON app_users
    FOR EACH STATEMENT EXECUTE FUNCTION feed_app_users();
