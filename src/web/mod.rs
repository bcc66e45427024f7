//! HTTP words that several rooms share: who is connected, how an answer of our own looks, how headers are read.
//!
//! No policy and no I/O here. Called by net, proxy, portal and admin. Nothing here decides whether a request may pass.

mod answer;
mod arrival;
mod cookies;
mod exchange;
mod flow;
mod headers;
mod kind;
mod page;
mod request_id;
mod same_origin;

pub use answer::{Answer, BoxError, Full, Problem, own_headers};
pub use arrival::{Arrival, Fault, ListenerFacts, Peer, Purpose, Scheme, UpgradeHold};
pub use cookies::{CookiePairs, cookie_pairs, cookie_values, set_cookie_pairs};
pub use exchange::{Answering, Desk, Exchange};
pub use flow::Flow;
pub use headers::{canonical_name, names_match, strike};
pub use kind::{Audience, audience_of};
pub use page::page_headers;
pub use request_id::RequestId;
pub use same_origin::{Sender, sender};
