use super::Draft;
use crate::account::REGISTERED;
use crate::account::Rates;
use crate::admin;
use crate::audit;
use crate::config::problem::Problem;
use crate::config::shape;
use crate::config::tree::Section;
use crate::session;
use crate::session::CookieSettings;
use crate::session::SameSite;
use crate::session::Secure;
use crate::session::SourceSettings;
use crate::session::WhenFull;
use crate::store;
use crate::store::Place;
use secrecy::SecretSlice;
use secrecy::SecretString;
use std::num::NonZeroU32;
use std::path::Path;

const MAKE_SECRET: &str = "make one with `openssl rand -base64 48 > session.secret` or \
                           `head -c 48 /dev/urandom | base64 > session.secret`, and write \
                           `secrets = [\"file:session.secret\"]` under [session] on every instance";

pub(super) fn store(draft: &mut Draft<'_>, data_dir: &Path) -> store::Settings {
    let section = draft.table("store");
    store::Settings {
        place: place(draft, section, data_dir),
        max_connections: section.number("max_connections").unwrap_or(8),
        call_timeout: section.span("call_timeout"),
        migrate: section.flag("migrate"),
        required_at_start: section.flag("required_at_start"),
        prepared_statements: section.flag("prepared_statements"),
    }
}

fn place(draft: &mut Draft<'_>, section: &Section, data_dir: &Path) -> Place {
    let embedded = Place::Sqlite {
        path: data_dir.join("portcullis.db"),
    };
    let url = section.node("url");
    let place = match url.and_then(|node| Some((node, node.text()?))) {
        None => embedded,
        Some((node, text)) => match shape::store_place(text) {
            Ok(shape::StorePlace::Postgres) => {
                return Place::Postgres {
                    url: SecretString::from(text),
                    direct_url: section.text("listen_url").map(SecretString::from),
                    schema: section.text("schema").unwrap_or("portcullis").to_owned(),
                };
            }
            Ok(shape::StorePlace::Sqlite(path)) => Place::Sqlite {
                path: draft.place_of(node, Path::new(&path)),
            },
            Err(_) => embedded,
        },
    };
    if let Some(node) = section.node("listen_url").filter(|node| !node.is_broken()) {
        let hint = "leave it out, or name a Postgres server in `url`";
        draft.findings.at(
            Some(node),
            "store.listen_url",
            "`listen_url` is for Postgres, and the store is SQLite",
            hint,
        );
    }
    place
}

pub(super) fn session(
    draft: &mut Draft<'_>,
    store: &store::Settings,
    sources: Vec<SourceSettings>,
) -> session::Settings {
    let section = draft.table("session");
    let cache = draft.table("cache");
    check_secrets(draft, section, store);
    check_lifetimes(draft, section, cache);
    session::Settings {
        secrets: section
            .texts("secrets")
            .map(|(text, _)| SecretSlice::from(text.as_bytes().to_vec()))
            .collect(),
        cookie: cookie(draft, section),
        idle_timeout: section.span("idle_timeout"),
        lifetime: section.span("lifetime"),
        remember_lifetime: (section.text("remember_lifetime") != Some("off"))
            .then(|| section.span("remember_lifetime")),
        max_per_user: section.number::<u32>("max_per_user").and_then(NonZeroU32::new),
        when_full: match section.text("when_full") {
            Some("refuse") => WhenFull::Refuse,
            _ => WhenFull::EndOldest,
        },
        rolling: section.flag("rolling"),
        touch_interval: section.span("touch_interval"),
        sweep: session::SweepSettings {
            interval: section.span("sweep_interval"),
            at: section.text("sweep_at").and_then(|text| shape::time_of_day(text).ok()),
        },
        cache: session::CacheSettings {
            capacity: cache.number("capacity").unwrap_or(1_000_000),
            max_age: cache.span("max_age"),
            max_age_without_feed: cache.span("max_age_without_feed"),
        },
        sources,
    }
}

/// How often something may be tried.
pub(super) fn rates(draft: &Draft<'_>) -> Rates {
    let section = draft.table("throttle");
    let rate = |key| section.text(key).and_then(|text| shape::rate(text).ok());
    Rates {
        account: rate("account"),
        address: rate("address"),
        browser: rate("browser"),
        registration: rate("registration"),
        token: rate("token"),
    }
}

pub(super) fn admin(draft: &mut Draft<'_>) -> admin::Settings {
    let section = draft.table("admin");
    let portal = draft.table("portal");
    let header_token = portal.text("admin_token");
    if header_token.is_some() && header_token == section.text("token") {
        let hint = "make another one with `portcullis admin token`: front ends know this one";
        draft.findings.at(
            portal.node("admin_token"),
            "portal.admin_token",
            "`admin_token` is the same as `token` under [admin]",
            hint,
        );
    }
    if section.text("group") == Some(REGISTERED) {
        let hint = "name a group that you put people into, such as \"admins\"";
        let message =
            "visitors who make their own account are in this group, and each of them would be an administrator";
        draft.findings.at(section.node("group"), "admin.group", message, hint);
    }
    admin::Settings {
        header_token: header_token.map(SecretString::from),
        token: section.text("token").map(SecretString::from),
        group: section.text("group").map(str::to_owned),
    }
}

pub(super) fn audit(draft: &Draft<'_>) -> audit::Settings {
    let section = draft.table("audit");
    let for_ever = section.text("retention") == Some("unlimited");
    audit::Settings {
        retention: (!for_ever).then(|| section.span("retention")),
    }
}

fn check_secrets(draft: &mut Draft<'_>, section: &Section, store: &store::Settings) {
    let secrets = section.node("secrets");
    if let Some(node) = secrets.filter(|node| !node.is_broken() && node.items().is_empty()) {
        draft
            .findings
            .at(Some(node), "session.secrets", "`secrets` is empty", MAKE_SECRET);
    } else if secrets.is_none() && matches!(store.place, Place::Postgres { .. }) {
        let message = "no session secret: instances on one Postgres must be given the same";
        let url = draft.table("store").node("url");
        draft.findings.at(url, "session.secrets", message, MAKE_SECRET);
    }
}

fn check_lifetimes(draft: &mut Draft<'_>, section: &Section, cache: &Section) {
    let in_order = |section: &Section, shorter: &str, longer: &str| {
        let is_span = |key: &str| section.text(key).is_some_and(|text| text != "off");
        let both = is_span(shorter) && is_span(longer);
        !both || section.span(shorter) <= section.span(longer)
    };
    for (table, section, shorter, longer) in [
        ("session", section, "idle_timeout", "lifetime"),
        ("session", section, "lifetime", "remember_lifetime"),
        ("cache", cache, "max_age_without_feed", "max_age"),
    ] {
        if !in_order(section, shorter, longer) {
            let blamed = if section.is_given(shorter) { shorter } else { longer };
            let (low, high) = (
                section.text(shorter).unwrap_or_default(),
                section.text(longer).unwrap_or_default(),
            );
            let message = format!("`{shorter}` ({low}) is longer than `{longer}` ({high})");
            let node = section.node(blamed);
            draft.findings.at(
                node,
                &format!("{table}.{blamed}"),
                message,
                "make it the shorter one, or change both",
            );
        }
    }
}

fn cookie(draft: &mut Draft<'_>, section: &Section) -> CookieSettings {
    let secure = match section.text("secure") {
        Some("auto") => Secure::Auto,
        _ => Secure::Always,
    };
    let settings = CookieSettings {
        name: section.text("cookie").unwrap_or("portcullis").to_owned(),
        domains: section.texts("domains").map(|(text, _)| text.to_owned()).collect(),
        same_site: match section.text("same_site") {
            Some("strict") => SameSite::Strict,
            Some("none") => SameSite::None,
            _ => SameSite::Lax,
        },
        token_prefix: section.text("token_prefix").unwrap_or_default().to_owned(),
        secure,
    };
    check_cookie(draft, section, &settings);
    settings
}

/// What browsers would refuse (RFC 6265bis, 4.1.3 and 5.6.7): a log-in that looks done and isn't.
fn check_cookie(draft: &mut Draft<'_>, section: &Section, cookie: &CookieSettings) {
    let given = |key: &str| if section.is_given(key) { section.node(key) } else { None };
    let secure = section.node("secure");
    let refuses_secure = matches!(
        secure.map(|node| &node.value),
        Some(crate::config::tree::Value::Flag(false))
    );
    if refuses_secure {
        let hint = "write \"auto\" to serve http and https side by side, with a cookie name without __";
        draft.findings.at(
            secure,
            "session.secure",
            "`secure = false` would send the session cookie in the clear where https is there",
            hint,
        );
        return;
    }
    let named = given("cookie").map_or_else(|| String::from("its default name"), |_| format!("{:?}", cookie.name));
    let host_only = cookie.name.starts_with("__Host-");
    if host_only && !cookie.domains.is_empty() {
        let message = format!("a __Host- cookie ({named}) has no domain: browsers refuse it");
        let hint = "leave `domains` out, or write `cookie = \"__Secure-portcullis\"`";
        draft
            .findings
            .at(section.node("domains"), "session.domains", message, hint);
    }
    if cookie.secure == Secure::Auto {
        if host_only || cookie.name.starts_with("__Secure-") {
            let message = format!("a __ cookie ({named}) is always Secure: browsers refuse it on http");
            draft.findings.at(
                secure,
                "session.secure",
                message,
                "write `cookie = \"portcullis\"` as well",
            );
        }
        if cookie.same_site == SameSite::None {
            let message = "same_site = \"none\" needs Secure: browsers refuse such a cookie on http";
            let hint = "write `secure = true`, or `same_site = \"lax\"`";
            draft
                .findings
                .at(section.node("same_site"), "session.same_site", message, hint);
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for (domain, node) in section.texts("domains") {
        if !seen.insert(domain) {
            let message = format!("{domain:?} stands in `domains` twice");
            draft
                .findings
                .push(Problem::error(&node.origin, "session.domains", message).hint("leave one out"));
        }
    }
}
