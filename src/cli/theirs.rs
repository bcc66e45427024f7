//! Sessions that applications keep, for the commands that list, show and end.

use super::failure::Wrong;
use super::place::Desk;
use super::progress::Progress;
use super::session::{List, Shown};
use crate::model::Event;
use crate::model::EventKind;
use crate::model::PublicId;
use crate::model::Timestamp;
use crate::session::EndedThere;
use crate::session::SourceDesk;
use crate::session::TheirSession;
use anyhow::{Context, Result, bail};

/// Live sessions of an application, and where the list goes on.
pub(super) async fn list(source: &SourceDesk, options: &List, now: Timestamp) -> Result<(Vec<Shown>, Option<String>)> {
    let after = options.after.as_deref().map(hex::decode).transpose().ok().map(|bytes| {
        let exact = bytes.map(<[u8; 32]>::try_from).transpose();
        exact.map_err(|_| ())
    });
    let Some(Ok(after)) = after else {
        bail!(Wrong("--after takes what the list before ended with".into()));
    };
    let found = source
        .list(options.user.as_deref(), after, options.limit as usize, now)
        .await
        .with_context(|| format!("the sessions of {} could not be listed", source.name()))?;
    let shown = found.items.iter().map(|one| Shown::of_source(source.name(), one, now));
    Ok((shown.collect(), found.next.map(hex::encode)))
}

/// The session with this public id, whichever application keeps it.
pub(super) async fn find(desk: &Desk, id: PublicId, now: Timestamp) -> Result<Option<(SourceDesk, TheirSession)>> {
    let mut silent = None;
    for settings in &desk.sources {
        let source = desk.source(&settings.name)?;
        match source.show(id, now).await {
            Ok(Some(session)) => return Ok(Some((source, session))),
            Ok(None) => {}
            Err(error) => silent = Some((settings.name.clone(), error)),
        }
    }
    match silent {
        Some((name, error)) => Err(error).with_context(|| format!("the sessions of {name} could not be looked at")),
        None => Ok(None),
    }
}

/// Ends the session with this public id, or all of a user called `SOURCE:SUBJECT`; `None` where neither is an
/// application's.
pub(super) async fn end(desk: &Desk, id: Option<PublicId>, user: Option<&str>) -> Result<Option<Vec<PublicId>>> {
    let now = desk.store.now().await?;
    let (source, sessions) = match (
        id.filter(|id| id.is_of_source()),
        user.filter(|user| user.contains(':')),
    ) {
        (Some(id), _) => {
            let found = find(desk, id, now).await?;
            let (source, session) = found.with_context(|| format!("there is no session {id}"))?;
            (source, vec![session])
        }
        (None, Some(user)) => {
            let source = desk.source(user)?;
            let sessions = source.all_of(user, now).await;
            let sessions = sessions
                .with_context(|| format!("nothing was ended, because the sessions of {user} could not be listed"))?;
            (source, sessions)
        }
        (None, None) => return Ok(None),
    };
    let event = Event::new(now, EventKind::SessionEnded, Desk::ACTOR);
    let event = match sessions.as_slice() {
        [] => return Ok(Some(Vec::new())),
        [one] => one.told(event),
        [one, ..] => Event {
            session: None,
            ..one.told(event)
        },
    };
    source.end(&sessions, event).await?;
    Ok(Some(sessions.iter().map(|one| one.found.session.public_id).collect()))
}

/// Ends every session of every application whose source may end sessions; tells what became of each source's.
pub(super) async fn end_everyone(desk: &Desk, event: &Event) -> Result<Vec<EndedThere>> {
    let (mut all, mut failed) = (Vec::new(), None);
    // Those of a source that has moved are sessions of the gateway's.
    for settings in desk.sources.iter().filter(|source| !source.moved) {
        let name = &settings.name;
        let source = desk.source(name)?;
        if !source.may_end() {
            all.push(EndedThere::not_allowed(name));
            continue;
        }
        let progress = Progress::new("sessions of an application ended");
        match source.end_everyone(event, |count| progress.set(count)).await {
            Ok(ended) => all.push(EndedThere::ended(name, ended)),
            Err(error) => {
                failed.get_or_insert((name.clone(), error));
            }
        }
    }
    match failed {
        None => Ok(all),
        Some((name, error)) => Err(error).with_context(|| {
            format!("the gateway's own sessions were ended, and not all of {name}: run the command again")
        }),
    }
}
