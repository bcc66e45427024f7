//! What one instance, a command or somebody with psql changes is seen by every instance, and at once.

mod ends;
mod feed;
mod told;

use std::time::Duration;

/// How long a change may stay unseen while the feed is healthy. The promise is 100 ms for ninety-nine of a hundred; the
/// bound leaves room for a busy machine, and is far from the minute for which answers are believed here.
const SOON: Duration = Duration::from_secs(2);
