//! The way of one request: intake, route, gate, clean, identity, upstream, trip.

mod settings;

pub use settings::{
    Access, Balance, Encoding, HostPattern, IdentitySettings, PathCase, PathPattern, Preset, RouteSettings,
    ServerAddress, Settings, UpstreamSettings,
};
