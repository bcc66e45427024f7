//! Text in, settings out: every room's `Settings`, from options, environment, file and defaults.
//!
//! It opens no socket and no database, and no certificate: that a configuration is valid says that it is whole and
//! without contradiction, not that everything it names is there. Other rooms never read the environment or a file of
//! settings.
//!
//! Called by the command line ([`load`], [`quick`], [`show`], [`schema`], [`init`]); what comes out goes to `app`.
//!
//! What must always hold: a configuration with one error yields no settings at all; all its problems are told at once,
//! each where it stands; no secret stands in a message, in [`show`] or in a `Debug`. Nothing here waits on a future.

mod build;
mod environment;
mod fetch;
mod file;
mod keys;
mod mask;
mod problem;
mod quick;
mod read;
mod reference;
mod render;
mod schema;
mod shape;
mod show;
mod suggest;
mod tree;
mod variables;
mod when;
mod wording;

pub use environment::Environment;
pub use problem::Problem;
pub use problem::Problems;
pub use problem::Severity;
pub use quick::Quick;
pub use quick::for_data_dir;
pub use quick::init;
pub use quick::quick;
pub use reference::environment_names;
pub use reference::reference;
pub use schema::schema;
pub use show::show;

use problem::Findings;
use problem::Place;
use std::path::Path;
use std::path::PathBuf;
use tree::Origin;
use tree::Section;

/// The whole configuration as values.
#[derive(Clone, Debug)]
pub struct Config {
    /// Local CA, SQLite file, generated secrets.
    pub data_dir: PathBuf,
    /// Listeners and limits; the admin listener among them.
    pub net: crate::net::Settings,
    /// Routes and upstreams.
    pub proxy: crate::proxy::Settings,
    /// Pages.
    pub portal: crate::portal::Settings,
    /// Sessions. No secrets: one is to be made and kept in `data_dir`; only with SQLite.
    pub session: crate::session::Settings,
    /// Database.
    pub store: crate::store::Settings,
    /// Who may manage.
    pub admin: crate::admin::Settings,
    /// The audit log.
    pub audit: crate::audit::Settings,
    /// Passwords.
    pub account: crate::account::Settings,
    /// Logs.
    pub telemetry: crate::telemetry::Settings,
    /// Which log lines are written: a level, or parts and levels, as `tracing-subscriber` reads them.
    pub log_level: String,
    /// Whether the files that this was read from are watched.
    pub watch_files: bool,
    /// Stop.
    pub life: crate::lifecycle::Settings,
}

/// What a configuration is made of.
#[derive(Debug, Default)]
pub struct Sources {
    /// The file.
    pub text: Text,
    /// Comes before the file.
    pub environment: Environment,
    /// Come before everything.
    pub options: Vec<Setting>,
}

/// The file of a configuration.
#[derive(Debug, Default)]
pub enum Text {
    /// None: defaults and environment only.
    #[default]
    Nothing,
    /// A file; relative paths in it start at its folder.
    File(PathBuf),
    /// A text that has been read already.
    Given {
        /// What messages call it.
        name: String,
        /// The TOML.
        text: String,
        /// Where relative paths start.
        folder: PathBuf,
    },
}

/// An option of the command line that stands for a key.
#[derive(Debug)]
pub struct Setting {
    /// What messages call it, as in `--data-dir`.
    pub option: String,
    /// The key, as in `data_dir` or `store.url`.
    pub key: &'static str,
    /// The value as given.
    pub value: String,
}

/// A valid configuration.
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// What is likely not what was meant.
    pub warnings: Problems,
    /// Every file that it was read from, certificates not among them.
    pub files: Vec<PathBuf>,
    name: String,
    text: String,
    root: Section,
}

/// Its name only: routes hold fixed headers, which may be keys of applications.
impl std::fmt::Debug for Loaded {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Loaded({})", self.name)
    }
}

/// Reads and checks a configuration.
///
/// # Errors
/// Every problem there is; a TOML syntax error alone tells only itself. [`Problems::could_not_read`] tells a file that
/// is not there from one that is wrong.
pub fn load(sources: Sources) -> Result<Loaded, Problems> {
    let mut findings = Findings::default();
    let (name, text, folder) = match sources.text {
        Text::Nothing => ("no file".to_owned(), String::new(), PathBuf::new()),
        Text::Given { name, text, folder } => (name, text, folder),
        Text::File(path) => {
            let name = path.display().to_string();
            let text = file::read_config(&path).map_err(|why| Problems::unreadable(&name, &why))?;
            findings.files.push(path.clone());
            (name, text, path.parent().map(Path::to_path_buf).unwrap_or_default())
        }
    };
    let mut root = tree::parse(&text).map_err(|error| {
        let problem = Problem::error(Place::File(error.span), "", error.message);
        let problems = Problems::new(&name, &text, vec![problem], &mask::suspicious(&text));
        problems.read_from(&findings.files)
    })?;
    when::choose(&mut root, &sources.environment, &folder, &mut findings);
    environment::overlay(&mut root, &sources.environment, &mut findings);
    apply_options(&mut root, &sources.options);
    let mut reader = read::Reader {
        environment: Some(&sources.environment),
        folder: &folder,
        findings: &mut findings,
    };
    reader.complete(&mut root, keys::root(), "");
    let config = build::config(&root, &folder, &mut findings);
    let files = findings.files;
    let found = Problems::new(&name, &text, findings.problems, &findings.hidden).read_from(&files);
    if found
        .as_slice()
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        return Err(found);
    }
    show::forget_secrets(&mut root, keys::root());
    Ok(Loaded {
        config,
        warnings: found,
        files,
        name,
        text,
        root,
    })
}

fn apply_options(root: &mut Section, options: &[Setting]) {
    for option in options {
        let origin = Origin::Flag(option.option.clone());
        let (table, name) = option.key.split_once('.').unwrap_or(("", option.key));
        environment::put(root, table, name, |key| {
            environment::node_of(key, origin, &option.value)
        });
    }
}
