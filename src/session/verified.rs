//! Cookies of which this core knows already what they name: a library's signature is verified when a session comes to a
//! core, not with each of its requests.
//!
//! That a cookie names a row says nothing of whether anybody is signed in by it; that is asked of the row as ever. What must
//! always hold: only a cookie that is the same to the last byte, under the same name and read by the very same source, names
//! the same row; where the time counts as well, nothing is kept.

use super::source::Lookups;
use crate::model::Digest;
use std::hash::BuildHasher;
use std::hash::Hasher;
use std::hash::RandomState;
use std::sync::Arc;

/// Cookies one core knows: some two mebibytes.
const SLOTS: usize = 8_192;
/// Longer ones are verified each time.
const LONGEST: usize = 512;

/// Holds a cookie that opens a session, so it cannot be printed.
struct Known {
    hash: u64,
    source: Arc<str>,
    cookie: Box<str>,
    value: Box<[u8]>,
    digest: Digest,
}

/// A fixed, direct-mapped array.
#[derive(Default)]
pub(super) struct Verified {
    /// Chosen for this core alone: nobody outside can tell which cookies share a place, or come close to the hash of one.
    hasher: RandomState,
    slots: Vec<Option<Box<Known>>>,
}

impl Verified {
    /// By what the session that this cookie names is known.
    pub(super) fn get(&self, source: &Lookups, cookie: &str, value: &[u8]) -> Option<Digest> {
        let hash = self.hash(cookie, value);
        let known = self.slots.get(slot(hash))?.as_ref()?;
        // The bytes are compared only where the hash is the same, so that how long it takes tells nobody how much of a guess
        // is right.
        let same = known.hash == hash
            && *known.value == *value
            && *known.cookie == *cookie
            && source.are_called(&known.source);
        same.then_some(known.digest)
    }

    /// Keeps what a cookie was found to name, in the place of another.
    pub(super) fn keep(&mut self, source: &Lookups, cookie: &str, value: &[u8], digest: Digest) {
        if value.len() > LONGEST {
            return;
        }
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, || None);
        }
        let hash = self.hash(cookie, value);
        self.slots[slot(hash)] = Some(Box::new(Known {
            hash,
            source: source.name(),
            cookie: cookie.into(),
            value: value.into(),
            digest,
        }));
    }

    /// Lets go of cookies of all other sources.
    pub(super) fn keep_those_of(&mut self, is_there: impl Fn(&Arc<str>) -> bool) {
        for slot in &mut self.slots {
            if slot.as_ref().is_some_and(|known| !is_there(&known.source)) {
                *slot = None;
            }
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    fn hash(&self, cookie: &str, value: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(value);
        hasher.write(cookie.as_bytes());
        hasher.finish()
    }
}

fn slot(hash: u64) -> usize {
    usize::try_from(hash % SLOTS as u64).expect("less than the slots")
}

#[cfg(test)]
mod tests {
    use super::super::source::Preset;
    use super::super::testing::START;
    use super::super::testing::source;
    use super::*;
    use crate::clock::Clock;

    fn lookups(name: &str) -> Lookups {
        Lookups::new(source(name, Preset::PlainTable.mapping()), Clock::manual(START)).unwrap()
    }

    #[test]
    fn only_the_same_cookie_of_the_same_source_names_what_it_named() {
        let (crm, again, shop) = (lookups("crm"), lookups("crm"), lookups("shop"));
        let mut verified = Verified::default();
        let (value, digest) = (b"s%3Asid0.Rep3%2FFvg0", Digest([7; 32]));
        assert_eq!(verified.get(&crm, "connect.sid", value), None);
        verified.keep(&crm, "connect.sid", value, digest);
        assert_eq!(verified.get(&crm, "connect.sid", value), Some(digest));
        assert_eq!(verified.get(&crm, "connect.si", value), None);
        assert_eq!(verified.get(&shop, "connect.sid", value), None);
        assert_eq!(
            verified.get(&again, "connect.sid", value),
            None,
            "the same name in another configuration"
        );
        for at in 0..value.len() {
            let mut other = value.to_vec();
            other[at] ^= 1;
            assert_eq!(verified.get(&crm, "connect.sid", &other), None);
        }
        assert_eq!(verified.get(&crm, "connect.sid", &value[1..]), None);
        assert_eq!(verified.get(&crm, "connect.sid", &[value, &b"x"[..]].concat()), None);
        verified.keep(&crm, "connect.sid", &[b'x'; LONGEST + 1], digest);
        assert_eq!(verified.held(), 1);
        verified.keep_those_of(|name| shop.are_called(name));
        assert_eq!(verified.held(), 0);
    }

    #[test]
    fn cookies_whose_hash_is_the_same_are_told_apart_by_their_bytes() {
        let crm = lookups("crm");
        for (cookie, value) in [("sid", &b"two"[..]), ("tid", b"one")] {
            let mut verified = Verified::default();
            verified.keep(&crm, "sid", b"one", Digest([7; 32]));
            // As if another hashed alike.
            let hash = verified.hash(cookie, value);
            let mut known = verified.slots.iter_mut().find_map(Option::take).unwrap();
            known.hash = hash;
            verified.slots[slot(hash)] = Some(known);
            assert_eq!(verified.get(&crm, cookie, value), None);
        }
    }
}
