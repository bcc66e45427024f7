//! The end of everybody's sessions in applications.

use super::EndError;
use super::SessionError;
use super::Sessions;
use super::legacy::Legacy;
use super::source::EndedThere;
use super::source::KnownRow;
use crate::model::Event;
use crate::store::StoreError;
use std::sync::Arc;
use std::time::Duration;

/// The most that the end of one application's sessions may take.
const PATIENCE: Duration = Duration::from_mins(2);

impl Sessions {
    /// Ends every session of every application whose source may end sessions, each page of rows with an event like `event`.
    /// Those of a source that has moved are sessions of ours. A dropped future ends them all the same.
    ///
    /// # Errors
    /// The first of a source whose sessions were not all ended; the other sources' are ended then, too.
    pub async fn end_everyone_there(self: &Arc<Self>, event: Event) -> Result<Vec<EndedThere>, SessionError> {
        let (mut all, mut failed) = (Vec::new(), None);
        for source in self.sources.iter().filter(|source| !source.settings().moved) {
            let name = source.settings().name.clone();
            if !source.settings().table.may_end {
                all.push(EndedThere::not_allowed(&name));
                continue;
            }
            let (shared, event, named) = (Arc::clone(self), event.clone(), name.clone());
            let ending = async move {
                let source = shared.source(&named).ok_or(SessionError::NoSource)?;
                let ended = tokio::time::timeout(PATIENCE, source.end_everyone(&event)).await;
                ended.unwrap_or(Err(StoreError::TimedOut.into()))
            };
            match self.on_control(ending).await {
                Ok(ended) => all.push(EndedThere::ended(&name, ended)),
                Err(error) => {
                    tracing::warn!(
                        source.name = name,
                        error = &error as &dyn std::error::Error,
                        "not every session of an application was ended"
                    );
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(all), Err)
    }
}

impl Legacy {
    async fn end_everyone(&self, event: &Event) -> Result<u64, SessionError> {
        let desk = self.their_desk().ok_or(SessionError::NoSource)?;
        let why = Self::why(event.kind);
        let told = |rows: &[&KnownRow], known| self.forget_ended(rows, known, why);
        match desk.end_pages(event, told).await {
            Err(EndError::Unread(error)) => Err(error.into()),
            ended => Ok(ended?),
        }
    }
}
