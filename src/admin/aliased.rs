//! The API at paths of an older front end's own: for programs with `X-Admin-Token`, and for members of the group.

use super::Admin;
use super::Members;
use super::caller::Caller;
use super::refusal::Refusal;
use crate::account::HEADER_ACTOR;
use crate::account::ThrottleError;
use crate::audit::Event;
use crate::audit::EventKind;
use crate::web::Exchange;
use crate::web::Scheme;
use crate::web::Sender;
use crate::web::sender;
use http::HeaderValue;

/// The header that older administration pages send; the firewall keeps it from applications.
const HEADER: &str = "x-admin-token";

impl Members {
    /// Who asks by an alias. One who names a token is judged by it alone.
    ///
    /// # Errors
    /// `AdminNeeded`, `Foreign`, `NotEncrypted`, `Throttled`, `StepUp`, and `Unavailable` when it could not be asked.
    pub(super) async fn by_alias(&self, exchange: &Exchange) -> Result<Caller, Refusal> {
        let needed = || Refusal::AdminNeeded(format!("{}/login", self.admin.prefix));
        let mut lines = exchange.headers.get_all(HEADER).iter();
        match (lines.next(), lines.next()) {
            (Some(line), None) => self.admin.by_header(exchange, line).await?.ok_or_else(needed),
            (Some(_), Some(_)) => Err(needed()),
            (None, _) => match self.member(exchange).await {
                Err(Refusal::SignIn(_) | Refusal::NotMember) => Err(needed()),
                decided => decided,
            },
        }
    }
}

impl Admin {
    /// Whoever sent the right token; `None` for a wrong one, and where none is set.
    async fn by_header(&self, exchange: &Exchange, line: &HeaderValue) -> Result<Option<Caller>, Refusal> {
        let Some(token) = &self.header_token else {
            return Ok(None);
        };
        // A token in a page is that page's host's alone, whoever else is listed.
        if sender(&exchange.headers, &exchange.origin()) == Sender::Foreign {
            return Err(Refusal::Foreign);
        }
        if exchange.scheme == Scheme::Http && !exchange.address.to_canonical().is_loopback() {
            return Err(Refusal::NotEncrypted);
        }
        let throttle = self.accounts.throttle();
        match throttle
            .check_token(exchange.address, || token.is(line.as_bytes()))
            .await
        {
            Ok(true) => {}
            Ok(false) => {
                self.refused(exchange, None, "wrong_token").await;
                return Ok(None);
            }
            Err(ThrottleError::Throttled { retry_after }) => {
                return Err(Refusal::Throttled(retry_after.as_secs().max(1)));
            }
            Err(ThrottleError::Store(error)) => return Err(error.into()),
        }
        self.was_let_in(exchange).await?;
        Ok(Some(Caller {
            actor: HEADER_ACTOR.to_owned(),
            member: None,
        }))
    }

    /// Writes down that the token was used, a few times a minute at most: what it changes is written down each time.
    async fn was_let_in(&self, exchange: &Exchange) -> Result<(), Refusal> {
        let now = self.sessions.now();
        if !self.let_in.takes_one(now.as_seconds()) {
            return Ok(());
        }
        let event = Event {
            address: Some(exchange.address),
            ..Event::new(now, EventKind::AdminTokenUsed, HEADER_ACTOR)
        };
        Ok(self.log.record(event).await?)
    }
}
