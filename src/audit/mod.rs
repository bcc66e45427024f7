//! What happened, to whom, by whom: events are written by the store in the transaction of the change itself.
