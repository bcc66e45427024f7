//! The first step: every key is known and available, every value has its kind and shape, every `env:` and `file:` is
//! fetched, every default is filled in. Whatever fails is recorded and left [`Value::Broken`].

use super::environment;
use super::environment::Environment;
use super::keys;
use super::keys::Key;
use super::keys::Kind;
use super::keys::Presence;
use super::keys::Table;
use super::keys::Words;
use super::problem::Findings;
use super::problem::Place;
use super::problem::Problem;
use super::reference;
use super::shape;
use super::shape::Mistake;
use super::shape::Shape;
use super::suggest;
use super::tree;
use super::tree::Node;
use super::tree::Origin;
use super::tree::Section;
use super::tree::Value;
use super::wording::elsewhere;
use super::wording::last;
use super::wording::quoted;
use super::wording::sentence;
use std::ops::RangeInclusive;
use std::path::Path;

/// What reading needs besides the tree.
pub(super) struct Reader<'a> {
    /// `None`: nothing is fetched, from files neither, and what would be counts as good.
    pub environment: Option<&'a Environment>,
    /// Where relative paths start.
    pub folder: &'a Path,
    pub findings: &'a mut Findings,
}

impl Reader<'_> {
    /// Checks and completes a table.
    pub fn complete(&mut self, section: &mut Section, table: &'static Table, path: &str) {
        self.refuse_strangers(section, table, path);
        for key in table.keys {
            let full = keys::join(path, key.name);
            match section.entries.get_mut(key.name) {
                Some(node) => self.check(node, key, &full),
                None => self.fill_in(section, key, &full),
            }
        }
    }

    fn refuse_strangers(&mut self, section: &Section, table: &'static Table, path: &str) {
        for (name, node) in &section.entries {
            if table.find(name).is_some() {
                continue;
            }
            self.findings.hide(node);
            let place = node.key_span.clone().map_or(Place::from(&node.origin), Place::File);
            let known = table.keys.iter().map(|key| key.name);
            let hint = match suggest::nearest(name, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => elsewhere(name, path),
            };
            let message = format!("unknown key `{}`", name.escape_debug());
            self.findings
                .push(Problem::error(place, keys::join(path, name), message).hint(hint));
        }
    }

    fn fill_in(&mut self, section: &mut Section, key: &'static Key, full: &str) {
        if key.presence == Presence::Required {
            let hint = format!("add `{} = {}`", key.name, key.example.unwrap_or("…"));
            let message = format!("`{}` is missing", key.name);
            self.findings.in_section(section, full, message, &hint);
        }
        let node = match (&key.kind, key.default) {
            (Kind::Table(table), _) => {
                let mut below = Section::default();
                self.complete(&mut below, table, full);
                Node::new(Value::Table(below), Origin::Default)
            }
            (_, Some(default)) => tree::literal(default),
            _ => return,
        };
        section.entries.insert(key.name.to_owned(), node);
    }

    fn check(&mut self, node: &mut Node, key: &'static Key, full: &str) {
        if key.is_secret() {
            self.findings.hide_direct(node);
        }
        if key.presence == Presence::Later {
            let place = node.key_span.clone().map_or(Place::from(&node.origin), Place::File);
            let message = format!("`{}` is not available yet", key.name);
            self.findings
                .push(Problem::error(place, full, message).hint("leave it out; a later version will have it"));
            node.value = Value::Broken;
            return;
        }
        self.check_kind(node, &key.kind, full);
    }

    fn check_kind(&mut self, node: &mut Node, kind: &'static Kind, full: &str) {
        match kind {
            Kind::Table(table) => self.check_table(node, table, full),
            Kind::Tables(table) => self.check_items(node, "a list of tables", full, |reader, item, at| {
                reader.check_table(item, table, at);
            }),
            Kind::List(shape) => {
                self.split_reference(node, shape, full);
                self.check_items(node, &reference::noun(kind), full, |reader, item, at| {
                    reader.check_text(item, shape, at);
                });
            }
            Kind::Pairs(names, values) => self.check_pairs(node, names, values, full),
            Kind::Conditions(places) => self.check_conditions(node, places, full),
            Kind::One(shape) => self.check_text(node, shape, full),
            Kind::Either(words, inner) => {
                self.fetch(node, false, full);
                let Some(text) = node.text() else {
                    return match (inner, &node.value) {
                        (Kind::Table(_), Value::Table(_)) | (Kind::Tables(_), Value::List(_)) | (_, Value::Broken) => {
                            self.check_kind(node, inner, full);
                        }
                        (Kind::Table(_) | Kind::Tables(_), _) => self.refuse_kind(node, &reference::noun(kind), full),
                        _ => self.check_kind(node, inner, full),
                    };
                };
                let near = suggest::nearest(text, words.now.iter().copied()).is_some();
                match inner {
                    _ if near || words.later.contains(&text) => self.check_word(node, words, full),
                    Kind::Table(_) | Kind::Tables(_) => self.check_word(node, words, full),
                    Kind::Flag | Kind::Number { .. } if node.through.is_none() => {
                        self.refuse_kind(node, &reference::noun(kind), full);
                    }
                    _ => self.check_kind(node, inner, full),
                }
            }
            _ => self.check_scalar(node, kind, full),
        }
    }

    fn check_scalar(&mut self, node: &mut Node, kind: &'static Kind, full: &str) {
        self.fetch(node, false, full);
        if let (Some(_), Some(text)) = (&node.through, node.text()) {
            node.value = environment::value_of(kind, &node.origin, text);
        }
        match (kind, &node.value) {
            (_, Value::Broken) | (Kind::Flag, Value::Flag(_)) => {}
            (Kind::Words(words), Value::Text(_)) => self.check_word(node, words, full),
            (Kind::Number { least, most }, Value::Number(number)) => {
                let number = *number;
                self.check_range(node, &number, &(*least..=*most), i64::to_string, full);
            }
            (Kind::Span { least, most }, Value::Text(text)) => match shape::duration(text) {
                Ok(span) => self.check_range(
                    node,
                    &span,
                    &(*least..=*most),
                    |span| shape::write_duration(*span),
                    full,
                ),
                Err(mistake) => self.refuse_value(node, mistake, false, full),
            },
            (Kind::Size { least, most }, Value::Text(text)) => match shape::size(text) {
                Ok(bytes) => self.check_range(node, &bytes, &(*least..=*most), |bytes| shape::write_size(*bytes), full),
                Err(mistake) => self.refuse_value(node, mistake, false, full),
            },
            _ => self.refuse_kind(node, &reference::noun(kind), full),
        }
    }

    fn check_table(&mut self, node: &mut Node, table: &'static Table, full: &str) {
        match &mut node.value {
            Value::Table(section) => self.complete(section, table, full),
            Value::Broken => {}
            _ => self.refuse_kind(node, "a table", full),
        }
    }

    fn check_items(&mut self, node: &mut Node, noun: &str, full: &str, check: impl Fn(&mut Self, &mut Node, &str)) {
        match &mut node.value {
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    check(self, item, &format!("{full}[{index}]"));
                }
            }
            Value::Broken => {}
            _ => self.refuse_kind(node, noun, full),
        }
    }

    fn check_pairs(&mut self, node: &mut Node, names: &'static Shape, values: &'static Shape, full: &str) {
        let Value::Table(section) = &mut node.value else {
            self.refuse_kind(node, "a table of names and texts", full);
            return;
        };
        for (name, value) in &mut section.entries {
            let at = keys::join(full, name);
            if let Err(mistake) = (names.check)(name) {
                let place = value.key_span.clone().map_or(Place::from(&value.origin), Place::File);
                self.findings.push(sentence(place, &at, &format!("{name:?}"), mistake));
            }
            self.check_text(value, values, &at);
        }
    }

    fn check_conditions(&mut self, node: &mut Node, places: &'static Shape, full: &str) {
        const NOUN: &str = "a table of places with a text, a number, true or false";
        let Value::Table(section) = &mut node.value else {
            self.refuse_kind(node, NOUN, full);
            return;
        };
        for (name, value) in &mut section.entries {
            let at = keys::join(full, name);
            if let Err(mistake) = (places.check)(name) {
                let place = value.key_span.clone().map_or(Place::from(&value.origin), Place::File);
                self.findings.push(sentence(place, &at, &format!("{name:?}"), mistake));
            }
            if !matches!(
                value.value,
                Value::Text(_) | Value::Number(_) | Value::Flag(_) | Value::Broken
            ) {
                self.refuse_kind(value, "a text, a number, true or false", &at);
            }
        }
    }

    fn check_text(&mut self, node: &mut Node, shape: &'static Shape, full: &str) {
        self.fetch(node, shape.secret, full);
        match &node.value {
            Value::Text(text) => {
                // A URL with a user in it may hold a password, wherever it stands.
                let secret = shape.secret || (text.contains("://") && text.contains('@'));
                if let Err(mistake) = (shape.check)(text) {
                    if secret {
                        self.findings.hide_direct(node);
                    }
                    self.refuse_value(node, mistake, secret, full);
                }
            }
            Value::Broken => {}
            _ => self.refuse_kind(node, &format!("{}, such as {}", shape.noun, shape.example), full),
        }
    }

    fn check_word(&mut self, node: &mut Node, words: &Words, full: &str) {
        let Some(text) = node.text() else { return };
        if words.now.contains(&text) {
            return;
        }
        let mistake = if words.later.contains(&text) {
            Mistake::Later(format!("`{} = {text:?}`", last(full)))
        } else {
            let all = words
                .now
                .iter()
                .map(|word| format!("{word:?}"))
                .collect::<Vec<_>>()
                .join(", ");
            let hint = suggest::nearest(text, words.now.iter().copied())
                .map_or_else(|| format!("known: {all}"), |near| format!("did you mean {near:?}?"));
            Mistake::new("is not known here", hint)
        };
        self.refuse_value(node, mistake, false, full);
    }

    fn check_range<T: PartialOrd>(
        &mut self,
        node: &mut Node,
        given: &T,
        range: &RangeInclusive<T>,
        write: impl Fn(&T) -> String,
        full: &str,
    ) {
        if given < range.start() {
            self.refuse_value(
                node,
                Mistake::new("is too little", format!("at least {}", write(range.start()))),
                false,
                full,
            );
        } else if given > range.end() {
            self.refuse_value(
                node,
                Mistake::new("is too much", format!("at most {}", write(range.end()))),
                false,
                full,
            );
        }
    }

    fn refuse_kind(&mut self, node: &mut Node, noun: &str, full: &str) {
        if !node.is_broken() {
            let element = if full.ends_with(']') { "an element of " } else { "" };
            let message = format!("{element}`{}` must be {noun}, not {}", last(full), node.noun());
            self.findings.push(Problem::error(&node.origin, full, message));
            node.value = Value::Broken;
        }
    }

    fn refuse_value(&mut self, node: &mut Node, mistake: Mistake, secret: bool, full: &str) {
        let value = match (&node.through, node.text()) {
            (Some(through), _) if through.starts_with('$') => format!("the value with {through} in it"),
            (Some(through), _) => format!("the value of {through:?}"),
            _ if secret => String::new(),
            (None, Some(text)) => quoted(text),
            (None, None) => match node.value {
                Value::Number(number) => number.to_string(),
                _ => String::new(),
            },
        };
        let subject = if value.is_empty() {
            format!("`{}`", last(full))
        } else {
            format!("`{}`: {value}", last(full))
        };
        self.findings
            .push(sentence(Place::from(&node.origin), full, &subject, mistake));
        node.value = Value::Broken;
    }

    pub(super) fn refuse(&mut self, node: &mut Node, full: &str, message: String, hint: &str) {
        self.findings
            .push(Problem::error(&node.origin, full, message).hint(hint));
        node.value = Value::Broken;
    }
}
