//! The libraries that no test signs in with: cookies out of their own code, and rows in tables as they make them. Each is
//! known while the library would know it, and nobody otherwise.

use super::*;
use crate::support::stage::Stage;
use base64::engine::general_purpose::STANDARD;
use rmpv::Value as Pack;
use std::fmt::Write as _;

/// Bytes 0 to 31, as `APP_KEY` has them.
const LARAVEL_KEY: &str = "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const LARAVEL: &str = "eyJpdiI6IklDRWlJeVFsSmljb0tTb3JMQzB1THc9PSIsInZhbHVlIjoiT05uaHlzVlVmSDNRR1AvcWRhTUxZWjNHaVUxZHpFUlZKRHpUUEprL1YvNm5reHZ1U3Jqc1NqTkt4U3lyMEV5cjM0NlM3WEZ3NVB0bVYzMlJpODJ1aTlsd2sweVdQL202ajNkT3lMT1pUL0FORWJXcjhDZUdtb1c3ek5ENWphemsiLCJtYWMiOiI5NGIwMTQ3YTIxMzM5Nzk4NmQ5ZGNjZGVlODlmOTE5YWE3Mjc1NGNiYWVlMDZjNjM1ODJhODEyMTUxNTQ5OGViIiwidGFnIjoiIn0%3D";
/// Of id 7, by a key as Rails derives it since 7.0, for 64 times `a`; it ends in 2046.
const RAILS8: &str = "eyJfcmFpbHMiOnsibWVzc2FnZSI6Ik53PT0iLCJleHAiOiIyMDQ2LTExLTIxVDA4OjA0OjQzLjc5NVoiLCJwdXIiOiJjb29raWUuc2Vzc2lvbl9pZCJ9fQ%3D%3D--06f06efc6d17001cd356e83a3c0d8367e83c7da5";
/// The same as Rails derived it before.
const RAILS8_OLD: &str = "eyJfcmFpbHMiOnsibWVzc2FnZSI6Ik53PT0iLCJleHAiOiIyMDQ2LTExLTIxVDA4OjA0OjQzLjc5NVoiLCJwdXIiOiJjb29raWUuc2Vzc2lvbl9pZCJ9fQ%3D%3D--40e873bc43c813caa62429de6b297b09f1321e92";

/// One library: its table with a live row of user 42, the cookie of it, and what makes the row nobody's.
struct Format {
    source: &'static str,
    lines: String,
    tables: String,
    cookie: String,
    /// The row is live on: SQL.
    live: &'static [&'static str],
    /// The row is nobody's: SQL.
    over: &'static [&'static str],
    /// Cookies that the library refuses.
    refused: Vec<String>,
}

fn laravel() -> Format {
    Format {
        source: "laravel",
        lines: format!("preset = \"laravel\"\nsecrets = [\"{LARAVEL_KEY}\"]\ntable = \"laravel.sessions\""),
        tables: "CREATE SCHEMA laravel; CREATE TABLE laravel.sessions (id varchar PRIMARY KEY, user_id bigint, \
                 ip_address varchar(45), user_agent text, payload text NOT NULL, last_activity int NOT NULL); \
                 INSERT INTO laravel.sessions VALUES ('aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789AbCd', 42, '::1', 'x', '', \
                 extract(epoch FROM now())::int - 119 * 60)"
            .to_owned(),
        cookie: format!("laravel_session={LARAVEL}"),
        live: &[],
        over: &[
            "UPDATE laravel.sessions SET last_activity = extract(epoch FROM now())::int - 121 * 60",
            "UPDATE laravel.sessions SET last_activity = extract(epoch FROM now())::int, user_id = NULL",
        ],
        refused: vec![
            "laravel_session=aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789AbCd".to_owned(),
            format!("laravel_session={}", LARAVEL.replace("Ijoi", "Ijpi")),
            format!("laravel_session={}", &LARAVEL[..300]),
        ],
    }
}

fn rails() -> Format {
    let data = STANDARD.encode(r#"{"value":{"warden.user.user.key":[[42],"$2a$11$abcdefghijklmnopqrstuv"]}}"#);
    let lines: Vec<&str> = data
        .as_bytes()
        .chunks(60)
        .map(|line| std::str::from_utf8(line).expect("ASCII"))
        .collect();
    Format {
        source: "rails",
        lines: "preset = \"rails\"\ntable = \"rails.sessions\"\nuser = \"/value/warden.user.user.key/0/0\"".to_owned(),
        tables: format!(
            "CREATE SCHEMA rails; CREATE TABLE rails.sessions (id bigserial PRIMARY KEY, session_id varchar NOT NULL, \
             data text, created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL); \
             CREATE UNIQUE INDEX ON rails.sessions (session_id); \
             INSERT INTO rails.sessions (session_id, data, created_at, updated_at) VALUES \
             ('2::3eb1bd439947eb762998e566ccc2e099c791118b2f40579cc4f7da2b5061b7f9', '{}\n', now(), now() - interval '29 days')",
            lines.join("\n")
        ),
        cookie: "_session_id=0123456789abcdef0123456789abcdef".to_owned(),
        live: &[],
        over: &[
            "UPDATE rails.sessions SET updated_at = now() AT TIME ZONE 'UTC' - interval '31 days'",
            "UPDATE rails.sessions SET updated_at = now() AT TIME ZONE 'UTC', \
             data = encode(convert_to('{\"value\":{}}', 'UTF8'), 'base64')",
            // What Marshal writes is never read.
            "UPDATE rails.sessions SET data = encode('\\x04087b06', 'base64')",
        ],
        refused: vec![
            "_session_id=2::3eb1bd439947eb762998e566ccc2e099c791118b2f40579cc4f7da2b5061b7f9".to_owned(),
            "_session_id=0123456789abcdef0123456789abcdee".to_owned(),
        ],
    }
}

fn rails8() -> Format {
    Format {
        source: "rails8",
        lines: format!(
            "preset = \"rails8\"\nsecrets = [\"a newer one\", \"{}\"]\ntable = \"rails8.sessions\"",
            "a".repeat(64)
        ),
        tables: "CREATE SCHEMA rails8; CREATE TABLE rails8.sessions (id bigserial PRIMARY KEY, user_id bigint NOT NULL, \
                 ip_address varchar, user_agent varchar, created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL); \
                 INSERT INTO rails8.sessions VALUES (7, 42, '::1', 'x', now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC')"
            .to_owned(),
        cookie: format!("session_id={RAILS8}"),
        live: &["UPDATE rails8.sessions SET updated_at = now() - interval '5 years'"],
        over: &[
            "UPDATE rails8.sessions SET created_at = now() - interval '31 days'",
            "UPDATE rails8.sessions SET created_at = now() AT TIME ZONE 'UTC', id = 8",
        ],
        refused: vec![
            "session_id=7".to_owned(),
            format!("session_id={}", RAILS8.replace("7da5", "7da6")),
            format!("session_id={}", RAILS8.replace("Ik53PT0i", "Ik9BPT0i")),
        ],
    }
}

fn spring() -> Format {
    Format {
        source: "spring",
        lines: "preset = \"spring-session\"\ntable = \"spring.spring_session\"".to_owned(),
        tables: "CREATE SCHEMA spring; CREATE TABLE spring.SPRING_SESSION (PRIMARY_ID CHAR(36) NOT NULL PRIMARY KEY, \
                 SESSION_ID CHAR(36) NOT NULL, CREATION_TIME BIGINT NOT NULL, LAST_ACCESS_TIME BIGINT NOT NULL, \
                 MAX_INACTIVE_INTERVAL INT NOT NULL, EXPIRY_TIME BIGINT NOT NULL, PRINCIPAL_NAME VARCHAR(100)); \
                 CREATE UNIQUE INDEX ON spring.SPRING_SESSION (SESSION_ID); \
                 INSERT INTO spring.spring_session VALUES ('11111111-9a47-4d7e-8f0a-1c2d3e4f5a6b', \
                 '3f8b5c1e-9a47-4d7e-8f0a-1c2d3e4f5a6b', 0, extract(epoch FROM now())::bigint * 1000 - 1700000, 1800, 0, '42')"
            .to_owned(),
        cookie: "SESSION=M2Y4YjVjMWUtOWE0Ny00ZDdlLThmMGEtMWMyZDNlNGY1YTZi".to_owned(),
        // Less than nothing is for ever, and EXPIRY_TIME is for cleaning up alone.
        live: &["UPDATE spring.spring_session SET max_inactive_interval = -1, last_access_time = 0"],
        over: &[
            "UPDATE spring.spring_session SET max_inactive_interval = 1800, \
             last_access_time = extract(epoch FROM now())::bigint * 1000 - 1801000, expiry_time = 9999999999999",
            "UPDATE spring.spring_session SET last_access_time = extract(epoch FROM now())::bigint * 1000, \
             principal_name = NULL",
        ],
        refused: vec![
            "SESSION=3f8b5c1e-9a47-4d7e-8f0a-1c2d3e4f5a6b".to_owned(),
            "SESSION=!!!".to_owned(),
        ],
    }
}

fn lucia() -> Format {
    Format {
        source: "lucia",
        lines: "preset = \"lucia\"\ntable = \"lucia.user_session\"".to_owned(),
        tables: "CREATE SCHEMA lucia; CREATE TABLE lucia.user_session (id text PRIMARY KEY, expires_at timestamptz NOT NULL, \
                 user_id text NOT NULL); INSERT INTO lucia.user_session VALUES \
                 ('mp3enctlv6ot7hyobf2mg5cmxv3mkx5y5nvhi3wz', now() + interval '1 hour', '42')"
            .to_owned(),
        cookie: "auth_session=mp3enctlv6ot7hyobf2mg5cmxv3mkx5y5nvhi3wz".to_owned(),
        live: &[],
        over: &["UPDATE lucia.user_session SET expires_at = now() - interval '1 second'"],
        refused: vec!["auth_session=mp3enctlv6ot7hyobf2mg5cmxv3mkx5y5nvhi3wy".to_owned()],
    }
}

/// The key is a hash of the token, so that a stolen table opens nothing.
fn lucia_hashed() -> Format {
    Format {
        source: "hashed",
        lines: "preset = \"lucia-hashed\"\ntable = \"hashed.user_session\"".to_owned(),
        tables: "CREATE SCHEMA hashed; CREATE TABLE hashed.user_session (id text PRIMARY KEY, user_id int NOT NULL, \
                 expires_at timestamptz NOT NULL); INSERT INTO hashed.user_session VALUES \
                 ('0be73d41793fa6fb551e94f7dffe7df298954e2b0fa7514bb03b170c24e52b39', 42, now() + interval '1 hour')"
            .to_owned(),
        cookie: "session=mp3enctlv6ot7hyobf2mg5cmxv3mkx5y5nvhi3wz".to_owned(),
        // Seconds since 1970 in another column type, and milliseconds.
        live: &[
            "ALTER TABLE hashed.user_session ALTER COLUMN expires_at TYPE bigint \
             USING extract(epoch FROM expires_at)::bigint",
            "UPDATE hashed.user_session SET expires_at = expires_at * 1000",
        ],
        over: &["UPDATE hashed.user_session SET expires_at = extract(epoch FROM now())::bigint - 1"],
        refused: vec![
            "session=0be73d41793fa6fb551e94f7dffe7df298954e2b0fa7514bb03b170c24e52b39".to_owned(),
            "session=mp3enctlv6ot7hyobf2mg5cmxv3mkx5y5nvhi3wy".to_owned(),
        ],
    }
}

/// `id.secret`: the row is found by the one, and holds a hash of the other.
fn lucia_secret() -> Format {
    Format {
        source: "secret",
        lines: "preset = \"lucia-secret\"\ntable = \"secret.session\"".to_owned(),
        tables: "CREATE SCHEMA secret; CREATE TABLE secret.session (id text PRIMARY KEY, user_id int NOT NULL, \
                 secret_hash bytea NOT NULL, created_at bigint NOT NULL); INSERT INTO secret.session VALUES \
                 ('hm5qzkdwrx7abcdefghijk23', 42, sha256('z8xw4mvbt2qqabcdefghijk7'), \
                 extract(epoch FROM now())::bigint - 23 * 3600)"
            .to_owned(),
        cookie: "session_token=hm5qzkdwrx7abcdefghijk23.z8xw4mvbt2qqabcdefghijk7".to_owned(),
        live: &[
            // As text in hexadecimal, too.
            "ALTER TABLE secret.session ALTER COLUMN secret_hash TYPE text USING encode(secret_hash, 'hex')",
            "ALTER TABLE secret.session ALTER COLUMN secret_hash TYPE bytea USING decode(secret_hash, 'hex')",
        ],
        over: &[
            "UPDATE secret.session SET created_at = extract(epoch FROM now())::bigint - 25 * 3600",
            "UPDATE secret.session SET created_at = extract(epoch FROM now())::bigint, secret_hash = sha256('another')",
        ],
        refused: vec![
            "session_token=hm5qzkdwrx7abcdefghijk23.another".to_owned(),
            "session_token=hm5qzkdwrx7abcdefghijk23.".to_owned(),
            "session_token=hm5qzkdwrx7abcdefghijk23".to_owned(),
            "session_token=.z8xw4mvbt2qqabcdefghijk7".to_owned(),
        ],
    }
}

fn tower() -> Format {
    let map = Pack::Map(vec![(Pack::from("user_id"), Pack::from(42))]);
    // The end inside is stale, as after a touch by the column alone.
    let end = [2001, 1, 0, 0, 0, 0, 0, 0, 0].map(Pack::from).to_vec();
    let id: Vec<u8> = (1..=16).collect();
    let record = Pack::Array(vec![Pack::Binary(id), map, Pack::Array(end)]);
    let mut data = Vec::new();
    rmpv::encode::write_value(&mut data, &record).expect("it fits");
    Format {
        source: "tower",
        lines: "preset = \"tower-sessions\"\nuser = \"/user_id\"".to_owned(),
        tables: format!(
            "CREATE SCHEMA tower_sessions; CREATE TABLE tower_sessions.session (id text PRIMARY KEY NOT NULL, \
             data bytea NOT NULL, expiry_date timestamptz NOT NULL); \
             INSERT INTO tower_sessions.session VALUES ('EA8ODQwLCgkIBwYFBAMCAQ', '\\x{}', now() + interval '1 hour')",
            hex::encode(data)
        ),
        cookie: "id=EA8ODQwLCgkIBwYFBAMCAQ".to_owned(),
        live: &[],
        over: &[
            "UPDATE tower_sessions.session SET expiry_date = now() - interval '1 second'",
            "UPDATE tower_sessions.session SET expiry_date = now() + interval '1 hour', data = '\\x80'",
        ],
        refused: vec![
            "id=AQIDBAUGBwgJCgsMDQ4PEA".to_owned(),
            // Nobody knows which of two the application takes.
            "id=EA8ODQwLCgkIBwYFBAMCAQ; id=another".to_owned(),
        ],
    }
}

#[tokio::test]
async fn each_format_is_known_as_its_library_knows_it_and_nobody_otherwise() {
    let formats = [
        laravel(),
        rails(),
        rails8(),
        spring(),
        lucia(),
        lucia_hashed(),
        lucia_secret(),
        tower(),
    ];
    let database = Postgres::shared().database();
    let names: Vec<String> = formats.iter().map(|format| format!("\"{}\"", format.source)).collect();
    let mut routes = format!(
        "[[route]]\nhost = \"{HOST}\"\nupstream = \"app\"\naccess = \"optional\"\nsessions = [{}]\n",
        names.join(", ")
    );
    for format in &formats {
        Postgres::shared().sql(&database, &format.tables);
        let _ = write!(
            routes,
            "[[source]]\nname = \"{}\"\nhosts = [\"{HOST}\"]\nstore_url = \"{database}\"\nmax_age = \"0s\"\n{}\n",
            format.source, format.lines
        );
    }
    let stage = Stage::with("", &routes, |_| Reply::text("hello")).await;
    let scene = Scene { stage, database };
    for format in &formats {
        let (name, cookie) = (format.source, &format.cookie);
        let known = Some(format!("{name}:42"));
        let checked = scene
            .stage
            .gateway
            .command(&["source", "check", name, "--cookie-stdin"], cookie);
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(checked.status.success(), "{name}: {said}");
        assert!(
            said.contains(&format!("the cookie is that of {name}:42")),
            "{name}: {said}"
        );
        assert_eq!(scene.told("/", cookie).await, known, "{name}");
        for refused in &format.refused {
            assert_eq!(scene.told("/", refused).await, None, "{name}: {refused}");
        }
        // The types of columns are asked for once, so that a gateway which is to read others is another one.
        let mut fresh = None;
        for change in format.live {
            scene.sql(change);
            let database = scene.database.clone();
            let stage = Stage::with("", &routes, |_| Reply::text("hello")).await;
            let scene = fresh.insert(Scene { stage, database });
            assert_eq!(scene.told("/", cookie).await, known, "{name}: {change}");
        }
        let scene = fresh.as_ref().unwrap_or(&scene);
        for change in format.over {
            scene.sql(change);
            assert_eq!(scene.told("/", cookie).await, None, "{name}: {change}");
        }
    }
}

#[tokio::test]
async fn keys_of_rails_from_before_seven_are_known_too() {
    let format = rails8();
    let database = Postgres::shared().database();
    Postgres::shared().sql(&database, &format.tables);
    let routes = format!(
        "[[route]]\nhost = \"{HOST}\"\nupstream = \"app\"\naccess = \"optional\"\nsessions = [\"rails8\"]\n\
         [[source]]\nname = \"rails8\"\nhosts = [\"{HOST}\"]\nstore_url = \"{database}\"\n{}\n",
        format.lines
    );
    let stage = Stage::with("", &routes, |_| Reply::text("hello")).await;
    let scene = Scene { stage, database };
    let told = scene.told("/", &format!("session_id={RAILS8_OLD}")).await;
    assert_eq!(told.as_deref(), Some("rails8:42"));
}
