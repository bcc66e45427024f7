//! Cookies of applications' sessions that were ended here, on routes where nobody asks whose a request is. The application
//! would still know them if a request brought their row back, so they do not go on; but nobody waits for that, and a route
//! that is open to everybody stays so while a database is down.

use super::Sessions;
use super::legacy::Legacy;
use crate::model::Digest;

/// What of a request's cookies must not go to the application.
#[derive(Debug, PartialEq, Eq)]
pub enum Withheld {
    /// Those with these names; none, as a rule.
    Names(Vec<String>),
    /// One names a row that something was heard of: whether it was ended must be asked.
    Unknown,
}

/// An application's session that a request names, on a route that does not ask for it.
struct Unasked<'a> {
    source: &'a Legacy,
    row: Digest,
}

impl Sessions {
    /// What of the cookies of a request to `host` is known not to go on. `asked` are the sources that the route asks itself.
    /// Asks nobody, and looks at no cookie before anything was ended.
    pub fn withheld<'a>(
        &self,
        host: &str,
        asked: &[String],
        cookies: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Withheld {
        let mut names = Vec::new();
        for one in self.unasked(host, asked, cookies) {
            let Some(lookups) = one.source.lookups() else { continue };
            if lookups.knows_end_of(&one.row) {
                names.extend(one.source.settings().mapping.cookies.iter().cloned());
            } else if lookups.heard_of(&one.row) {
                return Withheld::Unknown;
            }
        }
        Withheld::Names(names)
    }

    /// The same, asking our own store where something was heard. What cannot be asked goes on.
    pub async fn withheld_asking<'a>(
        &self,
        host: &str,
        asked: &[String],
        cookies: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Vec<String> {
        let mut names = Vec::new();
        for one in self.unasked(host, asked, cookies) {
            let Some((cache, lookups)) = one.source.desk() else {
                continue;
            };
            let (store, lookups) = (cache.store.clone(), lookups.clone());
            let row = one.row;
            let was_ended = self.on_control(async move { Ok(lookups.learn_end_of(&*store, row).await?) });
            if was_ended.await.unwrap_or(false) {
                names.extend(one.source.settings().mapping.cookies.iter().cloned());
            }
        }
        names
    }

    fn unasked<'a>(
        &self,
        host: &str,
        asked: &[String],
        cookies: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Vec<Unasked<'_>> {
        let concerned = |source: &&Legacy| {
            let settings = source.settings();
            source.lookups().is_some_and(|lookups| lookups.knows_ends())
                && !settings.moved
                && settings.serves(host)
                && !asked.contains(&settings.name)
        };
        let mut sources = self.sources.iter().map(AsRef::as_ref).filter(concerned).peekable();
        if sources.peek().is_none() {
            return Vec::new();
        }
        let cookies: Vec<(&[u8], &[u8])> = cookies.collect();
        let now = self.now().as_seconds();
        let named = |source: &'_ Legacy| {
            source
                .settings()
                .named(&cookies, now)
                .map(|(_, key)| source.settings().row_of(&key.text))
        };
        sources
            .filter_map(|source| {
                Some(Unasked {
                    row: named(source)?,
                    source,
                })
            })
            .collect()
    }
}
