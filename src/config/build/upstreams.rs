use super::Draft;
use crate::config::problem::Place;
use crate::config::problem::Problem;
use crate::config::shape;
use crate::config::tree::Section;
use crate::proxy::Balance;
use crate::proxy::RouteSettings;
use crate::proxy::UpstreamSettings;
use std::collections::BTreeMap;

pub(super) fn upstreams(draft: &mut Draft<'_>) -> Vec<UpstreamSettings> {
    let mut first: BTreeMap<&str, &Section> = BTreeMap::new();
    let mut all = Vec::new();
    for (index, section) in draft.root.tables("upstream").enumerate() {
        let key = format!("upstream[{index}]");
        let name = section.text("name").unwrap_or_default();
        if let (Some(node), Some(earlier)) = (section.node("name"), first.get(name)) {
            let message = format!("a second upstream is called {name:?}");
            let problem = Problem::error(&node.origin, format!("{key}.name"), message).hint("give it another name");
            let earlier = earlier.node("name").map(|node| node.origin.clone()).unwrap_or_default();
            draft.findings.push(problem.also(&earlier, "the first is here"));
        }
        if !name.is_empty() {
            first.entry(name).or_insert(section);
        }
        if let Some(node) = section
            .node("servers")
            .filter(|node| !node.is_broken() && node.items().is_empty())
        {
            let hint = "as in servers = [\"http://127.0.0.1:3000\"]";
            draft.findings.at(
                Some(node),
                &format!("{key}.servers"),
                "an upstream needs a server",
                hint,
            );
        }
        all.push(upstream(section));
    }
    all
}

fn upstream(section: &Section) -> UpstreamSettings {
    let timeouts = section.table("timeouts").unwrap_or(&super::NOTHING);
    UpstreamSettings {
        name: section.text("name").unwrap_or_default().to_owned(),
        servers: section
            .texts("servers")
            .filter_map(|(text, _)| shape::server(text).ok())
            .collect(),
        balance: Balance::RoundRobin,
        connect: timeouts.span("connect"),
        response: timeouts.span("response"),
        idle: timeouts.span("idle"),
        keep_alive: timeouts.span("keep_alive"),
        most_in_flight: section.number("in_flight").unwrap_or(10_000),
    }
}

pub(super) fn warn_of_unused(draft: &mut Draft<'_>, upstreams: &[UpstreamSettings], routes: &[RouteSettings]) {
    for (index, section) in draft.root.tables("upstream").enumerate() {
        let Some(name) = upstreams
            .get(index)
            .map(|upstream| &upstream.name)
            .filter(|name| !name.is_empty())
        else {
            continue;
        };
        let used = |route: &RouteSettings| route.upstream.is_some_and(|used| upstreams[used].name == *name);
        if routes.iter().any(used) {
            continue;
        }
        let place = section
            .node("name")
            .map_or(Place::Nowhere, |node| Place::from(&node.origin));
        let message = format!("no route leads to the upstream {name:?}");
        let problem = Problem::warning(place, format!("upstream[{index}].name"), message);
        draft
            .findings
            .push(problem.hint(format!("write `upstream = {name:?}` in a [[route]]")));
    }
}
