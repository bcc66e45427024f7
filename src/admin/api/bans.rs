use super::Ask;
use super::List;
use crate::account::Banned;
use crate::admin::Admin;
use crate::admin::refusal::Refusal;
use crate::web::Answer;
use percent_encoding::percent_decode_str;

const NO_BAN: &str = "There is no such ban";

impl Admin {
    pub(super) async fn list_bans(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        let limit = ask.query.limit()?;
        let after = self.place(ask)?.and_then(|place| String::from_utf8(place).ok());
        let found = self.accounts.bans(after.as_deref(), limit + 1).await?;
        let place = |ban: &Banned| ban.id.as_bytes().to_vec();
        let (items, next) = self.page(ask, found, limit, place, |ban| ban);
        Ok(ask.json(&List { items, next }))
    }

    pub(super) async fn lift_ban(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        let who = percent_decode_str(ask.id.unwrap_or_default()).decode_utf8();
        let who = who.map_err(|_| Refusal::Absent(NO_BAN))?;
        if self.accounts.lift(&who, &ask.caller.actor).await?.is_empty() {
            return Err(Refusal::Absent(NO_BAN));
        }
        Ok(ask.done())
    }
}
