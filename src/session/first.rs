use super::Entry;
use super::Identified;
use super::Live;
use super::Sessions;
use super::cache::Cache;
use super::cache::Verdict;
use super::source::Lookups;
use super::token::Named;
use super::verified::Verified;
use crate::model::Digest;
use prometheus_client::metrics::counter::Counter;
use std::cell::Cell;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Sessions one core remembers: half a mebibyte of pointers, taken with the first session.
const SLOTS: usize = 65_536;
/// Hits after which the shared counter is told: it is one cache line for all cores.
const REPORT: u64 = 64;

type Slots = Rc<RefCell<Vec<Option<Arc<Entry>>>>>;

/// One core's first level in front of [`Sessions`]: a fixed, direct-mapped array, read without a lock. Each hit is
/// checked like any cached answer (changes, age, ends), so it forgets as fast as the shared cache. Not `Send`.
pub struct Local {
    shared: Arc<Sessions>,
    slots: Slots,
    verified: Rc<RefCell<Verified>>,
    hits: Cell<u64>,
    counter: Counter,
    here: PhantomData<Rc<()>>,
}

impl Local {
    /// An empty first level.
    #[must_use]
    pub fn new(shared: Arc<Sessions>) -> Self {
        Self::over(shared, Rc::default(), Rc::default())
    }

    fn over(shared: Arc<Sessions>, slots: Slots, verified: Rc<RefCell<Verified>>) -> Self {
        let counter = shared.cache.metrics.cache_hit("first");
        Self {
            shared,
            slots,
            verified,
            hits: Cell::new(0),
            counter,
            here: PhantomData,
        }
    }

    /// The same first level in front of a successor of its sessions, without what it remembers of sources that the
    /// successor does not have, or has in another form.
    #[must_use]
    pub fn successor(&self, shared: Arc<Sessions>) -> Self {
        for slot in self.slots.borrow_mut().iter_mut() {
            if slot.as_ref().is_some_and(|entry| !shared.keeps(entry)) {
                *slot = None;
            }
        }
        self.verified.borrow_mut().keep_those_of(|name| shared.reads(name));
        Self::over(shared, Rc::clone(&self.slots), Rc::clone(&self.verified))
    }

    /// The sessions behind this first level.
    #[must_use]
    pub fn shared(&self) -> &Arc<Sessions> {
        &self.shared
    }

    /// As [`Local::identify`] when that needs no waiting: no cookie, none of ours, or one whose session this core
    /// remembers. `None`: call `identify`. Allocates nothing.
    #[must_use]
    pub fn try_identify(&self, values: &[&[u8]]) -> Option<Identified> {
        self.at_once(&self.shared.tokens.read(values))
    }

    /// As [`Sessions::identify`], asking the first level before the shared cache and the store.
    pub async fn identify(&self, values: &[&[u8]], grace: Duration) -> Identified {
        self.identify_named(&self.shared.tokens.read(values), grace).await
    }

    pub(super) async fn identify_named(&self, named: &Named, grace: Duration) -> Identified {
        if let Some(identified) = self.at_once(named) {
            return identified;
        }
        self.report(0);
        let identified = self.shared.ask(named, grace).await;
        if let Identified::Live(Live { entry, stale: None }) = &identified {
            self.remember(entry);
        }
        identified
    }

    pub(super) fn at_once(&self, named: &Named) -> Option<Identified> {
        match named.digests() {
            [] if named.any => Some(Identified::Dead),
            [] => Some(Identified::Anonymous),
            [digest] => self.remembered(digest).map(|entry| {
                self.report(1);
                Identified::Live(Live { entry, stale: None })
            }),
            _ => None,
        }
    }

    fn remembered(&self, digest: &Digest) -> Option<Arc<Entry>> {
        self.believed(&self.shared.cache, digest, |entry| entry.source.is_none())
    }

    /// A row that these very `lookups` found, of which `cache` keeps the answer. Another configuration reads the same row in
    /// another way, and counts its changes elsewhere; and what `cache` let go of, another core may know better by now.
    pub(super) fn remembered_of(&self, cache: &Cache, lookups: &Lookups, digest: &Digest) -> Option<Arc<Entry>> {
        let found = self.believed(cache, digest, |entry| {
            let of_these = entry.source.as_ref().is_some_and(|name| lookups.are_called(name));
            of_these && !entry.is_let_go()
        })?;
        self.report(1);
        Some(found)
    }

    /// By what the session is known that this cookie of a source's names, where this core has verified it before.
    pub(super) fn verified(&self, lookups: &Lookups, cookie: &str, value: &[u8]) -> Option<Digest> {
        self.verified.borrow().get(lookups, cookie, value)
    }

    /// Knows it from now on.
    pub(super) fn verify(&self, lookups: &Lookups, cookie: &str, value: &[u8], digest: Digest) {
        self.verified.borrow_mut().keep(lookups, cookie, value, digest);
    }

    fn believed(&self, cache: &Cache, digest: &Digest, is_its: impl Fn(&Entry) -> bool) -> Option<Arc<Entry>> {
        let slots = self.slots.borrow();
        let entry = slots.get(slot(digest))?.as_ref()?;
        let known = entry.session.digest == *digest && is_its(entry);
        (known && cache.judge(entry, cache.time.moment()) == Verdict::Fresh).then(|| Arc::clone(entry))
    }

    pub(super) fn remember(&self, entry: &Arc<Entry>) {
        let mut slots = self.slots.borrow_mut();
        if slots.is_empty() {
            slots.resize(SLOTS, None);
        }
        slots[slot(&entry.session.digest)] = Some(Arc::clone(entry));
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.slots.borrow().iter().flatten().count() + self.verified.borrow().held()
    }

    /// Adds to the hits and tells the shared counter now and then; with zero, at once.
    fn report(&self, more: u64) {
        let hits = self.hits.get() + more;
        if hits >= REPORT || more == 0 {
            self.counter.inc_by(hits);
            self.hits.set(0);
        } else {
            self.hits.set(hits);
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.report(0);
    }
}

/// Other bytes than the stripes use, so that two sessions that share a slot seldom share a stripe.
fn slot(digest: &Digest) -> usize {
    usize::from(u16::from_le_bytes([digest.0[2], digest.0[3]])) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::super::testing::entry;
    use super::*;

    #[tokio::test]
    async fn sessions_that_share_a_slot_are_never_taken_for_each_other() {
        let bench = Bench::new();
        let local = bench.local();
        let entry = Arc::new(entry("anna"));
        let other = Digest([[9; 2], [7; 2], [9; 2]].concat().repeat(6)[..32].try_into().unwrap());
        assert_eq!(slot(&entry.session.digest), slot(&other));
        local.remember(&entry);
        assert!(local.remembered(&entry.session.digest).is_some());
        assert!(local.remembered(&other).is_none());
    }

    #[tokio::test]
    async fn an_applications_row_is_never_taken_for_a_session_of_ours() {
        let bench = Bench::new();
        let local = bench.local();
        let mut theirs = entry("anna");
        theirs.source = Some("crm".into());
        let digest = theirs.session.digest;
        local.remember(&Arc::new(theirs));
        assert!(local.remembered(&digest).is_none());
    }
}
