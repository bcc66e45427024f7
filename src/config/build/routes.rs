use super::Draft;
use super::identity;
use crate::config::problem::Problem;
use crate::config::shape;
use crate::config::suggest;
use crate::config::tree::Origin;
use crate::config::tree::Section;
use crate::proxy::Access;
use crate::proxy::HostPattern;
use crate::proxy::PathCase;
use crate::proxy::PathPattern;
use crate::proxy::RouteSettings;
use crate::proxy::UpstreamSettings;
use crate::session::Accepted;
use crate::session::SourceSettings;
use http::HeaderName;
use http::Method;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) fn routes(
    draft: &mut Draft<'_>,
    upstreams: &[UpstreamSettings],
    sources: &[SourceSettings],
    prefix: &str,
) -> Vec<RouteSettings> {
    let grace = draft.table("cache").span("outage_grace");
    let mut routes = Vec::new();
    for (index, section) in draft.root.tables("route").enumerate() {
        let key = format!("route[{index}]");
        let upstream = upstream_of(draft, section, upstreams, &key);
        check_path(draft, section, prefix, &key);
        check_narrowing(draft, section, &key);
        check_registration(draft, section, &key);
        let identity = identity::identity(draft, section, &key);
        check_sessions(draft, section, &key);
        let sessions = super::sources::accepted(draft, section, sources, &key);
        routes.push(RouteSettings {
            upstream,
            identity,
            sessions,
            ..route(section, grace)
        });
    }
    identity::check_fixed_headers(draft, &routes);
    refuse_twins(draft, &routes);
    routes
}

fn route(section: &Section, grace: Duration) -> RouteSettings {
    let host = match section.node("host") {
        None => HostPattern::Any,
        Some(node) => node
            .text()
            .and_then(|text| shape::host(text).ok())
            .unwrap_or(HostPattern::Any),
    };
    let path = path_of(section);
    let methods: Vec<_> = section
        .texts("methods")
        .filter_map(|(text, _)| text.parse::<Method>().ok())
        .collect();
    let texts = |key: &str| section.texts(key).map(|(text, _)| text.to_owned()).collect::<Vec<_>>();
    RouteSettings {
        name: section
            .text("name")
            .map_or_else(|| name_of(&host, &path, &methods), str::to_owned),
        host,
        path,
        methods,
        upstream: None,
        access: match section.text("access") {
            Some("public") => Access::Public,
            Some("optional") => Access::Optional,
            Some("deny") => Access::Deny,
            _ => Access::SignedIn,
        },
        groups: texts("groups"),
        users: texts("users"),
        networks: super::listeners::networks(section, "networks"),
        api: section.flag("api"),
        origins: texts("origins"),
        allow_preflight: section.flag("allow_preflight"),
        allow_encoded_slash: section.flag("allow_encoded_slash"),
        allow_double_slash: section.flag("allow_double_slash"),
        allow_path_parameters: section.flag("allow_path_parameters"),
        path_case: match section.text("path_case") {
            Some("sensitive") => PathCase::Sensitive,
            _ => PathCase::Insensitive,
        },
        preserve_host: section.flag("preserve_host"),
        strip_prefix: section.flag("strip_prefix"),
        add_prefix: section.text("add_prefix").unwrap_or_default().to_owned(),
        set_headers: fixed_headers(section),
        outage_grace: section
            .text("outage_grace")
            .and_then(|text| shape::duration(text).ok())
            .unwrap_or(grace),
        cache_private: section.flag("cache_private"),
        identity: identity::nothing(),
        sessions: Accepted::default(),
    }
}

fn path_of(section: &Section) -> PathPattern {
    if let Some(exact) = section.text("path_exact") {
        return PathPattern::Exact(exact.to_owned());
    }
    let prefix = section.text("path").unwrap_or("/");
    let bare = prefix.trim_end_matches('/');
    PathPattern::Prefix(if bare.is_empty() { "/" } else { bare }.to_owned())
}

/// What a route without a name is called; no given name has a slash, so none is met twice.
fn name_of(host: &HostPattern, path: &PathPattern, methods: &[Method]) -> String {
    let host = match host {
        HostPattern::Exact(host) => host.clone(),
        HostPattern::Wildcard(domain) => format!("*.{domain}"),
        HostPattern::Any => "*".to_owned(),
    };
    let path = match path {
        PathPattern::Prefix(path) => path.clone(),
        PathPattern::Exact(path) => format!("{path}$"),
    };
    let methods: String = methods.iter().flat_map(|method| [" ", method.as_str()]).collect();
    format!("{host}{path}{methods}")
}

fn fixed_headers(section: &Section) -> Vec<(HeaderName, String)> {
    let Some(table) = section.table("set_headers") else {
        return Vec::new();
    };
    let pairs = table
        .entries
        .iter()
        .filter_map(|(name, node)| Some((name.parse().ok()?, node.text()?.to_owned())));
    pairs.collect()
}

fn upstream_of(draft: &mut Draft<'_>, section: &Section, upstreams: &[UpstreamSettings], key: &str) -> Option<usize> {
    let node = section.node("upstream")?;
    let wanted = node.text()?;
    let found = upstreams.iter().position(|upstream| upstream.name == wanted);
    if found.is_none() {
        let names = || {
            upstreams
                .iter()
                .map(|upstream| upstream.name.as_str())
                .filter(|name| !name.is_empty())
        };
        let hint = match suggest::nearest(wanted, names()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("add an [[upstream]] with `name = {wanted:?}`"),
        };
        let message = format!("there is no upstream {wanted:?}");
        draft
            .findings
            .at(Some(node), &format!("{key}.upstream"), message, &hint);
    }
    found
}

fn check_path(draft: &mut Draft<'_>, section: &Section, prefix: &str, key: &str) {
    if section.is_given("path") && section.is_given("path_exact") {
        let key = format!("{key}.path_exact");
        draft.findings.at(
            section.node("path_exact"),
            &key,
            "`path` and `path_exact` are both given",
            "leave one out",
        );
    }
    for name in ["path", "path_exact"] {
        let Some(given) = section.text(name) else { continue };
        let (path, prefix) = (given.to_ascii_lowercase(), prefix.to_ascii_lowercase());
        if path == prefix || path.strip_prefix(&prefix).is_some_and(|rest| rest.starts_with('/')) {
            let message = format!("{given:?} belongs to the portal and is never forwarded");
            draft.findings.at(
                section.node(name),
                &format!("{key}.{name}"),
                message,
                "choose another path, or another portal.prefix",
            );
        }
    }
}

/// A rule about users on a route that does not ask who it is would silently let everybody pass.
fn check_narrowing(draft: &mut Draft<'_>, section: &Section, key: &str) {
    let Some(access @ ("public" | "optional")) = section.text("access") else {
        return;
    };
    for name in ["groups", "users"] {
        let node = section.node(name).filter(|node| !node.items().is_empty());
        if node.is_some() {
            let message = format!("`{name}` can't narrow a route with access = {access:?}");
            draft.findings.at(
                node,
                &format!("{key}.{name}"),
                message,
                "write access = \"signed_in\", or leave it out",
            );
        }
    }
}

/// Where anybody can make an account, a route that asks only for one lets anybody pass.
fn check_registration(draft: &mut Draft<'_>, section: &Section, key: &str) {
    let is_open = draft.table("portal").flag("registration") && section.text("access") == Some("signed_in");
    let given = |name: &str| {
        section
            .node(name)
            .is_some_and(|node| node.is_broken() || !node.items().is_empty())
    };
    if !is_open || given("groups") || given("users") {
        return;
    }
    let message = "with `portal.registration = true`, everybody who makes an account passes this route";
    let hint = "write `groups = [\"staff\"]` (or `[\"registered\"]`, if that is what you want) or `users`, or switch \
                registration off";
    draft.findings.in_section(section, key, message, hint);
}

fn check_sessions(draft: &mut Draft<'_>, section: &Section, key: &str) {
    let node = section
        .node("sessions")
        .filter(|node| !node.is_broken() && node.items().is_empty());
    if node.is_some() {
        let hint = "leave it out, or write access = \"public\"";
        draft.findings.at(
            node,
            &format!("{key}.sessions"),
            "`sessions` is empty: nobody could sign in",
            hint,
        );
    }
}

/// Two routes of one name, and two that the same request would select.
fn refuse_twins(draft: &mut Draft<'_>, routes: &[RouteSettings]) {
    let sections: Vec<_> = draft.root.tables("route").collect();
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    let mut targets: BTreeMap<(&HostPattern, &PathPattern), Vec<usize>> = BTreeMap::new();
    for (index, (route, section)) in routes.iter().zip(&sections).enumerate() {
        let named = section.node("name").filter(|node| node.text().is_some());
        match (named, taken.get(route.name.as_str())) {
            (Some(node), Some(earlier)) => {
                let message = format!("a second route is called {:?}", route.name);
                let problem = Problem::error(&node.origin, format!("route[{index}].name"), message);
                let origin = origin_of(sections[*earlier], "name");
                draft
                    .findings
                    .push(problem.hint("give it another name").also(&origin, "the first is here"));
            }
            _ => drop(taken.insert(&route.name, index)),
        }
        if is_broken(section) {
            continue;
        }
        let alike = targets.entry((&route.host, &route.path)).or_default();
        if let Some(earlier) = alike
            .iter()
            .find(|earlier| meet(&routes[**earlier].methods, &route.methods))
        {
            let message = "another route has the same host, path and methods";
            let problem = Problem::error(&path_origin(section), format!("route[{index}]"), message);
            let hint = "change one, or leave it out; the order of routes never decides";
            draft.findings.push(
                problem
                    .hint(hint)
                    .also(&path_origin(sections[*earlier]), "the other one is here"),
            );
        }
        alike.push(index);
    }
}

/// Whether what a route is for was refused before.
fn is_broken(section: &Section) -> bool {
    ["host", "path", "path_exact", "methods"]
        .iter()
        .any(|key| section.node(key).is_some_and(crate::config::tree::Node::is_broken))
}

fn meet(left: &[Method], right: &[Method]) -> bool {
    left.is_empty() || right.is_empty() || left.iter().any(|method| right.contains(method))
}

/// The path's place; the table's where the path is the default.
fn path_origin(section: &Section) -> Origin {
    let key = if section.is_given("path_exact") {
        "path_exact"
    } else {
        "path"
    };
    match origin_of(section, key) {
        Origin::Default => section.origin.clone(),
        origin => origin,
    }
}

fn origin_of(section: &Section, key: &str) -> Origin {
    section.node(key).map(|node| node.origin.clone()).unwrap_or_default()
}
