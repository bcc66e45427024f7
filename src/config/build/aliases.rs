use super::Draft;
use crate::config::problem::Problem;
use crate::config::shape;
use crate::config::tree::Section;
use crate::proxy::AliasSettings;
use crate::proxy::HostPattern;
use crate::proxy::RouteSettings;
use std::collections::BTreeMap;

pub(super) fn aliases(draft: &mut Draft<'_>, routes: &[RouteSettings], prefix: &str) -> Vec<AliasSettings> {
    let sections: Vec<&Section> = draft.table("portal").tables("alias").collect();
    let nobody = draft.table("portal").node("admin_token").is_none() && draft.table("admin").node("group").is_none();
    let mut aliases = Vec::new();
    let mut taken: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (index, section) in sections.iter().enumerate() {
        let key = format!("portal.alias[{index}]");
        let host = host_of(draft, section, routes, &key);
        let (Some(host), Some(path), Some(endpoint)) = (host, section.text("path"), section.text("endpoint")) else {
            continue;
        };
        refuse_own_path(draft, section, prefix, path, &key);
        if nobody && endpoint.starts_with("admin/") {
            let hint = "set `group` under [admin], or `admin_token` under [portal]";
            let key = format!("{key}.endpoint");
            draft.findings.at(
                section.node("endpoint"),
                &key,
                "nobody may ask the admin API here",
                hint,
            );
        }
        let folded = path.to_ascii_lowercase();
        let place = (host.clone(), folded.trim_end_matches('/').to_owned());
        if let Some(earlier) = taken.insert(place, index) {
            let origin = |at: usize| {
                sections[at]
                    .node("path")
                    .map(|node| node.origin.clone())
                    .unwrap_or_default()
            };
            let message = format!("another alias takes {path:?} on this host");
            let problem = Problem::error(&origin(index), format!("{key}.path"), message);
            draft.findings.push(
                problem
                    .hint("leave one out; upper and lower case and a last slash make no difference")
                    .also(&origin(earlier), "the other one is here"),
            );
        }
        aliases.push(AliasSettings {
            host,
            path: path.to_owned(),
            endpoint: endpoint.to_owned(),
        });
    }
    aliases
}

/// The one host that an alias is for, which some route must serve: else its path would be answered 421.
fn host_of(draft: &mut Draft<'_>, section: &Section, routes: &[RouteSettings], key: &str) -> Option<String> {
    let node = section.node("host")?;
    let key = format!("{key}.host");
    let host = match shape::host(node.text()?).ok()? {
        HostPattern::Exact(host) => host,
        HostPattern::Wildcard(_) | HostPattern::Any => {
            let hint = "write one [[portal.alias]] for each host";
            draft.findings.at(Some(node), &key, "an alias is for one host", hint);
            return None;
        }
    };
    let covers = |route: &RouteSettings| match &route.host {
        HostPattern::Exact(own) => *own == host,
        HostPattern::Wildcard(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == parent),
        HostPattern::Any => true,
    };
    if !routes.iter().any(covers) {
        let message = format!("no route is for {host:?}");
        let hint = "add a [[route]] for it, or name the host of one";
        draft.findings.at(Some(node), &key, message, hint);
    }
    Some(host)
}

fn refuse_own_path(draft: &mut Draft<'_>, section: &Section, prefix: &str, path: &str, key: &str) {
    let (folded, prefix) = (path.to_ascii_lowercase(), prefix.to_ascii_lowercase());
    if folded
        .strip_prefix(&prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    {
        let message = format!("{path:?} is the portal's own already");
        let hint = "name a path of the front end's";
        draft
            .findings
            .at(section.node("path"), &format!("{key}.path"), message, hint);
    }
}

/// Hosts whose log-out empties the browser's cache.
pub(super) fn clear_cache(draft: &mut Draft<'_>) -> Vec<String> {
    let mut hosts = Vec::new();
    for (text, node) in draft.table("portal").texts("clear_cache") {
        match shape::host(text) {
            Ok(HostPattern::Exact(host)) => hosts.push(host),
            Ok(_) => {
                let hint = "name each host";
                draft.findings.at(
                    Some(node),
                    "portal.clear_cache",
                    format!("{text:?} is not one host"),
                    hint,
                );
            }
            Err(_) => {}
        }
    }
    hosts
}
