//! What a `[[source]]` of the file says: whose sessions an application keeps, where, and how they are read.

mod check;

use super::Draft;
use super::opening;
use crate::config::problem::Problem;
use crate::config::shape;
use crate::config::suggest;
use crate::config::tree::Node;
use crate::config::tree::Section;
use crate::config::tree::Value;
use crate::model::Username;
use crate::session::Accepted;
use crate::session::Condition;
use crate::session::Mapping;
use crate::session::PayloadFormat;
use crate::session::Place;
use crate::session::Preset;
use crate::session::Secrets;
use crate::session::SourceSettings;
use crate::session::Step;
use crate::session::UsersMapping;
use crate::store::Adding;
use crate::store::Expiry;
use crate::store::LegacySettings;
use crate::store::Lifetime;
use crate::store::UserTable;
use crate::store::Zone;
use secrecy::SecretSlice;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a route of the file calls our own sessions.
const NATIVE: &str = "native";

/// The sources of the file.
pub(super) fn sources(draft: &mut Draft<'_>) -> Vec<SourceSettings> {
    let mut sources: Vec<SourceSettings> = Vec::new();
    for (index, section) in draft.root.tables("source").enumerate() {
        let key = format!("source[{index}]");
        let Some(preset) = preset_of(section) else { continue };
        let source = source(section, preset);
        check::check(draft, section, preset, &source, &key);
        opening::check(draft, section, preset, &source, &key);
        check::check_against(draft, section, &source, &sources, &key);
        sources.push(source);
    }
    sources
}

fn preset_of(section: &Section) -> Option<Preset> {
    let word = section.text("preset")?;
    Preset::ALL.into_iter().find(|preset| preset.word() == word)
}

fn source(section: &Section, preset: Preset) -> SourceSettings {
    let mapping = mapping(section, preset.mapping());
    let secrets = section
        .texts("secrets")
        .map(|(text, _)| SecretSlice::from(text.as_bytes().to_vec()));
    SourceSettings {
        name: section.text("name").unwrap_or_default().to_owned(),
        hosts: section
            .texts("hosts")
            .filter_map(|(text, _)| match shape::host(text).ok()? {
                crate::proxy::HostPattern::Exact(host) => Some(host),
                _ => None,
            })
            .collect(),
        table: table(section, &mapping),
        mapping,
        secrets: Arc::new(Secrets::new(secrets.collect())),
        user_map: pairs(section, "user_map"),
        group_map: pairs(section, "group_map"),
        logout_paths: section.texts("logout_paths").map(|(text, _)| text.to_owned()).collect(),
        max_age: section.span("max_age"),
        open: opening::open(section),
        moved: section.flag("moved"),
    }
}

fn pairs(section: &Section, key: &str) -> BTreeMap<String, String> {
    let Some(table) = section.table(key) else {
        return BTreeMap::new();
    };
    let texts = table
        .entries
        .iter()
        .filter_map(|(name, node)| Some((name.clone(), node.text()?.to_owned())));
    texts.collect()
}

/// The preset's, with what the file says in its place.
fn mapping(section: &Section, preset: Mapping) -> Mapping {
    let places = |key: &str, otherwise: Vec<Place>| match section.text(key).map(Place::parse) {
        Some(Ok(place)) => vec![place],
        _ => otherwise,
    };
    let column = |key: &str, otherwise: String| section.text(key).map_or(otherwise, str::to_owned);
    let format = match section.text("payload_format") {
        Some("msgpack") => Some(PayloadFormat::MessagePack),
        Some("django-signed") => Some(PayloadFormat::DjangoSigned),
        Some("rails-json") => Some(PayloadFormat::RailsJson),
        Some(_) => Some(PayloadFormat::Json),
        None => None,
    };
    let payload = match (section.text("payload"), preset.payload) {
        (Some(column), known) => {
            let known = known.map(|(_, format)| format);
            Some((column.to_owned(), format.or(known).unwrap_or(PayloadFormat::Json)))
        }
        (None, known) => known.map(|(column, known)| (column, format.unwrap_or(known))),
    };
    Mapping {
        cookies: section
            .text("cookie")
            .map_or(preset.cookies, |cookie| vec![cookie.to_owned()]),
        steps: steps(section, preset.steps),
        table: column("table", preset.table),
        key: column("key", preset.key),
        payload,
        expiry: expiry(section, preset.expiry),
        zone: match section.text("zone") {
            Some("utc") => Zone::Utc,
            Some("session") => Zone::Session { role: None },
            Some(zone) => Zone::Named(zone.to_owned()),
            None => preset.zone,
        },
        user: places("user", preset.user),
        email: places("email", preset.email),
        name: places("display_name", preset.name),
        groups: places("groups", preset.groups),
        users: users(section, preset.users),
        require: conditions(section, "require"),
        refuse: conditions(section, "refuse"),
        ..preset
    }
}

/// With `verify`, the last step splits the cookie: the preset's own, or one behind its others.
fn steps(section: &Section, mut preset: Vec<Step>) -> Vec<Step> {
    if let Some(column) = section.text("verify") {
        preset.retain(|step| !matches!(step, Step::SplitVerify { .. }));
        preset.push(Step::verify(column));
    }
    preset
}

fn expiry(section: &Section, preset: Expiry) -> Expiry {
    let named = section.text("expiry").map(str::to_owned);
    let given = section.is_given("lifetime").then(|| section.span("lifetime"));
    match preset {
        Expiry::At { column, unit } => match given {
            None => Expiry::At {
                column: named.unwrap_or(column),
                unit,
            },
            Some(lifetime) => Expiry::After {
                column: named.unwrap_or(column),
                unit,
                lifetime: Lifetime::Fixed(lifetime),
            },
        },
        Expiry::After { column, unit, lifetime } => Expiry::After {
            column: named.unwrap_or(column),
            unit,
            lifetime: given.map_or(lifetime, Lifetime::Fixed),
        },
    }
}

fn users(section: &Section, preset: Option<UsersMapping>) -> Option<UsersMapping> {
    let given = section.text("users_key").filter(|_| section.is_given("users_key"));
    let key = |known: String| given.map_or(known, str::to_owned);
    let active = section.text("users_active").map(str::to_owned);
    match (section.text("users_table"), preset) {
        (None, None) => None,
        (table, Some(known)) => Some(UsersMapping {
            table: table.map_or(known.table, str::to_owned),
            key: key(known.key),
            active: active.or(known.active),
            password: known.password,
        }),
        (Some(table), None) => Some(UsersMapping {
            table: table.to_owned(),
            key: key("id".to_owned()),
            active,
            password: None,
        }),
    }
}

fn conditions(section: &Section, key: &str) -> Vec<Condition> {
    let Some(table) = section.table(key) else {
        return Vec::new();
    };
    let condition = |(place, node): (&String, &Node)| {
        let value = match &node.value {
            Value::Text(text) => serde_json::Value::from(text.as_str()),
            Value::Number(number) => serde_json::Value::from(*number),
            Value::Flag(flag) => serde_json::Value::from(*flag),
            _ => return None,
        };
        Some(Condition {
            place: Place::parse(place).ok()?,
            value,
        })
    };
    table.entries.iter().filter_map(condition).collect()
}

/// What of the tables is read.
fn table(section: &Section, mapping: &Mapping) -> LegacySettings {
    let (mut columns, mut of_user) = (Vec::new(), Vec::new());
    let conditions = mapping
        .require
        .iter()
        .chain(&mapping.refuse)
        .map(|condition| &condition.place);
    let facts = [&mapping.user, &mapping.email, &mapping.name, &mapping.groups];
    for place in facts.into_iter().flatten().chain(conditions) {
        match place {
            Place::Column(name) if !columns.contains(name) => columns.push(name.clone()),
            Place::User(name) if !of_user.contains(name) => of_user.push(name.clone()),
            _ => {}
        }
    }
    LegacySettings {
        url: SecretString::from(section.text("store_url").unwrap_or_default()),
        table: mapping.table.clone(),
        key: mapping.key.clone(),
        payload: mapping.payload.as_ref().map(|(column, _)| column.clone()),
        may_touch: section.flag("touch"),
        payload_paths: payload_paths(mapping),
        verify: mapping.verified().map(str::to_owned),
        columns,
        expiry: mapping.expiry.clone(),
        zone: mapping.zone.clone(),
        users: mapping.users.as_ref().map(|users| {
            of_user.extend(users.active.clone());
            of_user.extend(users.password.clone());
            UserTable {
                table: users.table.clone(),
                key: users.key.clone(),
                columns: of_user,
            }
        }),
        may_end: section.flag("end"),
        adding: Adding {
            rows: section.flag("open"),
            table: section.flag("create_table"),
        },
        max_connections: section.number("max_connections").unwrap_or(4),
        call_timeout: section.span("call_timeout"),
        prepared_statements: section.flag("prepared_statements"),
    }
}

/// Only JSON is something that a database can look into.
fn payload_paths(mapping: &Mapping) -> Option<Vec<Vec<String>>> {
    let (_, PayloadFormat::Json) = mapping.payload.as_ref()? else {
        return None;
    };
    let conditions = mapping
        .require
        .iter()
        .chain(&mapping.refuse)
        .map(|condition| &condition.place);
    let facts = [&mapping.user, &mapping.email, &mapping.name, &mapping.groups];
    let mut paths: Vec<Vec<String>> = Vec::new();
    for place in facts.into_iter().flatten().chain(conditions) {
        if let Place::Payload(pointer) = place {
            let step = |step: &str| step.replace("~1", "/").replace("~0", "~");
            let path: Vec<String> = pointer.split('/').skip(1).map(step).collect();
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    Some(paths)
}

/// The names that users of applications have here, as users of ours are called.
pub(super) fn promised_names(sources: &[SourceSettings]) -> Vec<String> {
    let names = sources.iter().flat_map(|source| source.user_map.values());
    let canonical = names.filter_map(|name| Username::parse(name).ok());
    canonical.map(|name| name.to_string()).collect()
}

/// Whose sessions a route accepts.
pub(super) fn accepted(draft: &mut Draft<'_>, section: &Section, sources: &[SourceSettings], key: &str) -> Accepted {
    let mut accepted = Accepted {
        native: false,
        ..Accepted::default()
    };
    for (text, node) in section.texts("sessions") {
        if text == NATIVE {
            accepted.native = true;
        } else if sources.iter().any(|source| source.name == text) {
            accepted.sources.push(text.to_owned());
        } else {
            let names = sources.iter().map(|source| source.name.as_str()).chain([NATIVE]);
            let hint = match suggest::nearest(text, names) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("add a [[source]] with name = {text:?}"),
            };
            let full = format!("{key}.sessions");
            let problem = Problem::error(&node.origin, full, format!("there is no source {text:?}"));
            draft.findings.push(problem.hint(hint));
        }
    }
    let first = draft.root.tables("source").any(|source| {
        source.text("on_conflict") == Some("first")
            && source
                .text("name")
                .is_some_and(|name| accepted.sources.iter().any(|known| known == name))
    });
    accepted.first_wins = first;
    accepted
}
