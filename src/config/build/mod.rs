//! The second step: rooms' settings out of a checked tree, and everything that keys say against each other.

mod aliases;
mod identity;
mod listeners;
mod moved;
mod opening;
mod routes;
mod sources;
mod state;
mod upstreams;

use super::Config;
use super::problem::Findings;
use super::tree::Node;
use super::tree::Origin;
use super::tree::Section;
use crate::account;
use crate::lifecycle;
use crate::portal;
use crate::proxy;
use crate::session::SourceSettings;
use crate::telemetry;
use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

/// What a table that was refused reads as.
static NOTHING: Section = Section {
    entries: BTreeMap::new(),
    origin: Origin::Default,
};

/// What every builder needs.
struct Draft<'a> {
    root: &'a Section,
    /// Where relative paths start.
    folder: &'a Path,
    findings: &'a mut Findings,
}

impl<'a> Draft<'a> {
    fn table(&self, key: &str) -> &'a Section {
        self.root.table(key).unwrap_or(&NOTHING)
    }

    /// A path of the file starts at its folder; one from elsewhere where the process stands.
    fn path(&self, node: &Node) -> PathBuf {
        self.place_of(node, Path::new(node.text().unwrap_or_default()))
    }

    /// The same for a path that is a part of the value.
    fn place_of(&self, node: &Node, path: &Path) -> PathBuf {
        match node.origin {
            Origin::File(_) | Origin::Default => self.folder.join(path),
            Origin::Environment(_) | Origin::Flag(_) => path.to_path_buf(),
        }
    }
}

/// Builds every room's settings. What they are worth is told by `findings`: with an error there, nothing.
pub(super) fn config(root: &Section, folder: &Path, findings: &mut Findings) -> Config {
    let mut draft = Draft { root, folder, findings };
    let data_dir = root.node("data_dir").map(|node| draft.path(node)).unwrap_or_default();
    let store = state::store(&mut draft, &data_dir);
    let sources = sources::sources(&mut draft);
    let proxy = proxy_settings(&mut draft, &sources);
    let session = state::session(&mut draft, &store, sources);
    let net = listeners::net(&mut draft, &data_dir, &proxy.routes);
    listeners::warn_of_lost_cookies(&mut draft, &net, &session.cookie);
    let log = draft.table("log");
    let portal = draft.table("portal");
    Config {
        portal: portal::Settings {
            prefix: proxy.portal_prefix.clone(),
            name: portal.text("name").map(str::to_owned),
            return_origins: portal
                .texts("return_origins")
                .map(|(text, _)| text.to_owned())
                .collect(),
            clear_cache: aliases::clear_cache(&mut draft),
            unsafe_plain_login: portal.flag("unsafe_plain_login"),
            registration: portal.flag("registration"),
        },
        admin: state::admin(&mut draft),
        audit: state::audit(&draft),
        telemetry: telemetry::Settings {
            format: match log.text("format") {
                Some("pretty") => telemetry::Format::Pretty,
                Some("json") => telemetry::Format::Json,
                _ => telemetry::Format::Auto,
            },
            access: log.flag("access"),
            access_file: log.node("access_file").map(|node| draft.path(node)),
        },
        log_level: log.text("level").unwrap_or("info").to_owned(),
        life: lifecycle::Settings {
            drain_delay: draft.table("life").span("drain_delay"),
            drain_timeout: draft.table("life").span("drain_timeout"),
            stream_grace: draft.table("life").span("stream_grace"),
        },
        watch_files: draft.table("life").flag("watch_files"),
        account: account::Settings {
            rates: state::rates(&draft),
            site: portal.text("name").map(str::to_owned),
            promised: sources::promised_names(&session.sources),
            ..account::Settings::default()
        },
        data_dir,
        net,
        proxy,
        session,
        store,
    }
}

fn proxy_settings(draft: &mut Draft<'_>, sources: &[SourceSettings]) -> proxy::Settings {
    let limits = draft.table("limits");
    let portal_prefix = draft
        .table("portal")
        .text("prefix")
        .unwrap_or("/.portcullis")
        .trim_end_matches('/')
        .to_owned();
    let upstreams = upstreams::upstreams(draft);
    let routes = routes::routes(draft, &upstreams, sources, &portal_prefix);
    upstreams::warn_of_unused(draft, &upstreams, &routes);
    let aliases = aliases::aliases(draft, &routes, &portal_prefix);
    proxy::Settings {
        aliases,
        trusted_proxies: listeners::networks(draft.table("trust"), "proxies"),
        body_bytes: limits.size("body_bytes"),
        headers: limits.number("headers").unwrap_or(100),
        target_bytes: limits
            .size("target_bytes")
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(8192),
        body_idle: limits.span("body_idle"),
        stream_grace: draft.table("life").span("stream_grace"),
        routes,
        upstreams,
        portal_prefix,
    }
}
