//! Plain facts: users, sessions, times, events. No I/O, no policy.
//!
//! Called by every room above it. Every type here can be built from a row and shown to a person; secrets are not among them.

mod device;
mod event;
mod session;
mod time;
mod user;

pub use device::device_name;
pub use event::{Event, EventKind};
pub use session::{Digest, NewSession, PublicId, Session, WhenFull};
pub use time::Timestamp;
pub use user::{User, UserId, UserState, Username, UsernameError};
