//! The gateway's pages, and what applications do behind it, in a real browser that trusts the local authority as a
//! person's would. The scenarios are in `tests/browser`; each has a gateway and a browser of its own.

mod application;
mod node;
mod notes;

use crate::support::gateway::Gateway;
use crate::support::gateway::PROGRAM;
use crate::support::upstream::Upstream;
use notes::Notes;
use serde_json::json;

const ORIGIN: &str = "https://app.example.test";
const HOSTS: &[&str] = &["app.example.test", "other.example.test", "elsewhere.test"];
const USERNAME: &str = "ada";
const PASSWORD: &str = "correct horse battery staple";
/// As long as a user name can be.
const LONG_NAME: &str = "a.very.long.user.name.that.nobody.would.type.but.somebody.has.it";

const ROUTES: &str = r#"
[[listener]]
address = "127.0.0.1:0"
certificates = "local"

[admin]
address = "127.0.0.1:0"

[[route]]
name = "app"
host = "app.example.test"
upstream = "app"

[[route]]
name = "public"
host = "app.example.test"
path = "/public"
upstream = "app"
access = "public"

[[route]]
name = "closed"
host = "app.example.test"
path = "/closed"
upstream = "app"
access = "deny"

[[route]]
name = "broken"
host = "app.example.test"
path = "/broken"
upstream = "nowhere"

[[route]]
name = "other"
host = "other.example.test"
upstream = "app"
access = "public"

[[route]]
name = "elsewhere"
host = "elsewhere.test"
upstream = "app"
access = "public"
"#;

struct Stage {
    app: Upstream,
    gateway: Gateway,
}

impl Stage {
    fn start() -> Self {
        Self::with("")
    }

    /// With settings in front of the listeners.
    fn with(settings: &str) -> Self {
        Self::of(settings, ROUTES)
    }

    /// Where visitors make accounts, which the application is told by their group.
    fn with_registration() -> Self {
        let members = "groups = [\"staff\", \"registered\"]\nupstream = ";
        let routes = ROUTES.replace(
            "host = \"app.example.test\"\nupstream = ",
            &format!("host = \"app.example.test\"\n{members}"),
        );
        let routes = routes.replace(
            "path = \"/broken\"\nupstream = ",
            &format!("path = \"/broken\"\n{members}"),
        );
        Self::of("[portal]\nregistration = true\n", &routes)
    }

    fn of(settings: &str, routes: &str) -> Self {
        let app = Upstream::start(application::application);
        let upstreams = format!(
            "[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n[[upstream]]\nname = \"nowhere\"\nservers = [\"http://127.0.0.1:1\"]\n",
            app.url()
        );
        let gateway = Gateway::start(&format!("{settings}\n{routes}\n{upstreams}"));
        Self { app, gateway }
            .and(USERNAME, "Ada Lovelace", &["staff"])
            .and("eve", "Eve", &[])
    }

    /// Everything that pages can show, for the scenarios that look at each of them.
    fn complete() -> Self {
        Self::start().and(LONG_NAME, LONG_DISPLAY_NAME, LONG_GROUPS)
    }

    /// Adds a user.
    fn and(self, name: &str, display: &str, groups: &[&str]) -> Self {
        let mut arguments = vec!["user", "add", name, "--display-name", display, "--password-stdin"];
        arguments.extend(groups.iter().flat_map(|group| ["--group", group]));
        let added = self.gateway.command(&arguments, PASSWORD);
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        self
    }

    fn play(&self, scenario: &str) {
        let facts = json!({
            "origin": ORIGIN,
            "address": self.gateway.address(0).to_string(),
            "hosts": HOSTS,
            "cookie": "__Host-portcullis",
            "program": PROGRAM,
            "config": self.gateway.folder().join("portcullis.toml"),
            "username": USERNAME,
            "password": PASSWORD,
            "long_name": LONG_NAME,
        });
        node::play(scenario, facts, Some(&self.gateway.ca()));
    }
}

const LONG_DISPLAY_NAME: &str = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft";
const LONG_GROUPS: &[&str] = &[
    "accounting",
    "administrators-of-the-northern-region",
    "everybody",
    "sales:emea",
    "staff",
    "a-group-whose-name-is-as-long-as-the-name-of-a-group-may-ever-be",
];

/// The form came through once, and whole.
fn saved_once(stage: &Stage) {
    let sent = stage
        .app
        .requests()
        .into_iter()
        .filter(|request| request.target() == "/save");
    let bodies: Vec<_> = sent
        .map(|request| String::from_utf8_lossy(&request.body).into_owned())
        .collect();
    assert_eq!(bodies, ["note=what+took+an+hour+to+write"]);
}

/// One test a scenario, each with its stage and with what must be true after it.
macro_rules! scenarios {
    ($($name:ident: $stage:expr $(=> $check:expr)?,)+) => {
        $(#[test]
        fn $name() {
            let stage = $stage;
            stage.play(stringify!($name));
            $($check(&stage);)?
        })+

        #[test]
        fn every_scenario_is_played() {
            let mut played = vec![$(stringify!($name)),+];
            played.sort_unstable();
            assert_eq!(node::scenarios(), played);
        }
    };
}

scenarios! {
    a_page_that_works_offline_loses_the_network_and_the_session_and_no_note: Notes::start(),
    a_page_that_watches_is_told_before_its_session_ends_and_when: Stage::with("[session]\nidle_timeout = \"8s\"\nlifetime = \"8s\"\n"),
    a_form_sent_after_the_session_ended_can_be_sent_again: Stage::start() => saved_once,
    a_session_too_many_is_refused_with_what_to_do_about_it:
        Stage::with("[session]\nmax_per_user = 1\nwhen_full = \"refuse\"\n"),
    a_session_that_another_browser_ended_first_is_told_to_be_gone: Stage::start(),
    a_session_that_was_ended_elsewhere_is_told_and_can_be_begun_again: Stage::start(),
    a_visitor_signs_in_and_lands_where_they_wanted_to_go: Stage::start(),
    a_wrong_password_keeps_the_name_and_the_way_and_forgets_the_password: Stage::start(),
    an_unknown_name_is_told_the_same_as_a_wrong_password: Stage::start(),
    changing_the_password_signs_out_every_other_browser_and_keeps_this_one: Stage::start(),
    nobody_makes_an_account_where_registration_is_off: Stage::start(),
    somebody_new_makes_an_account_without_scripts_and_lands_where_they_wanted_to_go: Stage::with_registration(),
    every_page_is_readable_in_light_and_dark_narrow_and_wide: Stage::complete(),
    going_back_after_signing_out_shows_nothing_private: Stage::start(),
    no_page_breaks_its_own_policy_and_the_policy_is_kept: Stage::complete(),
    no_page_of_another_origin_can_sign_anybody_out: Stage::start(),
    no_page_of_another_origin_reads_who_is_signed_in_or_opens_a_web_socket: Stage::start(),
    no_page_shows_the_log_in_form_in_a_frame: Stage::start(),
    no_service_worker_of_the_application_stands_before_the_log_in_page: Stage::start(),
    one_browser_ends_the_session_of_another_while_it_watches_streams: Stage::start(),
    signing_in_and_out_works_without_scripts: Stage::start(),
    signing_out_asks_first_and_leaves_nothing_behind: Stage::start(),
    signing_out_clears_the_cache_where_the_host_asks_for_it:
        Stage::with("[portal]\nclear_cache = [\"app.example.test\"]\n"),
    signing_out_everywhere_else_works_without_scripts_and_keeps_this_browser: Stage::start(),
    signing_out_leaves_the_cache_alone_where_nobody_asks: Stage::start(),
    strangers_who_guess_are_slowed_down_and_the_owner_is_not:
        Stage::with("[throttle]\naccount = \"3/10m\"\n"),
    the_newest_session_takes_the_place_of_the_oldest: Stage::with("[session]\nmax_per_user = 1\n"),
    the_cookie_is_out_of_reach_of_scripts_and_lasts_as_long_as_was_asked: Stage::start(),
    the_form_is_filled_and_sent_by_keyboard_alone: Stage::start(),
    the_keyboard_reaches_everything_in_order_and_shows_where_it_is: Stage::complete(),
    the_streams_of_a_session_end_when_its_own_browser_signs_out: Stage::start(),
    who_is_signed_in_already_is_told_so_and_can_become_somebody_else: Stage::start(),
}
