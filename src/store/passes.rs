use super::Call;
use super::StoreError;
use crate::model::Digest;
use crate::model::Event;
use crate::model::Timestamp;

/// What opens the operators' page. A part of [`super::Store`]; the same rules hold. Passes that are over open nothing,
/// removed or not.
pub trait Passes: Send + Sync {
    /// Keeps a link that opens the page once, writes `event`, and forgets passes that are over at `now`.
    fn add_link(&self, _link: Pass, _now: Timestamp, _event: Event) -> Call<'_, ()> {
        unasked()
    }
    /// Puts a browser's pass in place of the link with this digest and writes `event`, in one transaction; false, and
    /// nothing is done, where there is no such link, or not any more, at `now`.
    fn use_link(&self, _link: Digest, _browser: Pass, _now: Timestamp, _event: Event) -> Call<'_, bool> {
        unasked()
    }
    /// Whether a browser's pass with this digest is good at `now`.
    fn has_pass(&self, _browser: Digest, _now: Timestamp) -> Call<'_, bool> {
        unasked()
    }
    /// Ends a browser's pass and writes `event`; false, and nothing is written, where there is none.
    fn end_pass(&self, _browser: Digest, _event: Event) -> Call<'_, bool> {
        unasked()
    }
}

/// Something that lets an operator in until a moment.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// SHA-256 of the token.
    pub digest: Digest,
    /// It is over at this moment.
    pub expires_at: Timestamp,
}

/// The answer of a store that keeps nothing of this: a stand-in of tests.
fn unasked<T: Send + 'static>() -> Call<'static, T> {
    Box::pin(std::future::ready(Err(StoreError::NotReady)))
}
