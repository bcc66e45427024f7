//! What applications may keep with a session.

use super::SessionError;
use super::Sessions;
use crate::model::Event;
use crate::model::PublicId;
use serde_json::Value;
use std::sync::Arc;

/// The most bytes of a session's data, as JSON without spaces.
pub const MOST_DATA: usize = 4096;
/// The most that they may become in the database, which writes numbers out and puts spaces between.
const MOST_STORED: usize = 8192;

/// Why data cannot be kept with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// More than [`MOST_DATA`] bytes.
    #[error("the data is larger than {MOST_DATA} bytes")]
    TooLarge,
    /// No object.
    #[error("the data must be a JSON object")]
    NoObject,
    /// Postgres keeps no NUL in a text.
    #[error("the data must not contain the character U+0000")]
    Nul,
}

impl Sessions {
    /// Puts `data` in place of a session's own; whether there was such a session. Here it is known at once.
    ///
    /// # Errors
    /// The store's; it is not known then whether the data was stored.
    pub async fn set_data(&self, id: PublicId, data: Option<Value>, event: Event) -> Result<bool, SessionError> {
        let cache = Arc::clone(&self.cache);
        let work = async move { Ok(cache.guarded(cache.store.set_session_data(id, data, event)).await?) };
        let changed = self.on_control(work).await?;
        if let Some(changed) = &changed {
            self.cache.stripes.forget(&changed.digest);
        }
        Ok(changed.is_some())
    }

    /// Whether `data` can be kept with a session, on every engine.
    ///
    /// # Errors
    /// See [`DataError`].
    pub fn check_data(data: &Value) -> Result<(), DataError> {
        if !data.is_object() {
            return Err(DataError::NoObject);
        }
        if holds_nul(data) {
            return Err(DataError::Nul);
        }
        let fits = data.to_string().len() <= MOST_DATA && stored_length(data) <= MOST_STORED;
        fits.then_some(()).ok_or(DataError::TooLarge)
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// No less than Postgres writes: `1e300` becomes a one with 300 zeros.
fn stored_length(value: &Value) -> usize {
    match value {
        Value::Number(number) => {
            let text = number.to_string();
            let exponent = text
                .split_once(['e', 'E'])
                .and_then(|(_, power)| power.parse::<i32>().ok());
            text.len() + exponent.map_or(0, |power| power.unsigned_abs() as usize)
        }
        Value::Array(items) => 2 + items.iter().map(|item| 2 + stored_length(item)).sum::<usize>(),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                Value::from(name.as_str()).to_string().len() + 4 + stored_length(value)
            };
            2 + members.iter().map(member).sum::<usize>()
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value.to_string().len(),
    }
}

#[cfg(test)]
mod tests {
    use super::{DataError, Sessions};
    use serde_json::{Value, json};

    #[test]
    fn data_is_a_small_object_without_what_a_database_cannot_keep() {
        let check = |value: Value| Sessions::check_data(&value);
        assert_eq!(check(json!({})), Ok(()));
        assert_eq!(check(json!({ "a": "b".repeat(4096 - 8) })), Ok(()));
        assert_eq!(check(json!({ "a": "b".repeat(4096 - 7) })), Err(DataError::TooLarge));
        assert_eq!(check(json!([1])), Err(DataError::NoObject));
        assert_eq!(check(json!({ "a": [{ "b\0": 1 }] })), Err(DataError::Nul));
        assert_eq!(check(json!({ "a": ["\0"] })), Err(DataError::Nul));
        let many: Vec<f64> = vec![1e300; 100];
        assert_eq!(check(json!({ "a": many })), Err(DataError::TooLarge));
        assert_eq!(check(json!({ "a": [1e300, 1e-300] })), Ok(()));
    }
}
