//! Configurations that nobody wrote: for `demo`, for `run --to`, for commands on a data directory; and the starter.

use super::Environment;
use super::Loaded;
use super::Problem;
use super::Problems;
use super::Setting;
use super::Sources;
use super::Text;
use super::load;
use super::problem::Place;
use super::shape;
use super::shape::Mistake;
use super::wording::quoted;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

/// What `run --to` and `demo` know.
#[derive(Debug)]
pub struct Quick {
    /// The application, `http://HOST:PORT`.
    pub to: String,
    /// Where to listen with a local certificate; `None`: 127.0.0.1:8443. Port 0 takes a free one.
    pub listen: Option<SocketAddr>,
    /// Whether another address than loopback is meant.
    pub unsafe_listen_anywhere: bool,
    /// Local CA, SQLite file, generated secrets.
    pub data_dir: PathBuf,
    /// As for [`load`].
    pub environment: Environment,
}

/// One application behind a local certificate: everybody who signs in may pass, on any host; SQLite in the data
/// directory, the admin listener on a free port of loopback.
///
/// # Errors
/// As [`load`].
pub fn quick(quick: Quick) -> Result<Loaded, Problems> {
    let listen = quick
        .listen
        .unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443));
    let mut wrong = Vec::new();
    if let Err(mistake) = shape::server(&quick.to) {
        // With a user in it, it may hold a password.
        let given = if quick.to.contains('@') {
            "its URL".to_owned()
        } else {
            quoted(&quick.to)
        };
        wrong.push(match mistake {
            Mistake::Wrong(what, hint) => Problem::error(flag("--to"), "", format!("{given} {what}")).hint(hint),
            Mistake::Later(what) => Problem::error(flag("--to"), "", format!("{what} is not available yet")),
        });
    }
    if !listen.ip().is_loopback() && !quick.unsafe_listen_anywhere {
        let message = format!("{listen} is no loopback address: others could reach this gateway");
        wrong.push(
            Problem::error(flag("--listen"), "", message)
                .hint("listen on 127.0.0.1, or add --unsafe-listen-anywhere, or write a configuration file"),
        );
    }
    if !wrong.is_empty() {
        return Err(Problems::new("the command line", "", wrong, &[]));
    }
    let server = toml::Value::String(quick.to);
    let text = format!(
        "[[listener]]\naddress = \"{listen}\"\ncertificates = \"local\"\n\
         [admin]\naddress = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"app\"\nservers = [{server}]\n\
         [[route]]\nname = \"app\"\nupstream = \"app\"\n"
    );
    load(sources(text, &quick.data_dir, quick.environment))
}

/// For commands that touch only the state in a data directory: SQLite there, and nothing that anybody could reach.
///
/// # Errors
/// As [`load`].
pub fn for_data_dir(data_dir: &Path, environment: Environment) -> Result<Loaded, Problems> {
    let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n".to_owned();
    load(sources(text, data_dir, environment))
}

/// A short configuration that works at once: <https://localhost:8443> with a local certificate in front of
/// `http://127.0.0.1:3000`.
#[must_use]
pub fn init() -> &'static str {
    include_str!("../../config/examples/quick-start.toml")
}

fn sources(text: String, data_dir: &Path, environment: Environment) -> Sources {
    Sources {
        text: Text::Given {
            name: "the command line".to_owned(),
            text,
            folder: PathBuf::new(),
        },
        environment,
        options: vec![Setting {
            option: "--data-dir".to_owned(),
            key: "data_dir",
            value: data_dir.display().to_string(),
        }],
    }
}

fn flag(name: &str) -> Place {
    Place::Flag(name.to_owned())
}
