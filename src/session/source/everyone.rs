//! Every session of an application at once: those by which somebody is signed in end, visitors stay.

use super::desk::EndError;
use super::desk::KnownRow;
use super::desk::SourceDesk;
use super::desk::TOGETHER;
use super::lookups::Nobody;
use crate::model::Event;
use crate::store::KeyedRow;
use crate::store::StoreError;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use serde::Serialize;

/// What became of the sessions of one application where everybody's ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndedThere {
    /// Its source.
    pub source: String,
    /// `ended`; or `not_allowed`, where its source has no `end = true`, and they go on.
    pub state: &'static str,
    /// How many sessions were ended.
    pub ended: u64,
}

impl EndedThere {
    /// Of a source that may not end sessions.
    #[must_use]
    pub fn not_allowed(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            state: "not_allowed",
            ended: 0,
        }
    }

    /// So many sessions were ended.
    #[must_use]
    pub fn ended(source: &str, ended: u64) -> Self {
        Self {
            source: source.to_owned(),
            state: "ended",
            ended,
        }
    }
}

impl SourceDesk {
    /// Ends every live session by which somebody is signed in, a page of rows at a time, each page with an event like
    /// `event`; how many there were. `progress` hears how many were ended so far. A row that cannot be read may sign
    /// somebody in at the application, so it ends as well.
    ///
    /// # Errors
    /// See [`EndError`]; what was ended until then stays ended.
    pub async fn end_everyone(&self, event: &Event, progress: impl Fn(u64) + Send + Sync) -> Result<u64, EndError> {
        if !self.may_end() {
            return Err(EndError::MayNot);
        }
        let count = std::sync::atomic::AtomicU64::new(0);
        let told = |rows: &[&KnownRow], _| {
            let many = rows.len() as u64;
            progress(count.fetch_add(many, std::sync::atomic::Ordering::Relaxed) + many);
        };
        self.end_pages(event, told).await
    }

    /// The same; `told` hears of the rows of each page, and whether it is known that they are over.
    pub(in super::super) async fn end_pages(
        &self,
        event: &Event,
        told: impl Fn(&[&KnownRow], bool) + Send + Sync,
    ) -> Result<u64, EndError> {
        let mut pages = self.lookups().table().pages().await.map_err(EndError::Unread)?;
        let (mut count, mut stand) = (0, None);
        loop {
            let page = pages.next().await.map_err(EndError::Unread)?;
            if page.is_empty() {
                break;
            }
            let rows = self.signed_in(page).await.map_err(EndError::Unread)?;
            let rows: Vec<&KnownRow> = rows.iter().collect();
            let outcome = self.end_rows(&rows, event.clone()).await;
            told(&rows, !matches!(outcome, Err(EndError::NotStored(_))));
            match outcome {
                // They are refused here, and so are the others to be.
                Err(EndError::RowsStand(error)) => stand = Some(error),
                outcome => outcome?,
            }
            count += rows.len() as u64;
        }
        stand.map_or(Ok(count), |error| Err(EndError::RowsStand(error)))
    }

    async fn signed_in(&self, page: Vec<KeyedRow>) -> Result<Vec<KnownRow>, StoreError> {
        let live = page.into_iter().filter(|one| !one.row.left.is_zero());
        let each = futures_util::stream::iter(live).map(|KeyedRow { key, row, .. }| async move {
            let left = row.left;
            let is_visitor = matches!(self.lookups().holder_of(row).await?, Err(Nobody::Visitor));
            Ok::<_, StoreError>((!is_visitor).then(|| KnownRow::new(key, left)))
        });
        let rows: Vec<Option<KnownRow>> = each.buffered(TOGETHER).try_collect().await?;
        Ok(rows.into_iter().flatten().collect())
    }
}
