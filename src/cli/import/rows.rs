//! The users of a file, one at a time.

use super::Format;
use super::lines::Lines;
use crate::account::ImportedAccount;
use crate::cli::failure::Wrong;
use crate::model::Timestamp;
use crate::model::UserState;
use anyhow::{Context, Result, bail};
use csv::ByteRecord;
use secrecy::SecretString;
use serde::Deserialize;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const COLUMNS: [&str; 8] = [
    "username",
    "email",
    "email_verified",
    "name",
    "groups",
    "password_hash",
    "state",
    "created_at",
];

/// One user of the file, every text as it stands there.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    username: String,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    email_verified: Option<bool>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    password_hash: Option<String>,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    created_at: Option<String>,
}

impl Row {
    /// The account that it describes; nothing is judged but the shape.
    pub(super) fn into_account(self) -> Result<ImportedAccount> {
        let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let created_at = given(self.created_at).map(|text| {
            let read = OffsetDateTime::parse(text.trim(), &Rfc3339).map(Timestamp::from);
            let at =
                read.map_err(|_| Wrong("created_at is no time of RFC 3339, such as 2026-01-31T12:00:00Z".into()))?;
            // An offset can move it out of the years that can be written.
            if (Timestamp::default()..=Timestamp::LAST).contains(&at) {
                Ok(at)
            } else {
                Err(Wrong("created_at lies before 1970 or after 9999, in UTC".into()))
            }
        });
        Ok(ImportedAccount {
            username: self.username,
            email: given(self.email),
            email_verified: self.email_verified.unwrap_or(true),
            name: given(self.name),
            groups: self.groups,
            state: match given(self.state).as_deref().map(str::trim) {
                None | Some("active") => UserState::Active,
                Some("disabled") => UserState::Disabled,
                Some(_) => bail!("state is active or disabled"),
            },
            // Django marks a user without a password with ! and random letters.
            password_hash: given(self.password_hash)
                .filter(|hash| !hash.starts_with('!'))
                .map(SecretString::from),
            created_at: created_at.transpose()?,
        })
    }
}

/// The users of a file.
pub(super) struct Rows {
    lines: Lines,
    /// Which column each value of a CSV file is of; JSON says so itself.
    columns: Option<Vec<&'static str>>,
    length: Option<u64>,
}

impl Rows {
    /// Opens `file`, or standard input for `-`; looks at its first bytes where nothing else tells how it is written.
    pub(super) fn open(file: &Path, format: Option<Format>) -> Result<Self> {
        let (input, length): (Box<dyn Read>, _) = if file.as_os_str() == "-" {
            (Box::new(std::io::stdin()), None)
        } else {
            let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
            let facts = opened.metadata().ok().filter(std::fs::Metadata::is_file);
            (Box::new(opened), facts.map(|facts| facts.len()))
        };
        let named = file.extension().and_then(|end| match end.to_str()? {
            "csv" => Some(Format::Csv),
            "jsonl" | "ndjson" | "json" => Some(Format::Jsonl),
            _ => None,
        });
        Self::of(input, format.or(named), length)
    }

    fn of(input: Box<dyn Read>, format: Option<Format>, length: Option<u64>) -> Result<Self> {
        let mut lines = Lines::new(input);
        let is_json = match format {
            Some(format) => format == Format::Jsonl,
            None => lines.begin_with_an_object()?,
        };
        let columns = if is_json { None } else { Some(heading(&mut lines)?) };
        Ok(Self { lines, columns, length })
    }

    /// Bytes of the whole file, where that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.lines.bytes
    }

    /// The next user's line and what it says, or what is wrong with it; `None` at the end. An error means that nothing more
    /// can be read.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Result<Row>)>> {
        let Some(columns) = &self.columns else {
            let line = self.lines.next_text()?;
            return Ok(line.map(|line| (line.number, line.text.and_then(|text| read_object(&text)))));
        };
        let record = self.lines.next_text()?;
        Ok(record.map(|line| (line.number, line.text.and_then(|text| read_record(&text, columns)))))
    }
}

fn heading(lines: &mut Lines) -> Result<Vec<&'static str>> {
    let first = lines
        .next_text()?
        .context(Wrong("the file is empty; its first line names the columns".into()))?;
    let mut columns = Vec::new();
    for name in &values(&first.text?)? {
        let name = String::from_utf8_lossy(name).trim().to_owned();
        let Some(column) = COLUMNS.iter().copied().find(|column| *column == name) else {
            let known = COLUMNS.join(", ");
            bail!(Wrong(format!(
                "there is no column {name:?}; the heading has some of: {known}"
            )));
        };
        if columns.contains(&column) {
            bail!(Wrong(format!("the heading has {column} twice")));
        }
        columns.push(column);
    }
    if !columns.contains(&"username") {
        bail!(Wrong("the heading has no column username".into()));
    }
    Ok(columns)
}

/// Whether a value in quotation marks goes on at the end. A mark within a value that does not begin with one is a letter.
fn is_open(record: &[u8]) -> bool {
    let (mut quoted, mut may_open) = (false, true);
    for byte in record {
        // After a mark that closes, another opens again: the two are a letter of the value.
        (quoted, may_open) = match (quoted, byte) {
            (true, b'"') | (false, b',') => (false, true),
            (true, _) => (true, false),
            (false, b'"') if may_open => (true, false),
            (false, _) => (false, false),
        };
    }
    quoted
}

/// No value that a user may have goes over several lines.
fn values(record: &[u8]) -> Result<ByteRecord> {
    if is_open(record) {
        bail!("a quotation mark is not closed; no value goes over several lines");
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(record.len().max(1))
        .from_reader(record);
    let mut values = ByteRecord::new();
    reader
        .read_byte_record(&mut values)
        .context("the line cannot be read")?;
    Ok(values)
}

fn read_record(record: &[u8], columns: &[&'static str]) -> Result<Row> {
    let values = values(record)?;
    if values.len() != columns.len() {
        let (found, wanted) = (values.len(), columns.len());
        bail!("the line has {found} values, and the heading {wanted}");
    }
    let mut row = Row::default();
    for (column, value) in columns.iter().zip(&values) {
        let value = std::str::from_utf8(value)
            .ok()
            .context("the line is not in UTF-8")?
            .to_owned();
        match *column {
            "username" => row.username = value,
            "email" => row.email = Some(value),
            "email_verified" => row.email_verified = flag(&value)?,
            "name" => row.name = Some(value),
            "groups" => {
                let groups = value.split(';').map(str::trim).filter(|group| !group.is_empty());
                row.groups = groups.map(str::to_owned).collect();
            }
            "password_hash" => row.password_hash = Some(value),
            "state" => row.state = Some(value),
            _ => row.created_at = Some(value),
        }
    }
    Ok(row)
}

fn flag(value: &str) -> Result<Option<bool>> {
    match value.trim().to_ascii_lowercase().as_str() {
        "" => Ok(None),
        "true" | "t" | "1" | "yes" => Ok(Some(true)),
        "false" | "f" | "0" | "no" => Ok(Some(false)),
        _ => bail!("email_verified is true or false"),
    }
}

/// Nothing of the line is repeated: a hash may stand anywhere in it.
fn read_object(text: &[u8]) -> Result<Row> {
    let members = COLUMNS.join(", ");
    serde_json::from_slice(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            let column = error.column();
            Wrong(format!(
                "the object is not of the right shape at column {column}; its members are: {members}"
            ))
            .into()
        }
        _ => Wrong(format!("the line is not valid JSON at column {}", error.column())).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Format, Row, Rows};
    use std::fmt::Write as _;
    use std::io::Read;

    fn rows(text: &str) -> Rows {
        Rows::of(Box::new(std::io::Cursor::new(text.to_owned())), None, None).unwrap()
    }

    fn all(text: &str) -> Vec<(u64, Result<Row, String>)> {
        let mut rows = rows(text);
        let mut all = Vec::new();
        while let Some((line, row)) = rows.next().unwrap() {
            all.push((line, row.map_err(|error| error.to_string())));
        }
        all
    }

    #[test]
    fn a_file_is_read_by_its_heading_or_by_its_members() {
        let csv = "\u{feff}username, email ,groups,password_hash\r\nann,ann@x.example,a; b;,$2b$12$x\r\n\r\n\"bo\"\"b\",,,\r\n";
        let read = all(csv);
        assert_eq!(read.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 4]);
        let ann = read[0].1.as_ref().unwrap();
        assert_eq!(
            (ann.username.as_str(), ann.groups.as_slice()),
            ("ann", &["a".to_owned(), "b".to_owned()][..])
        );
        assert_eq!(read[1].1.as_ref().unwrap().username, "bo\"b");
        let json = "\n{\"username\":\"ann\",\"groups\":[\"a\"],\"email_verified\":false,\"email\":null}\n";
        let read = all(json);
        assert_eq!((read.len(), read[0].0), (1, 2));
        assert_eq!(read[0].1.as_ref().unwrap().email_verified, Some(false));
    }

    #[test]
    fn a_line_that_cannot_be_read_does_not_end_the_file() {
        let read = all("username,name\nann\nbob,Bob\n\"c\",d,e\n");
        assert!(read[0].1.is_err() && read[1].1.is_ok() && read[2].1.is_err());
        assert_eq!(
            read[0].1.as_ref().unwrap_err(),
            "the line has 1 values, and the heading 2"
        );
        let read = all(
            "{\"username\":\"a\"}\n{\"username\":1}\n{nonsense\n{\"username\":\"b\",\"role\":\"x\"}\n{\"username\":\"c\"}",
        );
        assert_eq!(
            read.iter().map(|(_, row)| row.is_ok()).collect::<Vec<_>>(),
            [true, false, false, false, true]
        );
        for (_, row) in &read {
            let said = row.as_ref().map_or_else(Clone::clone, |_| String::new());
            assert!(!said.contains("nonsense") && !said.contains("role"), "{said}");
        }
    }

    #[test]
    fn a_heading_that_is_not_understood_is_refused_before_anything_is_read() {
        let open = |text: &str| {
            let opened = Rows::of(Box::new(std::io::Cursor::new(text.to_owned())), Some(Format::Csv), None);
            opened.err().map(|error| error.to_string())
        };
        assert!(open("username,role\nann,x\n").unwrap().contains("no column \"role\""));
        assert!(open("email\nann@x\n").unwrap().contains("no column username"));
        assert!(open("username,username\n").unwrap().contains("twice"));
        assert!(open("").unwrap().contains("names the columns"));
        assert_eq!(open("username\n"), None);
    }

    #[test]
    fn values_that_are_none_of_theirs_are_refused() {
        let account = |line: &str| {
            let text = format!("username,state,created_at,email_verified,password_hash\n{line}\n");
            let row = all(&text).remove(0).1;
            row.and_then(|row| row.into_account().map_err(|error| error.to_string()))
        };
        let plain = account("ann,,,,").unwrap();
        assert!(plain.email_verified && plain.password_hash.is_none() && plain.created_at.is_none());
        assert!(
            account("ann,disabled,2026-01-31T12:00:00Z,no,$2b$")
                .unwrap()
                .created_at
                .is_some()
        );
        assert!(account("ann,,,,!Zx81random").unwrap().password_hash.is_none());
        assert!(account("ann,locked,,,").unwrap_err().contains("active or disabled"));
        assert!(account("ann,,yesterday,,").unwrap_err().contains("RFC 3339"));
        for nowhere in [
            "0000-01-01T00:00:00+23:59",
            "1969-12-31T23:59:59Z",
            "9999-12-31T23:59:59-00:01",
        ] {
            let error = account(&format!("ann,,{nowhere},,")).unwrap_err();
            assert!(error.contains("before 1970"), "{error}");
        }
        assert!(account("ann,,,perhaps,").unwrap_err().contains("true or false"));
    }

    #[test]
    fn a_quotation_mark_that_nobody_closed_costs_its_own_line_only() {
        let read = all("username,name\nann,\"Ann\nbob,Bob\ncyd,5\" tall\n\"dan\",\"Dan \"\"D\"\"\"\n");
        let told: Vec<_> = read.iter().map(|(line, row)| (*line, row.is_ok())).collect();
        assert_eq!(told, [(2, false), (3, true), (4, true), (5, true)]);
        assert_eq!(read[3].1.as_ref().unwrap().name.as_deref(), Some("Dan \"D\""));
    }

    /// A file of any length takes no more than one line of memory.
    #[test]
    fn a_line_without_an_end_is_not_drawn_into_memory() {
        for start in ["username\n\"", "{\"username\":\""] {
            let endless = start.as_bytes().chain(std::io::repeat(b'x')).take(1 << 24);
            let mut rows = Rows::of(Box::new(endless), None, None).unwrap();
            let (_, row) = rows.next().unwrap().unwrap();
            let error = row.unwrap_err().to_string();
            assert!(error.contains("longer than 64 KiB"), "{error}");
            assert!(rows.next().unwrap().is_none());
        }
    }

    #[test]
    fn many_lines_are_read_within_the_bound_of_each() {
        let mut text = String::from("username\n");
        for number in 0..50_000 {
            let _ = writeln!(text, "user{number}");
        }
        assert_eq!(all(&text).len(), 50_000);
    }
}
