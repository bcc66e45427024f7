use super::Sessions;

/// A cookie by which an application knows its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TheirCookie {
    /// Its name.
    pub name: String,
    /// Canonical hosts on which it is the application's.
    pub hosts: Vec<String>,
    /// Whether it must stand alone: of several nobody knows which one counts, and one that was ended here could be it.
    pub single: bool,
}

impl Sessions {
    /// The cookies of those sources whose sessions can be ended here.
    pub fn their_cookies(&self) -> impl Iterator<Item = TheirCookie> {
        let settings = self.sources.iter().map(|source| source.settings());
        settings
            .filter(|settings| settings.table.are_ended())
            .flat_map(|settings| {
                settings.mapping.cookies.iter().map(|name| TheirCookie {
                    name: name.clone(),
                    hosts: settings.hosts.clone(),
                    single: settings.mapping.takes_one_only(),
                })
            })
    }
}
