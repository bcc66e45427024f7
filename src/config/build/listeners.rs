use super::Draft;
use crate::config::problem::Place;
use crate::config::problem::Problem;
use crate::config::shape;
use crate::config::tree::Origin;
use crate::config::tree::Section;
use crate::net;
use crate::net::CertificateFiles;
use crate::net::Limits;
use crate::net::ListenerSettings;
use crate::net::TlsSettings;
use crate::proxy::HostPattern;
use crate::proxy::RouteSettings;
use crate::session::CookieSettings;
use crate::session::Secure;
use crate::web::Purpose;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::path::Path;

pub(super) fn net(draft: &mut Draft<'_>, data_dir: &Path, routes: &[RouteSettings]) -> net::Settings {
    let mut listeners = Vec::new();
    for (index, section) in draft.root.tables("listener").enumerate() {
        check_listener(draft, section, &format!("listener[{index}]"));
        listeners.push(listener(draft, section, data_dir, routes));
    }
    let nothing_given = draft
        .root
        .node("listener")
        .is_none_or(|node| !node.is_broken() && node.items().is_empty());
    if nothing_given {
        let hint = "add [[listener]] with `address = \"127.0.0.1:8443\"` and `certificates = \"local\"`";
        draft.findings.at(None, "listener", "there is no listener", hint);
    }
    listeners.push(admin(draft));
    check_addresses(draft, &listeners);
    warn_of_redirect_to_nowhere(draft, &listeners);
    check_trust(draft);
    net::Settings {
        listeners,
        limits: limits(draft),
        workers: draft.root.number("workers").unwrap_or_else(cores),
        proxy_protocol: networks(draft.table("trust"), "proxy_protocol"),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The networks of a list.
pub(super) fn networks(section: &Section, key: &str) -> Vec<IpNet> {
    section
        .texts(key)
        .filter_map(|(text, _)| shape::network(text).ok())
        .collect()
}

fn limits(draft: &mut Draft<'_>) -> Limits {
    let section = draft.table("limits");
    let bytes = |key: &str| section.size(key).and_then(|size| usize::try_from(size).ok());
    let limits = Limits {
        connections: section.number("connections").unwrap_or(10_000),
        connections_per_address: section.number("connections_per_address"),
        headers: section.number("headers").unwrap_or(100),
        header_bytes: bytes("header_bytes").unwrap_or(64 * 1024),
        target_bytes: bytes("target_bytes").unwrap_or(8 * 1024),
        streams: section.number("streams").unwrap_or(100),
        resets: section.number("resets").unwrap_or(20),
        handshake: section.span("handshake"),
        head: section.span("head"),
        idle: section.span("idle"),
        body_idle: section.span("body_idle"),
    };
    if limits.target_bytes > limits.header_bytes {
        let hint = "the target is a part of the head";
        let key = if section.is_given("target_bytes") {
            "target_bytes"
        } else {
            "header_bytes"
        };
        let node = section.node(key);
        draft.findings.at(
            node,
            &format!("limits.{key}"),
            "`target_bytes` is more than `header_bytes`",
            hint,
        );
    }
    limits
}

fn listener(draft: &Draft<'_>, section: &Section, data_dir: &Path, routes: &[RouteSettings]) -> ListenerSettings {
    let address = address_of(section);
    let tls = match section.node("certificates") {
        None => None,
        Some(node) if node.text() == Some("local") => Some(TlsSettings::Local {
            dir: data_dir.to_path_buf(),
            hosts: local_hosts(routes, address),
        }),
        Some(node) => Some(TlsSettings::Files(
            node.items()
                .iter()
                .filter_map(|item| files(draft, item.table()?))
                .collect(),
        )),
    };
    ListenerSettings {
        address,
        purpose: match section.text("redirect") {
            Some(_) => Purpose::RedirectToHttps,
            None => Purpose::Serve,
        },
        tls,
        hsts: section.node("hsts").map(|_| section.span("hsts")),
        public_port: section.number("public_port"),
    }
}

fn address_of(section: &Section) -> SocketAddr {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    section
        .text("address")
        .and_then(|text| text.parse().ok())
        .unwrap_or(nowhere)
}

fn files(draft: &Draft<'_>, section: &Section) -> Option<CertificateFiles> {
    Some(CertificateFiles {
        chain: draft.path(section.node("chain")?),
        key: draft.path(section.node("key")?),
    })
}

/// Everything that a browser could ask for: the routes' hosts, this machine, the listener's own address.
fn local_hosts(routes: &[RouteSettings], address: SocketAddr) -> Vec<String> {
    let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    if !address.ip().is_unspecified() {
        hosts.push(address.ip().to_string());
    }
    for route in routes {
        match &route.host {
            HostPattern::Exact(host) => hosts.push(host.trim_matches(['[', ']']).to_owned()),
            HostPattern::Wildcard(domain) => hosts.push(format!("*.{domain}")),
            HostPattern::Any => {}
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    hosts.retain(|host| seen.insert(host.clone()));
    hosts
}

fn check_listener(draft: &mut Draft<'_>, section: &Section, key: &str) {
    let certificates = section.node("certificates");
    let local = certificates.is_some_and(|node| node.text() == Some("local"));
    let redirect = section.node("redirect");
    if certificates.is_some() && redirect.is_some() {
        let message = "a listener with certificates is https already";
        draft.findings.at(
            redirect,
            &format!("{key}.redirect"),
            message,
            "leave out `redirect` or `certificates`",
        );
    }
    if let Some(node) =
        certificates.filter(|node| !node.is_broken() && node.text().is_none() && node.items().is_empty())
    {
        let hint = "name a chain and a key, write \"local\", or leave it out for plain HTTP";
        draft.findings.at(
            Some(node),
            &format!("{key}.certificates"),
            "`certificates` is empty",
            hint,
        );
    }
    let hsts = section.node("hsts");
    let hsts_key = format!("{key}.hsts");
    if hsts.is_some() && certificates.is_none() {
        let message = "`hsts` on a plain listener: browsers ignore it there (RFC 6797, 7.2)";
        draft.findings.at(hsts, &hsts_key, message, "write it where TLS ends");
    } else if hsts.is_some() && local {
        let message = "`hsts` with a local certificate would lock browsers out when the certificate changes";
        draft.findings.at(
            hsts,
            &hsts_key,
            message,
            "leave it out until the certificate is a public one",
        );
    }
}

fn admin(draft: &mut Draft<'_>) -> ListenerSettings {
    let section = draft.table("admin");
    let address = address_of(section);
    if !address.ip().is_loopback() && !section.flag("unsafe_listen_anywhere") {
        let message = format!("the admin listener at {address} could be reached by others");
        let hint = "listen on 127.0.0.1, or write `unsafe_listen_anywhere = true` where a firewall keeps them out";
        draft
            .findings
            .at(section.node("address"), "admin.address", message, hint);
    }
    ListenerSettings {
        address,
        purpose: Purpose::Admin,
        tls: None,
        hsts: None,
        public_port: None,
    }
}

/// Refuses a second listener where the first already takes the port.
fn check_addresses(draft: &mut Draft<'_>, listeners: &[ListenerSettings]) {
    let sections: Vec<_> = draft.root.tables("listener").chain([draft.table("admin")]).collect();
    for (index, (listener, section)) in listeners.iter().zip(&sections).enumerate() {
        let is_admin = listener.purpose == Purpose::Admin;
        let key = if is_admin {
            "admin.address".to_owned()
        } else {
            format!("listener[{index}].address")
        };
        let earlier = listeners[..index]
            .iter()
            .position(|earlier| clash(earlier.address, listener.address));
        let (Some(earlier), Some(node)) = (earlier, section.node("address")) else {
            continue;
        };
        let other = sections[earlier]
            .node("address")
            .map(|node| node.origin.clone())
            .unwrap_or_default();
        let problem = match &node.origin {
            Origin::Default => {
                let message = format!("{} is the admin listener's address", listener.address);
                let hint = "choose another port here, or another `address` under [admin]";
                Problem::error(&other, key, message).hint(hint)
            }
            origin => {
                let message = format!("{} is taken by another listener", listener.address);
                Problem::error(origin, key, message)
                    .hint("choose another port")
                    .also(&other, "the other one is here")
            }
        };
        draft.findings.push(problem);
    }
}

fn clash(left: SocketAddr, right: SocketAddr) -> bool {
    let same_family = left.is_ipv4() == right.is_ipv4();
    let any = left.ip().is_unspecified() || right.ip().is_unspecified();
    left.port() != 0 && left.port() == right.port() && (left.ip() == right.ip() || (any && same_family))
}

fn warn_of_redirect_to_nowhere(draft: &mut Draft<'_>, listeners: &[ListenerSettings]) {
    if listeners.iter().any(|listener| listener.tls.is_some()) {
        return;
    }
    for (index, section) in draft.root.tables("listener").enumerate() {
        let Some(node) = section.node("redirect").filter(|node| !node.is_broken()) else {
            continue;
        };
        let message = "this listener sends browsers to https, and no listener here serves it";
        let problem = Problem::warning(&node.origin, format!("listener[{index}].redirect"), message);
        draft
            .findings
            .push(problem.hint("add a [[listener]] with `certificates`, unless a balancer in front has them"));
    }
}

fn check_trust(draft: &mut Draft<'_>) {
    let section = draft.table("trust");
    if section.flag("unsafe_trust_any_proxy") {
        return;
    }
    for key in ["proxies", "proxy_protocol"] {
        for (text, node) in section.texts(key) {
            if shape::network(text).is_ok_and(|network| network.prefix_len() == 0) {
                let message = format!("{text:?} lets every client claim any address");
                let hint = "name your balancers' networks, or write `unsafe_trust_any_proxy = true`";
                draft
                    .findings
                    .push(Problem::error(&node.origin, format!("trust.{key}"), message).hint(hint));
            }
        }
    }
}

/// A `Secure` cookie over plain http is dropped by the browser: a log-in that never holds.
pub(super) fn warn_of_lost_cookies(draft: &mut Draft<'_>, net: &net::Settings, cookie: &CookieSettings) {
    let serving = || {
        net.listeners
            .iter()
            .filter(|listener| listener.purpose == Purpose::Serve)
    };
    let behind_balancer = !draft.table("trust").list("proxies").is_empty();
    let serves_https = serving().any(|listener| listener.tls.is_some());
    let for_others = serving().any(|listener| !listener.address.ip().is_loopback());
    if cookie.secure != Secure::Always || behind_balancer || serves_https || !for_others {
        return;
    }
    let listener = draft
        .root
        .tables("listener")
        .find(|section| !address_of(section).ip().is_loopback());
    let place = listener
        .and_then(|section| section.node("address"))
        .map_or(Place::Nowhere, |node| Place::from(&node.origin));
    let message = "nobody can sign in over plain http: browsers drop the Secure session cookie";
    let hint = "add `certificates`; or name the balancer that serves https in trust.proxies; or write \
                `secure = \"auto\"` and `cookie = \"portcullis\"` under [session]";
    draft
        .findings
        .push(Problem::warning(place, "listener", message).hint(hint));
}
