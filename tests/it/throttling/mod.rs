//! Throttling, limits of users and devices, through the real gateway and over real stores.

mod counting;
mod floods;
mod gateways;
