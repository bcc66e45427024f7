use super::Draft;
use crate::config::keys;
use crate::config::problem::Place;
use crate::config::problem::Problem;
use crate::config::tree::Section;
use crate::proxy::Encoding;
use crate::proxy::IDENTITY_HEADERS;
use crate::proxy::IdentitySettings;
use crate::proxy::Preset;
use crate::proxy::RouteSettings;
use crate::web::canonical_name;
use http::HeaderName;
use std::collections::BTreeSet;

/// No identity at all.
pub(super) fn nothing() -> IdentitySettings {
    IdentitySettings {
        preset: Preset::Free,
        headers: Vec::new(),
        delimiter: None,
        encoding: Encoding::Percent,
    }
}

pub(super) fn identity(draft: &mut Draft<'_>, route: &Section, key: &str) -> IdentitySettings {
    let Some(section) = route.table("identity") else {
        return IdentitySettings {
            preset: preset(route.text("identity")),
            ..nothing()
        };
    };
    let key = format!("{key}.identity");
    let settings = IdentitySettings {
        preset: preset(section.text("preset")),
        headers: headers(draft, section, &key),
        delimiter: section.text("delimiter").and_then(|text| text.chars().next()),
        encoding: match section.text("encoding") {
            Some("utf-8") => Encoding::Utf8,
            _ => Encoding::Percent,
        },
    };
    let is_manner = |name: &str| matches!(name, "delimiter" | "encoding");
    let given = section
        .entries
        .keys()
        .any(|name| !is_manner(name) && section.is_given(name));
    if !given {
        let hint = "add `preset = \"oauth2-proxy\"` or `headers = { \"X-User\" = \"{username}\" }`";
        draft
            .findings
            .in_section(section, &key, "this identity tells the application nothing", hint);
    }
    settings
}

fn preset(word: Option<&str>) -> Preset {
    match word {
        Some("oauth2-proxy") => Preset::OAuth2Proxy,
        Some("remote-user") => Preset::RemoteUser,
        Some("radicale") => Preset::Radicale,
        _ => Preset::Free,
    }
}

fn family(preset: Preset) -> &'static [&'static str] {
    match preset {
        Preset::OAuth2Proxy => &[
            "x-forwarded-user",
            "x-forwarded-email",
            "x-forwarded-groups",
            "x-forwarded-preferred-username",
        ],
        Preset::RemoteUser => &["remote-user", "remote-groups", "remote-name", "remote-email"],
        Preset::Radicale => &["x-remote-user"],
        Preset::Free => &[],
    }
}

fn headers(draft: &mut Draft<'_>, section: &Section, key: &str) -> Vec<(HeaderName, String)> {
    let Some(table) = section.table("headers") else {
        return Vec::new();
    };
    let preset = family(preset(section.text("preset")));
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for (name, node) in &table.entries {
        let (Ok(header), Some(template)) = (name.parse::<HeaderName>(), node.text()) else {
            continue;
        };
        let canonical = canonical_name(name);
        let place = node.key_span.clone().map_or(Place::from(&node.origin), Place::File);
        let key = keys::join(&format!("{key}.headers"), name);
        // The preset's own spelling replaces its template; another one would stand beside it.
        if preset.contains(&canonical.as_str()) && canonical != name.to_ascii_lowercase() {
            let message = format!("{name:?} is another spelling of a header of the preset");
            draft
                .findings
                .push(Problem::error(place, key, message).hint("write it as the preset does"));
        } else if !seen.insert(canonical) {
            let message = format!("{name:?} is there in another spelling");
            draft
                .findings
                .push(Problem::error(place, key, message).hint("applications take both for one; leave one out"));
        }
        all.push((header, template.to_owned()));
    }
    all
}

/// A fixed header under a name that tells who the user is would be a user for everybody.
pub(super) fn check_fixed_headers(draft: &mut Draft<'_>, routes: &[RouteSettings]) {
    let own = routes
        .iter()
        .flat_map(|route| &route.identity.headers)
        .map(|(name, _)| canonical_name(name.as_str()));
    let managed: BTreeSet<String> = own
        .chain(IDENTITY_HEADERS.iter().map(|name| (*name).to_owned()))
        .collect();
    for (index, section) in draft.root.tables("route").enumerate() {
        let Some(table) = section.table("set_headers") else {
            continue;
        };
        let mut seen = BTreeSet::new();
        for (name, node) in &table.entries {
            let canonical = canonical_name(name);
            let place = node.key_span.clone().map_or(Place::from(&node.origin), Place::File);
            let key = format!("route[{index}].set_headers.{name}");
            if managed.contains(&canonical) {
                let message = format!("{name:?} tells who the user is and can't be a fixed header");
                draft
                    .findings
                    .push(Problem::error(place, key, message).hint("use `identity` for it"));
            } else if !seen.insert(canonical) {
                let message = format!("{name:?} is there in another spelling");
                let hint = "applications take both for one; leave one out";
                draft.findings.push(Problem::error(place, key, message).hint(hint));
            }
        }
    }
}
