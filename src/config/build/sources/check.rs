//! What no source may be, besides what the table of keys says.

use crate::config::build::Draft;
use crate::config::tree::Node;
use crate::config::tree::Section;
use crate::session::Preset;
use crate::session::SourceSettings;
use crate::store::Expiry;
use crate::store::Unit;

pub(super) fn check(draft: &mut Draft<'_>, section: &Section, preset: Preset, source: &SourceSettings, key: &str) {
    let given = |name: &str| section.node(name).filter(|node| !node.is_broken());
    if source.mapping.user.is_empty() && !section.node("user").is_some_and(Node::is_broken) {
        let hint = match preset {
            Preset::Express => {
                "user = \"/passport/user\" for Passport; \"/userId\" where your code sets session.userId"
            }
            Preset::FlaskSession => "user = \"/_user_id\" for Flask-Login",
            Preset::Rails => "user = \"/value/warden.user.user.key/0/0\" for Devise",
            _ => "write where the payload holds the user's key, as in user = \"/user/id\"",
        };
        let message = format!("nothing says where {:?} keeps its user", preset.word());
        draft
            .findings
            .at(given("preset"), &format!("{key}.user"), message, hint);
    }
    if preset.needs_secrets() && section.texts("secrets").next().is_none() && given("secrets").is_none() {
        let message = format!("{:?} signs what it keeps, and there are no `secrets`", preset.word());
        let hint = "give what the application has, as in secrets = [\"env:SESSION_SECRET\"]";
        draft
            .findings
            .at(given("preset"), &format!("{key}.secrets"), message, hint);
    }
    let asks_users = source.mapping.users.is_some();
    let wants_users = ["user", "email", "display_name", "groups"]
        .into_iter()
        .find(|name| section.text(name).is_some_and(|text| text.starts_with("user.")));
    if let Some(name) = wants_users.filter(|_| !asks_users) {
        let hint = "write users_table = \"users\"";
        let message = format!("`{name}` stands in the users' table, and nothing names it");
        draft.findings.at(given(name), &format!("{key}.{name}"), message, hint);
    }
    let is_moment = matches!(
        source.mapping.expiry,
        Expiry::At {
            unit: Unit::Timestamp,
            ..
        }
    );
    if section.flag("touch") && (source.mapping.touch.is_none() || !is_moment) {
        let message = format!("moving the ends of rows of {:?} is not known to be safe", preset.word());
        let hint = "leave `touch` out: the application does it itself with each request that reaches it";
        draft
            .findings
            .at(given("touch"), &format!("{key}.touch"), message, hint);
    }
    for node in section.list("hosts") {
        let wild = node.text().is_some_and(|text| text.starts_with('*'));
        if wild {
            let hint = "name each host: an application's cookie counts where the application is";
            draft.findings.at(
                Some(node),
                &format!("{key}.hosts"),
                "a source has no hosts with a wildcard",
                hint,
            );
        }
    }
}

/// Names are unique, and so is a cookie's name on a host: it would be anybody's guess whose it is.
pub(super) fn check_against(
    draft: &mut Draft<'_>,
    section: &Section,
    source: &SourceSettings,
    others: &[SourceSettings],
    key: &str,
) {
    for other in others {
        if other.name == source.name {
            let hint = "give each its own";
            let message = format!("a second source is called {:?}", source.name);
            draft
                .findings
                .at(section.node("name"), &format!("{key}.name"), message, hint);
        }
        let shared_host = source.hosts.iter().find(|host| other.serves(host));
        let shared_cookie = source
            .mapping
            .cookies
            .iter()
            .find(|name| other.mapping.cookies.contains(name));
        if let (Some(host), Some(cookie)) = (shared_host, shared_cookie) {
            let message = format!(
                "{:?} and {:?} both read the cookie {cookie:?} on {host}",
                source.name, other.name
            );
            let hint = "one cookie name belongs to one source on a host";
            let node = section.node("cookie").or(section.node("hosts"));
            draft.findings.at(node, &format!("{key}.cookie"), message, hint);
        }
    }
    let native = draft.table("session").text("cookie").unwrap_or_default().to_owned();
    if source.mapping.cookies.contains(&native) {
        let message = format!(
            "{:?} reads the cookie {native:?}, which is the gateway's own",
            source.name
        );
        let hint = "give the gateway's cookie another name: [session] cookie = \"__Host-portcullis\"";
        draft
            .findings
            .at(section.node("cookie"), &format!("{key}.cookie"), message, hint);
    }
}
