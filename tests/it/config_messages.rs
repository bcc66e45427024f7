//! What is said of a configuration that is wrong: every message as it is printed.

use crate::config_settings::WHOLE;
use crate::config_settings::load_with;
use insta::assert_snapshot;
use proptest::prelude::*;
use std::fmt::Write;

/// The text of every problem, and of every warning where there is no error.
fn told_with(text: &str, environment: &[(&str, &str)]) -> String {
    let told = match load_with(text, environment) {
        Ok(loaded) => loaded.warnings.to_string(),
        Err(problems) => problems.to_string(),
    };
    assert!(!told.is_empty(), "nothing is wrong with:\n{text}");
    told
}

fn told(text: &str) -> String {
    told_with(text, &[])
}

/// What is said of each text, one after the other.
fn told_of(texts: &[impl AsRef<str>]) -> String {
    texts.iter().fold(String::new(), |mut all, text| {
        let _ = write!(all, "{}----\n\n", told(text.as_ref()));
        all
    })
}

/// What is said of each of these keys at the end of `WHOLE`, which is in its route.
fn told_of_route(keys: &[&str]) -> String {
    told_of(&keys.iter().map(|keys| format!("{WHOLE}{keys}\n")).collect::<Vec<_>>())
}

/// The same for tables behind `WHOLE`.
fn told_of_tables(tables: &[&str]) -> String {
    told_of_route(tables)
}

/// What is said of each of these in place of the address of the listener in `WHOLE`.
fn told_of_listener(keys: &[&str]) -> String {
    let plain = WHOLE.replace("certificates = \"local\"\n", "");
    let with = |keys: &&str| plain.replace("address = \"127.0.0.1:8443\"\n", &format!("{keys}\n"));
    told_of(&keys.iter().map(with).collect::<Vec<_>>())
}

#[test]
fn all_problems_are_told_at_once() {
    assert_snapshot!(told(
        r#"
data_dri = "data"
workers = 0
[session]
idle_timeuot = "12h"
lifetime = "soon"
same_site = "laxx"
[listener]
address = "0.0.0.0:443"
[[upstream]]
name = "crm"
servers = ["127.0.0.1:3000"]
[[route]]
upstream = "cmr"
access = "signedin"
"#
    ));
}

#[test]
fn a_syntax_error_tells_only_itself() {
    assert_snapshot!(told_of(&[
        "unknown = 1\n[session]\nidle_timeout \"12h\"\n",
        "[session]\nidle_timeout = 12h\n",
        "[session]\nidle_timeout = \"12h\"\nidle_timeout = \"13h\"\n",
        "[session\n",
    ]));
}

#[test]
fn a_syntax_error_shows_no_secret() {
    let secret = "hunter2hunter2";
    for text in [
        format!("[session]\nsecrets = [\"{secret}]\n"),
        format!("[session]\nsecrets = {secret}\n"),
        format!("[session]\nsecrets = [\n  \"{secret},\n]\n"),
        format!("session = {{ idle_timeout = \"1h\", secrets = [\"{secret}\" }}\n"),
        format!("[store]\nurl = postgres://u:{secret}@h/d\n"),
        format!("[store]\nurl = \"postgres://u:{secret}@h/d\n"),
        format!("[session]\n{secret}\n"),
        format!("[session]\n[\"{secret}\n"),
        format!("[session]\nsecret = \"{secret}\" = 1\n"),
        format!("secrets = [\"{secret}\"]\nsecrets = [\"{secret}\"]\n"),
    ] {
        let told = told(&text);
        assert!(!told.contains(secret) && !told.contains("hunter"), "{told}");
    }
}

#[test]
fn unknown_keys_get_the_nearest_known_one() {
    assert_snapshot!(told_of(&[
        format!("idle_timeout = \"1h\"\n{WHOLE}"),
        format!("{WHOLE}acess = \"public\"\n"),
        format!("{WHOLE}header_bytes = \"1KiB\"\n"),
        format!("{WHOLE}banana = 1\n"),
        format!("{WHOLE}[sesion]\n"),
        format!("{WHOLE}[life]\ndata_dir = \"x\"\n"),
        format!("{WHOLE}identity = {{ presets = \"radicale\", banana = 1 }}\n"),
        WHOLE.replace("servers =", "server ="),
    ]));
}

#[test]
fn features_that_come_later_are_refused_by_name() {
    assert_snapshot!(told_of_tables(&[
        "[portal]\nhost = \"login.example.com\"\npublic_url = \"https://a.example\"",
        "max_auth_age = \"15m\"\nrate_limit = { per = \"user\" }\nidentity = \"grafana\"",
        "[[upstream]]\nname = \"b\"\nservers = [\"https://b\", \"unix:/run/b\"]\nbalance = \"hash\"\nhash_by = \"session\"\nhealth = {}",
    ]));
}

/// What is said of a source with these lines.
fn told_of_source(lines: &str) -> String {
    told(&format!(
        "{WHOLE}[[source]]\nname = \"crm\"\nhosts = [\"crm.example.com\"]\n\
         store_url = \"postgres://reader@db/crm\"\n{lines}\n"
    ))
}

#[test]
fn sessions_that_no_application_would_take_are_not_opened() {
    let express = "preset = \"express\"\nsecrets = [\"keyboard cat\"]";
    for (lines, says) in [
        (
            "preset = \"authjs\"\nopen = true",
            "`open = true` needs preset = \"express\"",
        ),
        (
            "preset = \"lucia\"\ncreate_table = true",
            "`create_table = true` needs preset = \"express\"",
        ),
        (
            "preset = \"express\"\nuser = \"/userId\"\nopen = true",
            "there are no `secrets`",
        ),
    ] {
        let told = told_of_source(lines);
        assert!(told.contains(says), "{says}: {told}");
    }
    for (lines, says) in [
        (
            "user = \"/userId\"\nopen_cookie = { path = \"/\" }",
            "says nothing where no session is opened",
        ),
        (
            "user = \"/userId\"\ncreate_table = true\nkey = \"id\"",
            "has the columns sid, sess and expire",
        ),
        (
            "user = \"user_id\"\nopen = true",
            "says who its user is in the payload only",
        ),
        (
            "user = \"/cookie/user\"\nopen = true",
            "no user can be written below /cookie",
        ),
        ("user = \"/users/0\"\nopen = true", "no user can be written into a list"),
        (
            "user = \"/userId\"\nopen = true\npayload_format = \"msgpack\"",
            "express-session reads JSON only",
        ),
        (
            "user = \"/userId\"\nopen = true\nlifetime = \"1h\"",
            "an opened session says its end",
        ),
    ] {
        let told = told_of_source(&format!("{express}\n{lines}"));
        assert!(told.contains(says), "{says}: {told}");
    }
}

#[test]
fn sessions_whose_cookie_no_browser_would_keep_are_not_opened() {
    for (lines, says) in [
        (
            "open_cookie = { same_site = \"none\", secure = false }",
            "a cookie with SameSite=None that is not Secure",
        ),
        (
            "cookie = \"__Secure-sid\"\nopen_cookie = { secure = false }",
            "called \"__Secure-sid\" that is not Secure",
        ),
        (
            "cookie = \"__Host-sid\"\nopen_cookie = { path = \"/app\" }",
            "called \"__Host-sid\" with a domain or a path",
        ),
        (
            "open_cookie = { domain = \"example.org\" }",
            "browsers on crm.example.com refuse a cookie for \"example.org\"",
        ),
        ("open_cookie = { max_age = \"0s\" }", "max_age"),
        ("open_cookie = { maxage = \"1h\" }", "did you mean `max_age`?"),
    ] {
        let express = "preset = \"express\"\nsecrets = [\"keyboard cat\"]\nuser = \"/userId\"\nopen = true";
        let told = told_of_source(&format!("{express}\n{lines}"));
        assert!(told.contains(says), "{says}: {told}");
    }
}

#[test]
fn variables_inside_a_text_are_named_and_nothing_around_them() {
    let environment = [("TIMEOUT", "24h"), ("PORT", "many"), ("EMPTY", ""), ("MANY", "no")];
    let texts = [
        "[session]\nidle_timeout = \"${TIMEOUT}ms\"\nlifetime = \"${NOT_SET}ms\"",
        "[session]\ncookie = \"${EMPTY}\"\ntoken_prefix = \"${NAME\"\nsame_site = \"${}\"",
        "[store]\nurl = \"postgres://u:hunter2@h:${PORT}/d\"",
        "[store]\nurl = \"postgres://u:hunter2@h:${EMPTY}/d\"",
        "[store]\nurl = \"postgres://u:${PASSWORD:-hunter2}@h/${\"",
        "[store]\nmax_connections = \"env:MANY\"\nmigrate = \"${MANY}\"",
        "[session]\nsecrets = [\"short ${TIMEOUT}\"]\nsecure = \"${MANY}\"",
        "[session]\nsecrets = [\"file:${MANY}/session.secret\"]",
    ];
    let told = texts.iter().fold(String::new(), |mut all, text| {
        let _ = write!(all, "{}----\n\n", told_with(&format!("{WHOLE}{text}\n"), &environment));
        all
    });
    assert!(!told.contains("hunter2") && !told.contains("24h"), "{told}");
    assert_snapshot!(told);
}

#[test]
fn keys_that_a_variable_chooses_are_checked_whether_they_are_chosen_or_not() {
    let both = "[when.MODE.a.session]\nidle_timeuot = \"1h\"\n[when.MODE.b.session]\nsecrets = [\"hunter2\"]\nsame_site = \"laxx\"";
    let texts = [
        (both, "a"),
        (both, "b"),
        ("[when.MODE.a]\nworkers = 1\n[when.MODE.b]\nworkers = 2", "c"),
        ("[when.MODE]\na = \"hunter2\"", "a"),
        ("[when]\nMODE = 1", "a"),
        ("[when.MODE.a.when.MODE.b]\nworkers = 0", "a"),
        ("[[when.MODE.a.listener]]\ncertificates = \"local\"", "b"),
    ];
    let told = texts.iter().fold(String::new(), |mut all, (text, mode)| {
        let _ = write!(
            all,
            "{}----\n\n",
            told_with(&format!("{WHOLE}{text}\n"), &[("MODE", mode)])
        );
        all
    });
    assert!(!told.contains("hunter2"), "{told}");
    assert_snapshot!(told);
}

#[test]
fn values_of_another_kind_are_refused() {
    assert_snapshot!(
        told_of_tables(&[
            "[session]\nidle_timeout = 12\nsecrets = \"one\"\ncookie = true\nsecure = \"yes\"",
            "[cache]\ncapacity = \"many\"\nmax_age = 1.5",
            "[limits]\nconnections_per_address = \"many\"\nbody_bytes = 5\nheaders = 1979-05-27\nstreams = -1",
            "api = \"yes\"\nmethods = \"GET\"\nset_headers = [\"a\"]\nidentity = 7\nusers = [1]",
            "[store]\nmigrate = \"maybe\"\nurl = 1",
            "[[listener]]\naddress = \"127.0.0.1:1\"\ncertificates = \"locla\"",
            "[[listener]]\naddress = \"127.0.0.1:1\"\ncertificates = [\"a.pem\"]",
        ]) + &told_of(&[
            format!("workers = \"many\"\n{WHOLE}"),
            format!("session = 1\n{WHOLE}"),
            "route = 1\n".to_owned()
        ])
    );
}

#[test]
fn durations_and_sizes_are_within_bounds() {
    assert_snapshot!(told_of_tables(&[
        "[session]\nidle_timeout = \"1h30m\"\nlifetime = \"0s\"\nremember_lifetime = \"99999d\"",
        "[limits]\nhead = \"1ms\"\nheader_bytes = \"64KB\"\ntarget_bytes = \"1GiB\"\nbody_bytes = \"unlimitd\"",
        "[limits]\nheaders = 5\nconnections = 0",
        "[cache]\noutage_grace = \"1h\"",
        "outage_grace = \"16m\"",
    ]));
}

#[test]
fn a_session_secret_is_long_enough_and_given_where_it_must_be() {
    assert_snapshot!(told_of_tables(&[
        "[session]\nsecrets = [\"too short to be a secret\"]",
        "[session]\nsecrets = []",
        "[store]\nurl = \"postgres://portcullis@127.0.0.1/portcullis\"",
    ]));
}

#[test]
fn a_database_url_names_a_user_and_a_known_engine() {
    let told = told_of_tables(&[
        "[store]\nurl = \"postgres://127.0.0.1/portcullis\"",
        "[store]\nurl = \"postgres://u:p@ss:word@h/d\"",
        "[store]\nurl = \"postgres://u:hunter2@h\"",
        "[store]\nurl = \"postgres://u:hunter2@/d\"",
        "[store]\nurl = \"mysql://u:hunter2@h/d\"",
        "[store]\nurl = \"sqlite::memory:\"",
        "[store]\nurl = \"hunter2\"",
        "[store]\nurl = \"sqlite://a.db\"\nlisten_url = \"postgres://u@h/d\"",
        "[store]\nlisten_url = \"sqlite://a.db\"",
        "[store]\nschema = \"My Schema\"\nmax_connections = 1",
    ]);
    assert!(!told.contains("hunter2"), "{told}");
    assert_snapshot!(told);
}

#[test]
fn cookies_that_browsers_would_refuse_are_refused() {
    assert_snapshot!(told_of_tables(&[
        "[session]\ndomains = [\"example.com\"]",
        "[session]\nsecure = \"auto\"",
        "[session]\ncookie = \"__Secure-s\"\nsecure = \"auto\"",
        "[session]\ncookie = \"s\"\nsecure = \"auto\"\nsame_site = \"none\"",
        "[session]\nsecure = false",
        "[session]\ncookie = \"__host-s\"",
        "[session]\ncookie = \"__Host-\"",
        "[session]\ncookie = \"a b\"\ntoken_prefix = \";\"",
        "[session]\ncookie = \"s\"\ndomains = [\".example.com\", \"localhost\", \"127.0.0.1\", \"a.example\", \"a.example\"]",
    ]));
}

#[test]
fn limits_of_users_and_attempts_are_possible() {
    assert_snapshot!(told_of_tables(&[
        "[session]\nmax_per_user = 0\nwhen_full = \"end_newest\"",
        "[session]\nmax_per_user = \"10\"",
        "[session]\nmax_per_user = \"unlimted\"",
        "[throttle]\naccount = \"10\"\naddress = \"0/1m\"",
        "[throttle]\nbrowser = \"1/1h\"\ntoken = 5",
        "[throttle]\naddres = \"unlimited\"",
    ]));
}

#[test]
fn operators_are_let_in_by_a_good_token_and_a_possible_group() {
    assert_snapshot!(told_of_tables(&[
        "[admin]\ntoken = \"very secret token\"",
        "[admin]\ntoken = \"a very secret token with blanks in it\"",
        "[admin]\ngroup = \"the admins\"",
        "[admin]\ngroup = \"registered\"",
        "[audit]\nretention = \"10m\"",
        "[audit]\nretention = \"for ever\"",
    ]));
}

#[test]
fn lifetimes_are_in_order() {
    assert_snapshot!(told_of_tables(&[
        "[session]\nidle_timeout = \"8d\"",
        "[session]\nlifetime = \"31d\"",
        "[session]\nremember_lifetime = \"1d\"",
        "[session]\ntouch_interval = \"0s\"\nsweep_interval = \"2d\"\nsweep_at = \"3:00\"",
        "[cache]\nmax_age = \"2s\"",
        "[limits]\nheader_bytes = \"4KiB\"",
    ]));
}

#[test]
fn listeners_are_possible_and_apart() {
    assert_snapshot!(
        told_of_listener(&[
            "",
            "address = \":8443\"",
            "address = \"localhost:8443\"",
            "address = \"127.0.0.1\"",
            "address = \"example.com:https\"",
            "address = \"127.0.0.1:1\"\nredirect = \"http\"",
            "address = \"127.0.0.1:1\"\nredirect = \"https\"\ncertificates = \"local\"",
            "address = \"127.0.0.1:1\"\ncertificates = []",
            "address = \"127.0.0.1:1\"\ncertificates = [{ chain = \"a.pem\" }]",
            "address = \"127.0.0.1:1\"\nhsts = \"365d\"",
            "address = \"127.0.0.1:1\"\nhsts = \"365d\"\ncertificates = \"local\"",
            "address = \"127.0.0.1:1\"\npublic_port = 0",
            "address = \"127.0.0.1:1\"\n[[listener]]\naddress = \"0.0.0.0:1\"",
            "address = \"127.0.0.1:9090\"",
            "address = \"127.0.0.1:1\"\nredirect = \"https\"",
            "address = \"0.0.0.0:80\"",
        ]) + &told("")
    );
}

#[test]
fn only_loopback_is_for_operators_and_only_named_networks_are_trusted() {
    assert_snapshot!(told_of_tables(&[
        "[admin]\naddress = \"0.0.0.0:9090\"",
        "[trust]\nproxies = [\"0.0.0.0/0\", \"10.0.0.1/8\", \"balancer\"]\nproxy_protocol = [\"::/0\"]",
    ]));
    for allowed in [
        "[admin]\naddress = \"0.0.0.0:9090\"\nunsafe_listen_anywhere = true",
        "[trust]\nproxies = [\"0.0.0.0/0\"]\nproxy_protocol = [\"::/0\"]\nunsafe_trust_any_proxy = true",
    ] {
        assert!(load_with(&format!("{WHOLE}{allowed}"), &[]).is_ok(), "{allowed}");
    }
}

#[test]
fn routes_have_possible_hosts_paths_and_methods() {
    assert_snapshot!(told_of_route(
        &[
            "host = \"https://a.example/\"",
            "host = \"a.example:443\"",
            "host = \"a.example.\"",
            "host = \"*\"",
            "host = \"*.com\"",
            "host = \"a.*.example\"",
            "host = \"grüße.example\"",
            "host = \"a_b..c\"",
            "path = \"app\"",
            "path = \"/a/../b\"",
            "path = \"/a?b\"",
            "path = \"/a//b\"",
            "path = \"/a /b\"",
            "path = \"/a/*\"",
            "path = \"/.Portcullis/login\"",
            "path = \"/a\"\npath_exact = \"/b\"",
            "methods = [\"get\", \"TRACE\", \"a b\"]",
            "origins = [\"https://a.example/\", \"a.example\"]",
            "add_prefix = \"/x/\"",
            "path_case = \"sensitiv\"",
            "name = \"a b\"",
        ]
        .map(|keys| if keys.starts_with("name") {
            "[[route]]\nname = \"a b\"\npath = \"/b\""
        } else {
            keys
        })
    ));
}

#[test]
fn routes_and_upstreams_are_apart_and_meet() {
    assert_snapshot!(told_of_tables(&[
        "[[route]]\nname = \"app\"\npath = \"/x\"",
        "[[route]]",
        "[[route]]\npath = \"/x/\"\nmethods = [\"GET\", \"PUT\"]\n[[route]]\npath = \"/x\"\nmethods = [\"GET\"]",
        "[[upstream]]\nname = \"app\"\nservers = [\"http://127.0.0.1:1\"]",
        "[[upstream]]\nname = \"app2\"\nservers = []",
        "[[upstream]]\nservers = [\"http://u:hunter2@h:1\", \"http://h/x\", \"http://\", \"h:1\", \"http://h:0\"]",
        "[[upstream]]\nname = \"spare\"\nservers = [\"http://127.0.0.1:1\"]",
        "[[route]]\npath = \"/x\"\nupstream = \"apps\"\n[[route]]\npath = \"/y\"\nupstream = \"shop\"",
    ]));
    let apart = "[[route]]\npath = \"/x\"\nmethods = [\"PUT\"]\n[[route]]\npath = \"/x\"\nmethods = [\"GET\"]";
    assert!(load_with(&format!("{WHOLE}{apart}"), &[]).is_ok());
}

#[test]
fn registration_opens_no_route_that_does_not_say_so() {
    let with = |route: &str| format!("{WHOLE}{route}\n[portal]\nregistration = true\n");
    assert_snapshot!(told(&with("")));
    assert_eq!(
        told(&with("groups = []\nusers = []"))
            .matches("portal.registration")
            .count(),
        1
    );
    for fine in [
        "groups = [\"staff\"]",
        "users = [\"ada\"]",
        "groups = [\"registered\"]",
        "access = \"public\"",
    ] {
        let loaded = load_with(&with(fine), &[]).unwrap();
        assert!(
            loaded.config.portal.registration && loaded.warnings.is_empty(),
            "{fine}"
        );
    }
    assert!(!load_with(WHOLE, &[]).unwrap().config.portal.registration);
}

#[test]
fn rules_about_users_need_users() {
    assert_snapshot!(told_of_route(&[
        "access = \"public\"\ngroups = [\"staff\"]",
        "access = \"optional\"\nusers = [\"ada\"]",
        "groups = [\"two words\"]\nusers = [\"Ada\", \"a b\"]\nnetworks = [\"10.0.0/8\"]",
        "sessions = []",
    ]));
}

#[test]
fn identity_headers_are_the_gateways_alone() {
    assert_snapshot!(told_of_route(&[
        "identity = { headers = { \"X-User\" = \"{user}\", \"X-Id\" = \"{id\" } }",
        "identity = { headers = { \"Host\" = \"{username}\", \"X Y\" = \"a\", \"X-Portcullis-User\" = \"{id}\" } }",
        "identity = { headers = { \"X-User\" = \"{id}\", \"X_User\" = \"{id}\" } }",
        "identity = { preset = \"oauth2-proxy\", headers = { \"X_Forwarded_User\" = \"{id}\" } }",
        "identity = { preset = \"oauth-proxy\", delimiter = \"ab\", encoding = \"utf8\" }",
        "identity = { delimiter = \"-\" }",
        "set_headers = { \"Connection\" = \"close\", \"X-Forwarded-For\" = \"1\", \"Cookie\" = \"a\" }",
        "set_headers = { \"X_Remote_User\" = \"admin\" }",
        "set_headers = { \"X-Mine\" = \"1\" }\nidentity = { headers = { \"X-Mine\" = \"{username}\" } }",
        "set_headers = { \"X-A\" = \"grün\", \"X-B\" = \"1\", \"x_b\" = \"2\" }",
    ]));
}

#[test]
fn portal_and_log_settings_are_possible() {
    assert_snapshot!(told_of_tables(&[
        "[portal]\nprefix = \"/\"\nname = \"\"\nreturn_origins = [\"https://a.example/x\"]",
        "[portal]\nprefix = \"portal\"",
        "[log]\nformat = \"yaml\"\nlevel = \"verbose\"\naccess_file = \"\"",
    ]));
}

#[test]
fn an_alias_is_one_path_of_one_host_for_one_endpoint() {
    let alias = |host: &str, path: &str, endpoint: &str| {
        format!(
            "host = \"app.example.com\"\n[[portal.alias]]\nhost = {host:?}\npath = {path:?}\nendpoint = {endpoint:?}\n"
        )
    };
    let wrong = [
        "[[portal.alias]]\nhost = \"app.example.com\"".to_owned(),
        alias("*.example.com", "/a", "login"),
        alias("other.example.org", "/a", "login"),
        alias("app.example.com", "/grüße", "login"),
        alias("app.example.com", "/a%2fb", "login"),
        alias("app.example.com", "/", "login"),
        alias("app.example.com", "/.Portcullis/log-in", "login"),
        alias("app.example.com", "/a", "logn"),
        alias("app.example.com", "/a", "verify/nginx"),
        alias("app.example.com", "/a", "admin/"),
        alias("app.example.com", "/a/b", "login")
            + alias("app.example.com", "/A/b/", "logout").trim_start_matches("host = \"app.example.com\"\n"),
        "[portal]\nclear_cache = [\"*.example.com\"]".to_owned(),
        alias("app.example.com", "/a", "admin/stats"),
    ];
    assert_snapshot!(told_of_tables(&wrong.each_ref().map(String::as_str)));
}

#[test]
fn the_token_of_front_ends_is_long_and_not_the_operators_own() {
    let token = "0123456789abcdef0123456789abcdef";
    let same = format!("[admin]\ntoken = {token:?}\n[portal]\nadmin_token = {token:?}");
    let told = told_of_tables(&[same.as_str(), "[portal]\nadmin_token = \"hunter2\""]);
    assert!(!told.contains(token) && !told.contains("hunter2"), "{told}");
    assert_snapshot!(told);
}

#[test]
fn references_that_lead_nowhere_are_told() {
    let text = format!(
        "{WHOLE}[session]\nsecrets = [\"env:NOT_SET\", \"env:SHORT\", \"file:/nowhere/secret\"]\ncookie = \"env:BAD\"\nidle_timeout = \"file:/\"\n"
    );
    let told = told_with(&text, &[("SHORT", "hunter2"), ("BAD", "hunter2 hunter2")]);
    assert!(!told.contains("hunter2"), "{told}");
    assert_snapshot!(told);
}

#[test]
fn variables_of_the_environment_are_checked_as_the_file_is() {
    let told = told_with(
        WHOLE,
        &[
            ("PORTCULLIS_STORE_URl", "x"),
            ("PORTCULLIS_SESION_SECRETS", "hunter2"),
            ("PORTCULLIS_BANANA", "hunter2"),
            ("PORTCULLIS_SESSION_SECRETS", "hunter2"),
            ("PORTCULLIS_STORE_URL", "postgres://u@h/d"),
            ("PORTCULLIS_STORE_URL_FILE", "/run/secrets/url"),
            ("PORTCULLIS_SESSION_IDLE_TIMEOUT", "soon"),
            ("PORTCULLIS_LIMITS_HEADERS", "many"),
            ("PORTCULLIS_STORE_MIGRATE", "yes"),
            ("PORTCULLIS_DATA_DIR", ""),
            ("PORTCULLIS_ADMIN_TOKEN_FILE", "/run/secrets/token"),
            ("PORTCULLIS_LOG", "loud"),
        ],
    );
    assert!(!told.contains("hunter2"), "{told}");
    assert_snapshot!(told);
}

#[test]
fn no_message_shows_a_secret_of_the_file() {
    let secret = "hunter2hunter2";
    for keys in [
        format!("[session]\nsecrets = [\"{secret}\"]"),
        format!("[session]\nsecret = [\"{secret}\"]"),
        format!("[sessions]\nsecrets = [\"{secret}\"]"),
        format!("[admin]\ntoken = \"{secret}\""),
        format!("[admin]\npassword = {{ of = \"{secret}\", no = [[\"{secret}\"]] }}"),
        format!("[store]\nurl = [\"{secret}\"]\nuser = \"{secret}\""),
        format!("set_headers = {{ \"Authorization\" = \"Bearer {secret}\\u0007\", \"Cookie\" = \"{secret}\" }}"),
        format!("[[source]]\nsecrets = [\"{secret}\"]"),
        format!("[[upstream]]\nname = \"b\"\nservers = [\"http://u:{secret}@h\"]"),
    ] {
        let told = told(&format!("{WHOLE}{keys}\n"));
        let json = load_with(&format!("{WHOLE}{keys}\n"), &[])
            .unwrap_err()
            .to_json()
            .to_string();
        assert!(!told.contains(secret) && !json.contains(secret), "{told}{json}");
    }
}

#[test]
fn programs_get_the_same_as_json() {
    let text = format!("{WHOLE}acess = \"public\"\npath = \"x\"\n");
    let problems = load_with(&text, &[("PORTCULLIS_SESSION_COOKIE", "a b")]).unwrap_err();
    assert_snapshot!(format!("{:#}", problems.to_json()));
}

#[test]
fn colours_are_for_terminals_only() {
    let problems = load_with("workers = 0\n", &[]).unwrap_err();
    assert!(!problems.to_text(false).contains('\u{1b}'));
    assert!(problems.to_text(true).contains('\u{1b}'));
}

#[test]
fn control_characters_of_a_file_reach_no_terminal() {
    for text in [
        "[session]\n\u{1b}[31m = 1\n",
        "[session]\nx = \"a\" # \u{1b}[31m\n",
        "\"\\u001b[31m\" = 1\n",
    ] {
        let told = told(text);
        assert!(!told.contains('\u{1b}'), "{told:?}");
    }
}

/// Pieces that configurations are made of, right and wrong.
fn pieces() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "[[route]]\n",
        "[[upstream]]\n",
        "[[listener]]\n",
        "[session]\n",
        "[store]\n",
        "[limits]\n",
        "[[portal.alias]]\n",
        "name = \"a\"\n",
        "path = \"/\u{fc}\"\n",
        "path_exact = \"/\"\n",
        "host = \"*.a.b\"\n",
        "servers = [\"http://a\"]\n",
        "servers = [[1]]\n",
        "secrets = [\"env:A\", 1]\n",
        "url = \"postgres://\"\n",
        "certificates = \"local\"\n",
        "certificates = [{}]\n",
        "identity = { headers = { \"a\" = 1 } }\n",
        "set_headers = { \"\" = \"\" }\n",
        "idle_timeout = \"99999999999999999999d\"\n",
        "workers = 99999999999999999999\n",
        "headers = -1\n",
        "= 1\n",
        "\"\n",
        "address = \"[::]:0\"\n",
        "redirect = \"https\"\n",
        "methods = [\"\", \"GET\"]\n",
        "timeouts = { connect = \"1s\" }\n",
    ]);
    prop::collection::vec(words, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in "(.|\n){0,200}") {
        let _ = load_with(&text, &[]).map_err(|problems| (problems.to_text(true), problems.to_json()));
    }

    #[test]
    fn no_mixture_of_keys_makes_reading_panic(text in pieces()) {
        let _ = load_with(&text, &[("A", "b")]).map_err(|problems| (problems.to_text(false), problems.to_json()));
    }

    #[test]
    fn no_piece_of_the_reference_makes_reading_panic(from in 0..8000_usize, length in 0..8000_usize) {
        let whole: Vec<char> = portcullis::config::reference().chars().collect();
        let text: String = whole.iter().skip(from).take(length).collect();
        let _ = load_with(&text, &[]).map_err(|problems| (problems.to_text(false), problems.to_json()));
    }

    #[test]
    fn no_variable_makes_reading_panic(name in "PORTCULLIS_[A-Z_]{0,20}", value in ".{0,40}") {
        let _ = load_with(WHOLE, &[(name.as_str(), value.as_str())]).map_err(|problems| problems.to_text(false));
    }
}
