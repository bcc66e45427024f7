use super::*;
use crate::support::gateway::portcullis;
use crate::support::stage::config;

const ADA: &str = r#"{"cookie":{},"passport":{"user":42}}"#;

/// `portcullis source check crm` with these lines of a source, and perhaps a cookie.
pub(super) fn check(source: &str, cookie: Option<&str>) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = config("", &format!("{ROUTES}\n{source}"), "http://127.0.0.1:1");
    std::fs::write(folder.path().join("portcullis.toml"), text).expect("the configuration is written");
    let mut arguments = vec!["source", "check", "crm", "--config", "portcullis.toml"];
    arguments.extend(cookie.map(|_| "--cookie-stdin"));
    let output = portcullis(folder.path(), &arguments, cookie.unwrap_or_default());
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

/// An application's database in a zone, and its source.
fn database(zone: &str) -> (String, String) {
    let server = Postgres::shared();
    let url = server.database();
    let name = url.rsplit('/').next().expect("a name");
    server.sql(&url, TABLE);
    server.sql(&url, &format!("ALTER DATABASE {name} SET timezone = '{zone}'"));
    let source = source(&url, "");
    (url, source)
}

/// Writes a row as the application does: its end in the zone of its connection, and in its document in UTC.
fn row(url: &str, sid: &str, minutes: i32, sess: &str) {
    let sql = format!(
        "INSERT INTO session SELECT '{sid}', jsonb_set('{sess}'::jsonb, '{{cookie,expires}}', \
         to_jsonb(to_char(e AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'))), to_timestamp(ceil(extract(epoch from e))) \
         FROM (SELECT date_trunc('second', now() + interval '{minutes} minutes') AS e) AS ends"
    );
    Postgres::shared().sql(url, &sql);
}

#[test]
fn a_zone_that_is_wrong_is_found_however_short_the_sessions_are() {
    for (zone, offset) in [("America/New_York", "UTC-0"), ("Asia/Kolkata", "UTC+05:30")] {
        let (url, source) = database(zone);
        row(&url, "live", 30, ADA);
        let (works, said) = check(&source, None);
        assert!(works && said.contains(&format!("agree with the zone {zone}")), "{said}");
        let (works, said) = check(&format!("{source}zone = \"utc\"\n"), None);
        assert!(
            !works && said.contains("`zone` is UTC, but 1 rows show a clock at"),
            "{said}"
        );
        assert!(said.contains(offset), "{said}");
    }
}

#[test]
fn a_column_or_a_table_that_is_not_there_is_named_with_the_nearest_that_is() {
    let (_, source) = database("Etc/UTC");
    for (line, says) in [
        (
            "expiry = \"expires\"",
            "has no column \"expires\"; did you mean \"expire\"?",
        ),
        ("table = \"elsewhere.session\"", "write table = \"public.session\""),
    ] {
        let (works, said) = check(&format!("{source}{line}\n"), None);
        assert!(!works && said.contains(says), "{said}");
    }
}

#[test]
fn a_cookie_in_hand_is_told_whose_it_is_or_what_stands_against_it() {
    let (url, source) = database("Asia/Kolkata");
    row(&url, "live", 30, ADA);
    row(&url, "over", -30, ADA);
    row(&url, "anonymous", 30, r#"{"cookie":{}}"#);
    let value = |sid: &str| signed(sid).split_once('=').expect("a pair").1.to_owned();
    for cookie in [signed("live"), value("live"), format!("{}\r\n", signed("live"))] {
        let (works, said) = check(&source, Some(&cookie));
        assert!(works && said.contains("the cookie is that of crm:42"), "{said}");
    }
    let other = source.replace(SECRET, "another");
    for (source, cookie, says) in [
        (&source, signed("over"), "the cookie's row is over"),
        (&source, signed("anonymous"), "the cookie's row names no user"),
        (&source, signed("absent"), "no row has its key"),
        (&other, signed("live"), "the cookie is signed with none of `secrets`"),
        (
            &source,
            signed("live").replace("s%3A", ""),
            "does not begin with \"s:\"",
        ),
    ] {
        let (works, said) = check(source, Some(&cookie));
        assert!(!works && said.contains(says), "{says}: {said}");
        assert!(
            !said.contains(cookie.split_once('=').expect("a pair").1),
            "the cookie is shown: {said}"
        );
    }
}

/// Each lack names a statement, and who runs what is named can read in the end.
#[test]
fn a_right_that_is_missing_is_told_as_the_statement_that_grants_it() {
    let server = Postgres::shared();
    let url = server.database();
    let role = format!("reader_{}", url.rsplit('/').next().expect("a name"));
    server.sql(
        &url,
        &format!(
            "CREATE ROLE {role} LOGIN; CREATE SCHEMA app; CREATE TABLE app.users (id text PRIMARY KEY, email text); \
             CREATE TABLE app.sessions (id text PRIMARY KEY, user_id text, expires_at timestamptz NOT NULL); \
             INSERT INTO app.sessions VALUES ('sid0', '42', now() + interval '1 hour')"
        ),
    );
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let source = format!(
        "[[source]]\nname = \"crm\"\npreset = \"plain-table\"\nhosts = [\"app.example.test\"]\n\
         store_url = \"{scheme}://{role}@{host}\"\ntable = \"app.sessions\"\nusers_table = \"app.users\"\n\
         email = \"user.email\"\nend = true\n"
    );
    let mut granted = Vec::new();
    let said = loop {
        let (works, said) = check(&source, None);
        let lacks: Vec<&str> = said
            .lines()
            .filter_map(|line| Some(&line[line.find("GRANT")?..]))
            .collect();
        if lacks.is_empty() {
            break said;
        }
        assert!(!works && granted.len() < 10, "{said}");
        for statement in lacks {
            server.sql(&url, statement);
            granted.push(statement.to_owned());
        }
    };
    assert_eq!(
        granted,
        [
            format!("GRANT USAGE ON SCHEMA \"app\" TO {role}"),
            format!("GRANT SELECT (\"id\", \"user_id\", \"expires_at\") ON \"app\".\"sessions\" TO {role}"),
            format!("GRANT SELECT (\"email\", \"id\") ON \"app\".\"users\" TO {role}"),
            format!("GRANT DELETE ON \"app\".\"sessions\" TO {role}"),
        ]
    );
    assert!(
        said.contains("FAULT   0 of 1 live rows name a user: 1 name one who is not in app.users by id"),
        "{said}"
    );
    server.sql(&url, "INSERT INTO app.users VALUES ('42', 'ada@example.test')");
    let (works, said) = check(&source, None);
    assert!(works && said.contains("1 of 1 live rows name a user"), "{said}");
}

#[test]
fn of_a_source_that_has_moved_it_is_said_that_its_table_is_not_asked() {
    let (url, source) = database("Etc/UTC");
    let moved = format!("{source}moved = true\n");
    let (works, said) = check(&moved, None);
    assert!(works && said.contains("its table is not asked"), "{said}");
    assert!(
        said.contains("the table is still there, for `portcullis session import"),
        "{said}"
    );
    for misleading in ["no live row", "log-outs in the application count"] {
        assert!(!said.contains(misleading), "{said}");
    }
    let (works, said) = check(&moved, Some(&signed("sid0")));
    assert!(
        works && said.contains("names a copy in the gateway's own store"),
        "{said}"
    );
    // It went, as the last step of the move says: nothing is wrong with that.
    Postgres::shared().sql(&url, "DROP TABLE session");
    let (works, said) = check(&moved, None);
    assert!(
        works && said.contains("could copy nothing: there is no table session"),
        "{said}"
    );
    let line = source
        .lines()
        .find(|line| line.starts_with("store_url"))
        .expect("a line");
    let (works, said) = check(&moved.replace(line, ""), None);
    assert!(works && said.contains("store_url is gone"), "{said}");
}
