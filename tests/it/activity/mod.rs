//! Activity and what it does to a session: through the real gateway, and over real databases.

mod gateway;
mod hot;
mod races;
mod sweeps;
