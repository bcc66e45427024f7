//! The nearest known word.

/// The word that `given` was likely meant to be; `None` when nothing is near.
pub(super) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Three slips in a long word, one in a short one; a longer text is no slip of anything.
    let most = (given.chars().count() / 3).clamp(1, 3);
    if given.len() > 64 {
        return None;
    }
    let lower = given.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|word| {
            let plain = word.to_ascii_lowercase().replace('-', "_");
            (strsim::damerau_levenshtein(&lower, &plain), word)
        })
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_mended_and_other_words_are_not() {
        let known = ["idle_timeout", "lifetime", "cookie"];
        assert_eq!(nearest("idle_timeuot", known), Some("idle_timeout"));
        assert_eq!(nearest("Idle-Timeout", known), Some("idle_timeout"));
        assert_eq!(nearest("cookei", known), Some("cookie"));
        assert_eq!(nearest("banana", known), None);
    }
}
