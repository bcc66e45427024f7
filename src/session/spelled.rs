use super::Sessions;

impl Sessions {
    /// The cookies by which applications know their sessions, and of each whether it must stand alone: where there are
    /// several, nobody knows which one counts, and one that was ended here could be it.
    pub fn their_cookies(&self) -> impl Iterator<Item = (&str, bool)> {
        self.sources.iter().flat_map(|source| {
            let settings = source.settings();
            let single = settings.table.may_end && settings.mapping.takes_one_only();
            settings.mapping.cookies.iter().map(move |name| (name.as_str(), single))
        })
    }
}
