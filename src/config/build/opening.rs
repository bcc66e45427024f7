//! Log-ins that are log-ins in an application, too.

use super::Draft;
use super::moved;
use crate::config::tree::Node;
use crate::config::tree::Section;
use crate::config::tree::Value;
use crate::session::OpenCookie;
use crate::session::Place;
use crate::session::Preset;
use crate::session::SameSite;
use crate::session::SourceSettings;
use crate::store::Expiry;

/// The cookie of opened sessions; `None` where the source opens none.
pub(super) fn open(section: &Section) -> Option<OpenCookie> {
    if !section.flag("open") {
        return None;
    }
    let cookie = section.table("open_cookie").unwrap_or(&super::NOTHING);
    Some(OpenCookie {
        path: cookie.text("path").unwrap_or("/").to_owned(),
        domain: cookie.text("domain").map(str::to_owned),
        http_only: cookie.flag("http_only"),
        secure: match cookie.node("secure").map(|node| &node.value) {
            Some(Value::Flag(secure)) => Some(*secure),
            _ => None,
        },
        same_site: match cookie.text("same_site") {
            Some("strict") => Some(SameSite::Strict),
            Some("none") => Some(SameSite::None),
            Some("unset") => None,
            _ => Some(SameSite::Lax),
        },
        max_age: (cookie.text("max_age") != Some("browser")).then(|| cookie.span("max_age")),
    })
}

/// What cannot be opened, made or kept by a browser.
pub(super) fn check(draft: &mut Draft<'_>, section: &Section, preset: Preset, source: &SourceSettings, key: &str) {
    moved::check(draft, section, source, key);
    check_kind(draft, section, preset, source, key);
    if source.table.adding.table {
        check_table(draft, section, source, key);
    }
    let Some(open) = &source.open else {
        if section.is_given("open_cookie") {
            let hint = "write `open = true`, or leave it out";
            let node = section.node("open_cookie");
            let message = "`open_cookie` says nothing where no session is opened";
            draft.findings.at(node, &format!("{key}.open_cookie"), message, hint);
        }
        return;
    };
    check_user(draft, section, source, key);
    check_cookie(draft, section, source, open, key);
}

/// A browser must keep it.
fn check_cookie(draft: &mut Draft<'_>, section: &Section, source: &SourceSettings, open: &OpenCookie, key: &str) {
    let cookie = section.table("open_cookie").unwrap_or(&super::NOTHING);
    let mut refuse = |name: &str, node: Option<&Node>, message: String, hint: &str| {
        draft.findings.at(
            node.or(section.node("open")),
            &format!("{key}.open_cookie.{name}"),
            message,
            hint,
        );
    };
    let secure = cookie.node("secure");
    if open.same_site == Some(SameSite::None) && open.secure == Some(false) {
        let hint = "write `secure = true`, or `same_site = \"lax\"`";
        refuse(
            "secure",
            secure,
            "browsers refuse a cookie with SameSite=None that is not Secure".to_owned(),
            hint,
        );
    }
    let name = source.mapping.cookies.first().map(String::as_str).unwrap_or_default();
    if (name.starts_with("__Host-") || name.starts_with("__Secure-")) && open.secure == Some(false) {
        let hint = "write `secure = true`, as the application does";
        refuse(
            "secure",
            secure,
            format!("browsers refuse a cookie called {name:?} that is not Secure"),
            hint,
        );
    }
    if name.starts_with("__Host-") && (open.domain.is_some() || open.path != "/") {
        let hint = "leave `domain` and `path` out, as the application does";
        let node = cookie.node("domain");
        refuse(
            "domain",
            node,
            format!("browsers refuse a cookie called {name:?} with a domain or a path"),
            hint,
        );
    }
    if let Some(domain) = &open.domain {
        let covers = |host: &String| {
            host == domain
                || host
                    .strip_suffix(domain.as_str())
                    .is_some_and(|left| left.ends_with('.'))
        };
        if let Some(host) = source.hosts.iter().find(|host| !covers(host)) {
            let hint = "name a domain above every host of the source, or leave it out for a cookie of the host alone";
            refuse(
                "domain",
                cookie.node("domain"),
                format!("browsers on {host} refuse a cookie for {domain:?}"),
                hint,
            );
        }
    }
}

fn check_kind(draft: &mut Draft<'_>, section: &Section, preset: Preset, source: &SourceSettings, key: &str) {
    if preset == Preset::Express {
        return;
    }
    for (name, wanted) in [
        ("open", source.open.is_some()),
        ("create_table", source.table.adding.table),
    ] {
        if wanted {
            let message = format!("`{name} = true` needs preset = \"express\": only its rows can be made here");
            let hint = "leave it out: the application signs its users in by itself";
            draft
                .findings
                .at(section.node(name), &format!("{key}.{name}"), message, hint);
        }
    }
}

/// The library's own table has exactly these columns.
fn check_table(draft: &mut Draft<'_>, section: &Section, source: &SourceSettings, key: &str) {
    let mapping = &source.mapping;
    let payload = mapping.payload.as_ref().map(|(column, _)| column.as_str());
    let expiry = match &mapping.expiry {
        Expiry::At { column, .. } => Some(column.as_str()),
        Expiry::After { .. } => None,
    };
    if (mapping.key.as_str(), payload, expiry) != ("sid", Some("sess"), Some("expire")) {
        let message =
            "the table that connect-pg-simple makes has the columns sid, sess and expire, and this source reads others";
        let hint = "leave `create_table` out, or `key`, `payload`, `expiry` and `lifetime`";
        draft.findings.at(
            section.node("create_table"),
            &format!("{key}.create_table"),
            message,
            hint,
        );
    }
}

/// An opened row says who the user is, in its payload, and nothing else.
fn check_user(draft: &mut Draft<'_>, section: &Section, source: &SourceSettings, key: &str) {
    let refuse = |draft: &mut Draft<'_>, name: &str, message: &str, hint: &str| {
        draft
            .findings
            .at(section.node(name), &format!("{key}.{name}"), message, hint);
    };
    match source.mapping.user.as_slice() {
        // Told already: nothing names the user.
        [] => {}
        [Place::Payload(pointer)] => {
            let mut steps = pointer.split('/').skip(1);
            let first = steps.next();
            let is_list = |step: &str| !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
            if first == Some("cookie") {
                let hint = "name another place: `cookie` is express-session's own";
                refuse(draft, "user", "no user can be written below /cookie", hint);
            } else if pointer.split('/').any(is_list) {
                let hint = "leave `open` out: only members of objects can be written";
                refuse(draft, "user", "no user can be written into a list", hint);
            }
        }
        _ => {
            let hint = "write where the payload names the user, as in user = \"/passport/user\"";
            refuse(
                draft,
                "user",
                "an opened session says who its user is in the payload only",
                hint,
            );
        }
    }
    let json = matches!(source.mapping.payload, Some((_, crate::session::PayloadFormat::Json)));
    if !json {
        let hint = "leave `payload_format` out";
        refuse(draft, "payload_format", "express-session reads JSON only", hint);
    }
    if matches!(source.mapping.expiry, Expiry::After { .. }) {
        let hint = "leave `lifetime` out: the row says its end";
        refuse(draft, "lifetime", "an opened session says its end", hint);
    }
}
