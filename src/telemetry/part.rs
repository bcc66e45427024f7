use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// Into how many parts hot counters and buffers are split, so that cores don't share cache lines.
pub(super) const PARTS: usize = 16;

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static PART: usize = NEXT.fetch_add(1, Relaxed) % PARTS;
}

/// The part of this thread. Two threads with one part are slower, never wrong.
pub(super) fn of_thread() -> usize {
    PART.with(|part| *part)
}
