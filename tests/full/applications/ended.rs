//! Sessions that are ended at the gateway while their application is busy with them.

use super::*;
use serde_json::json;

/// Requests that are under way at once, and how long each takes in the application.
const BUSY: usize = 6;
const TAKES: Duration = Duration::from_millis(300);
/// For so long after the end nothing may come back.
const AFTER: Duration = Duration::from_secs(3);
const END: &str = "end = true";

impl Visitor<'_> {
    /// The same browser in another window.
    fn window(&self) -> Visitor<'_> {
        Visitor {
            gateway: self.gateway,
            cookies: self.cookies.clone(),
            raw: None,
        }
    }
}

impl Scene {
    /// A command of the gateway's; its output as JSON.
    fn command(&self, arguments: &[&str]) -> Value {
        let output = self.gateway.command(arguments, "");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Rows of the application that name this user.
    fn rows_of(&self, user: &str) -> usize {
        let listed = self.command(&["session", "list", "--user", user, "--json"]);
        listed["items"].as_array().expect("a list").len()
    }
}

/// While the session changes in requests that overlap, it is ended at the gateway: no cookie that any of the windows had or
/// was given is accepted afterwards, by the application or here, and the row is gone.
async fn ends_while_busy(scene: &Scene) {
    let mut visitor = scene.signed_in("user=1").await;
    let mut bystander = scene.signed_in("user=2").await;
    scene.data.let_end();
    let user = principal("crm", &visitor.known().await).to_string();
    bystander.known().await;
    assert_eq!(scene.rows_of(&user), 1);
    let change = format!("/change?takes={}", TAKES.as_millis());
    let windows = (0..BUSY).map(|count| {
        let (mut window, change) = (visitor.window(), change.clone());
        async move {
            // Not all at once: some begin before the end and some after it.
            tokio::time::sleep(TAKES * u32::try_from(count).expect("a few") / 4).await;
            for _ in 0..4 {
                window.ask("POST", &change).await;
            }
            window.cookies
        }
    });
    let windows = futures_util::future::join_all(windows);
    let ending = async {
        tokio::time::sleep(TAKES / 2).await;
        let ended = tokio::task::block_in_place(|| scene.command(&["session", "end", "--user", &user, "--json"]));
        assert_eq!(ended["ended"].as_array().map(Vec::len), Some(1), "{ended}");
    };
    let (windows, ()) = tokio::join!(windows, ending);
    let ended = Instant::now();
    while scene.rows_of(&user) > 0 {
        assert!(ended.elapsed() < BOUND * 2, "the row is there again and again");
        pause();
    }
    let mut cookies = windows;
    cookies.push(visitor.cookies.clone());
    let over = Instant::now();
    while over.elapsed() < AFTER {
        for cookies in &cookies {
            let mut window = scene.visitor();
            window.cookies.clone_from(cookies);
            assert_eq!(window.told().await, (None, None));
        }
        assert_eq!(scene.rows_of(&user), 0);
    }
    bystander.known().await;
    let mut anew = scene.signed_in("user=1").await;
    anew.known().await;
    assert_eq!(anew.ask("POST", "/.portcullis/logout").await.status, 204);
    assert_eq!(anew.told().await, (None, None));
    assert_eq!(scene.rows_of(&user), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_express_session_that_is_ended_stays_so_however_the_application_saves_it() {
    for (resave, rolling) in [(false, false), (false, true), (true, false), (true, true)] {
        let settings = json!({ "resave": resave, "rolling": rolling, "notes": true });
        let source = express::source(&format!("user = \"/userId\"\n{END}"));
        let scene = express::scene("Asia/Kolkata", (express::app(settings), source));
        ends_while_busy(&scene).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_djangos_that_is_ended_stays_so() {
    ends_while_busy(&python::django_with("Asia/Kolkata", true, END)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_flasks_that_is_ended_stays_so() {
    for format in ["msgpack", "json"] {
        ends_while_busy(&python::flask_with("America/New_York", format, None, END)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_a_table_of_ones_own_that_is_ended_stays_so() {
    let data = Data::in_zone("Etc/UTC");
    let app = Program::node("plain.mjs", &json!({ "database": data.url }));
    let scene = Scene::new(data, app, &format!("{}\n{END}", node::PLAIN));
    ends_while_busy(&scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_auth_js_that_is_ended_stays_so() {
    let source = format!("{}\n{END}", node::AUTH_JS);
    ends_while_busy(&node::busy_scene("authjs.mjs", &source)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_better_auth_that_is_ended_stays_so() {
    let source = format!("{}\n{END}", node::BETTER_AUTH);
    ends_while_busy(&node::busy_scene("better_auth.mjs", &source)).await;
}
