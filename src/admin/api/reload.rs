use super::Ask;
use crate::admin::Admin;
use crate::admin::NotReloaded;
use crate::admin::refusal::Refusal;
use crate::admin::refusal::sentence;
use crate::web::Answer;
use serde_json::json;

impl Admin {
    pub(super) async fn reload(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        match self.reload.reload().await {
            Ok(done) => Ok(ask.json(&json!({
                "state": "applied",
                "pending": done.pending,
                "warnings": done.warnings,
            }))),
            Err(NotReloaded::Invalid(problems)) => Err(Refusal::BadConfiguration(problems)),
            Err(NotReloaded::Failed(why)) => Err(Refusal::Conflict(sentence(&why))),
        }
    }
}
