use super::Draft;
use crate::config::tree::Section;
use crate::session::SourceSettings;

/// A source that has moved reads and writes nothing any more; any other must say where its tables are.
pub(super) fn check(draft: &mut Draft<'_>, section: &Section, source: &SourceSettings, key: &str) {
    if source.moved && source.open.is_some() {
        let hint = "people sign in here alone from now on: take `open` out";
        let message = "a source that has moved signs nobody into the application";
        draft
            .findings
            .at(section.node("open"), &format!("{key}.open"), message, hint);
    }
    if !source.moved && section.node("store_url").is_none() {
        let hint =
            "add `store_url = \"postgres://reader@127.0.0.1:5432/crm\"`; only a source with moved = true needs none";
        draft
            .findings
            .in_section(section, &format!("{key}.store_url"), "`store_url` is missing", hint);
    }
}
