//! Where a gateway can be reached, and what its log says of itself at start.

use crate::admin::StoreFacts;
use crate::config::Config;
use crate::net;
use crate::net::Bound;
use crate::net::TlsSettings;
use crate::store;
use crate::store::Store;
use crate::web::Purpose;
use crate::web::Scheme;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(super) fn urls(bound: &Bound, admin: bool) -> Vec<String> {
    let wanted = bound
        .listeners
        .iter()
        .filter(|(settings, _)| (settings.purpose == Purpose::Admin) == admin);
    let url = |tls: bool, address: &SocketAddr| {
        format!(
            "{}://{address}",
            if tls { Scheme::Https } else { Scheme::Http }.as_str()
        )
    };
    wanted
        .map(|(settings, address)| url(settings.tls.is_some(), address))
        .collect()
}

pub(super) fn https_port(bound: &Bound) -> Option<u16> {
    let serving = bound
        .listeners
        .iter()
        .find(|(settings, _)| settings.tls.is_some() && settings.purpose == Purpose::Serve);
    serving.map(|(settings, address)| settings.public_port.unwrap_or(address.port()))
}

pub(super) fn admin_hosts(bound: &Bound) -> Vec<String> {
    let admin = bound
        .listeners
        .iter()
        .filter(|(settings, _)| settings.purpose == Purpose::Admin);
    admin
        .map(|(_, address)| {
            if address.is_ipv6() {
                format!("[{}]", address.ip())
            } else {
                address.ip().to_string()
            }
        })
        .collect()
}

pub(super) fn local_ca(config: &Config) -> Option<PathBuf> {
    config.net.listeners.iter().find_map(|listener| match &listener.tls {
        Some(TlsSettings::Local { dir, .. }) => Some(net::ca_path(dir)),
        _ => None,
    })
}

pub(super) fn log_start(config: &Config, bound: &Bound, store: &dyn Store) {
    let cookie = &config.session.cookie;
    let trusted: Vec<String> = config.proxy.trusted_proxies.iter().map(ToString::to_string).collect();
    tracing::info!(
        listeners = urls(bound, false).join(" "),
        admin = urls(bound, true).join(" "),
        store.place = store.description(),
        trust.proxies = if trusted.is_empty() {
            "none".to_owned()
        } else {
            trusted.join(" ")
        },
        cookie.name = cookie.name,
        cookie.secure = cookie.secure.as_str(),
        cookie.same_site = cookie.same_site.as_str(),
        cookie.domains = if cookie.domains.is_empty() {
            "host only".to_owned()
        } else {
            cookie.domains.join(" ")
        },
        workers = config.net.workers,
        version = env!("CARGO_PKG_VERSION"),
        "portcullis is starting"
    );
    for source in &config.session.sources {
        tracing::info!(
            source.name = source.name,
            source.place = source.table.description(),
            source.hosts = source.hosts.join(" "),
            cookie.name = source.mapping.cookies.join(" "),
            "sessions of an application are read"
        );
    }
}

/// How the store is set up, as far as statistics tell it.
pub(super) fn store_facts(settings: &store::Settings) -> StoreFacts {
    let server = match &settings.place {
        store::Place::Postgres { schema, .. } => Some(schema.clone()),
        store::Place::Sqlite { .. } => None,
    };
    StoreFacts {
        engine: if server.is_some() { "postgres" } else { "sqlite" },
        max_connections: server.is_some().then_some(settings.max_connections),
        schema: server,
        call_timeout_seconds: settings.call_timeout.as_secs_f64(),
        prepared_statements: settings.prepared_statements,
    }
}
