//! What happened, to whom, by whom: the words of the audit log.
//!
//! It writes nothing by itself: the store writes each event in the transaction of the change that it tells of.
//!
//! Called by session, portal and admin.
//!
//! What must always hold: an event holds no secret. There is no future here to be dropped.

pub use crate::model::Event;
pub use crate::model::EventKind;
pub use crate::store::RecordedEvent;
