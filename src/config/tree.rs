//! The file as a tree in which every value knows where it came from.

use super::shape;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use toml::de::DeTable;
use toml::de::DeValue;

/// Where a value came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nobody gave it.
    #[default]
    Default,
    /// Bytes of the file.
    File(Range<usize>),
    /// An environment variable.
    Environment(String),
    /// An option of the command line.
    Flag(String),
}

/// One value.
#[derive(Clone, Default)]
pub(super) struct Node {
    pub value: Value,
    pub origin: Origin,
    /// Bytes of its key in the file.
    pub key_span: Option<Range<usize>>,
    /// `env:NAME` or `file:PATH`, where the value was fetched through one.
    pub through: Option<String>,
}

/// What a value is.
#[derive(Clone, Default)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
    List(Vec<Node>),
    Table(Section),
    /// A float, a date: nothing that any key takes.
    Other(&'static str),
    /// It was refused, and the problem is recorded: whoever meets it says nothing more.
    #[default]
    Broken,
}

/// A table.
#[derive(Clone, Default)]
pub(super) struct Section {
    pub entries: BTreeMap<String, Node>,
    pub origin: Origin,
}

/// A text that is no TOML.
pub(super) struct SyntaxError {
    pub message: String,
    pub span: Range<usize>,
}

/// Parses a whole file.
pub(super) fn parse(text: &str) -> Result<Section, SyntaxError> {
    match DeTable::parse(text) {
        Ok(table) => Ok(Section {
            entries: entries_of(table.get_ref()),
            origin: Origin::Default,
        }),
        Err(error) => Err(SyntaxError {
            message: error.message().to_owned(),
            span: error.span().unwrap_or(0..0),
        }),
    }
}

/// A value of our own, written as TOML.
pub(super) fn literal(text: &str) -> Node {
    let mut node = DeValue::parse(text).map_or_else(|_| Node::default(), |value| node_of(value.get_ref(), 0..0));
    node.set_origin(&Origin::Default);
    node
}

fn entries_of(table: &DeTable<'_>) -> BTreeMap<String, Node> {
    table
        .iter()
        .map(|(key, value)| {
            let mut node = node_of(value.get_ref(), value.span());
            node.key_span = Some(key.span());
            (key.get_ref().to_string(), node)
        })
        .collect()
}

fn node_of(value: &DeValue<'_>, span: Range<usize>) -> Node {
    let origin = Origin::File(span);
    let value = match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Other("a number"), Value::Number)
        }
        DeValue::Float(_) => Value::Other("a fraction"),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(list) => Value::List(list.iter().map(|item| node_of(item.get_ref(), item.span())).collect()),
        DeValue::Table(table) => Value::Table(Section {
            entries: entries_of(table),
            origin: origin.clone(),
        }),
    };
    Node {
        value,
        origin,
        key_span: None,
        through: None,
    }
}

impl Node {
    /// A value that came from elsewhere than the file.
    pub fn new(value: Value, origin: Origin) -> Self {
        Self {
            value,
            origin,
            key_span: None,
            through: None,
        }
    }

    /// The kind of value in words.
    pub fn noun(&self) -> &'static str {
        match &self.value {
            Value::Text(_) => "text",
            Value::Number(_) => "a number",
            Value::Flag(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(noun) => noun,
            Value::Broken => "unreadable",
        }
    }

    pub fn is_broken(&self) -> bool {
        matches!(self.value, Value::Broken)
    }

    /// The text, `None` for anything else.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Its elements, none where it is no list.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The table, `None` for anything else.
    pub fn table(&self) -> Option<&Section> {
        match &self.value {
            Value::Table(section) => Some(section),
            _ => None,
        }
    }

    /// Spans of every text in the file at and below this node.
    pub fn text_spans(&self, spans: &mut Vec<Range<usize>>) {
        match (&self.value, &self.origin) {
            (Value::List(items), _) => items.iter().for_each(|item| item.text_spans(spans)),
            (Value::Table(section), _) => section.entries.values().for_each(|node| node.text_spans(spans)),
            (Value::Flag(_) | Value::Broken, _) => {}
            // The quotes stay: what is shown still looks like TOML.
            (Value::Text(_), Origin::File(span)) => spans.push(span.start + 1..span.end.saturating_sub(1)),
            (_, Origin::File(span)) => spans.push(span.clone()),
            _ => {}
        }
    }

    /// Says of this node and all below it where they came from.
    fn set_origin(&mut self, origin: &Origin) {
        self.origin = origin.clone();
        self.key_span = None;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.set_origin(origin)),
            Value::Table(section) => {
                section.origin = origin.clone();
                section.entries.values_mut().for_each(|node| node.set_origin(origin));
            }
            _ => {}
        }
    }
}

/// Typed reading of a section in which every value was checked and every default filled in. What is broken or absent
/// reads as nothing; the problem was recorded when it was checked.
impl Section {
    /// The value of a key; `None` when nobody gave it and it has no default.
    pub fn node(&self, key: &str) -> Option<&Node> {
        self.entries.get(key)
    }

    /// Whether somebody gave the key, well or badly.
    pub fn is_given(&self, key: &str) -> bool {
        self.node(key).is_some_and(|node| node.origin != Origin::Default)
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.node(key)?.text()
    }

    pub fn flag(&self, key: &str) -> bool {
        matches!(
            self.node(key),
            Some(Node {
                value: Value::Flag(true),
                ..
            })
        )
    }

    /// The number; `None` for a word in its place.
    pub fn number<T: TryFrom<i64>>(&self, key: &str) -> Option<T> {
        match self.node(key)?.value {
            Value::Number(number) => T::try_from(number).ok(),
            _ => None,
        }
    }

    /// The duration; zero where it was refused.
    pub fn span(&self, key: &str) -> Duration {
        self.text(key)
            .and_then(|text| shape::duration(text).ok())
            .unwrap_or_default()
    }

    /// The size; `None` for a word in its place.
    pub fn size(&self, key: &str) -> Option<u64> {
        shape::size(self.text(key)?).ok()
    }

    /// The elements of a list.
    pub fn list(&self, key: &str) -> &[Node] {
        self.node(key).map_or(&[], Node::items)
    }

    /// The texts of a list.
    pub fn texts(&self, key: &str) -> impl Iterator<Item = (&str, &Node)> {
        self.list(key).iter().filter_map(|node| Some((node.text()?, node)))
    }

    /// A table below this one.
    pub fn table(&self, key: &str) -> Option<&Section> {
        self.node(key)?.table()
    }

    /// An array of tables below this one.
    pub fn tables(&self, key: &str) -> impl Iterator<Item = &Section> {
        self.list(key).iter().filter_map(Node::table)
    }
}
