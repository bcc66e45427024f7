use super::Settings;
use super::line::AccessLine;
use super::part;
use super::part::PARTS;
use prometheus_client::metrics::counter::Counter;
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use std::time::Instant;

/// Most bytes that wait in one part; lines beyond are lost and counted.
const FULL: usize = 1 << 20;
/// Most bytes of an empty buffer.
const KEPT: usize = 64 << 10;
/// How long lines wait for others to be written with them.
const GATHER: Duration = Duration::from_millis(50);

/// The access log. Writing a line formats it into a buffer of the core's own and never waits for the disk; a thread of
/// the log's own writes what has gathered, 20 times a second at most. Clones share the log; when the last one goes, what
/// waits is still written.
#[derive(Clone)]
pub struct AccessLog(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    now: Box<dyn Fn() -> i64 + Send + Sync>,
    pretty: bool,
    lost: Counter,
}

#[derive(Default)]
struct Shared {
    parts: [Part; PARTS],
    /// Whether the writer sleeps until somebody has something.
    idle: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
#[repr(align(64))]
struct Part(Mutex<Vec<u8>>);

#[derive(Default)]
struct State {
    work: bool,
    stop: bool,
    /// Rounds of writing that ended.
    rounds: u64,
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AccessLog").finish_non_exhaustive()
    }
}

impl AccessLog {
    /// The access log that `settings` ask for: appended to a file (made with mode 0640), or on stderr; `None` where none
    /// is wanted. `now` tells the time in microseconds since 1970; `lost` counts lines that could not be written.
    ///
    /// # Errors
    /// The file cannot be opened, or there is no thread for it.
    pub fn new(
        settings: &Settings,
        now: impl Fn() -> i64 + Send + Sync + 'static,
        lost: Counter,
    ) -> io::Result<Option<Self>> {
        if !settings.access {
            return Ok(None);
        }
        let log = match &settings.access_file {
            Some(path) => {
                let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
                Self::over(file, now, false, lost)?
            }
            None => Self::over(io::stderr(), now, settings.format.is_pretty(), lost)?,
        };
        Ok(Some(log))
    }

    fn over(
        out: impl Write + Send + 'static,
        now: impl Fn() -> i64 + Send + Sync + 'static,
        pretty: bool,
        lost: Counter,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            shared: Arc::clone(&shared),
            out,
            lost: lost.clone(),
        };
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self(Arc::new(Handle {
            shared,
            now: Box::new(now),
            pretty,
            lost,
        })))
    }

    /// Takes `line` to be written soon; never waits. When too much waits already the line is lost and counted.
    pub fn write(&self, line: &AccessLine<'_>) {
        let Handle {
            shared,
            now,
            pretty,
            lost,
        } = &*self.0;
        let mut buffer = lock(&shared.parts[part::of_thread()].0);
        if buffer.len() >= FULL {
            lost.inc();
            return;
        }
        if *pretty {
            line.write_pretty(now(), &mut buffer);
        } else {
            line.write_json(now(), &mut buffer);
        }
        drop(buffer);
        // Only the first line after a pause pays for a wake-up.
        if shared.idle.load(SeqCst) && shared.idle.swap(false, SeqCst) {
            shared.wake(|state| state.work = true);
        }
    }

    /// Waits until everything written before is on its way to the disk, at most `most`; whether it is. Blocks.
    #[must_use]
    pub fn flush(&self, most: Duration) -> bool {
        let shared = &self.0.shared;
        let deadline = Instant::now() + most;
        let mut state = lock(&shared.state);
        // The round under way may have passed a part already; the one after it has not.
        let enough = state.rounds + 2;
        while state.rounds < enough {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            state.work = true;
            shared.changed.notify_all();
            state = shared
                .changed
                .wait_timeout(state, left.min(GATHER))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.wake(|state| state.stop = true);
    }
}

impl Shared {
    fn wake(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The log's own thread.
struct Writer<W> {
    shared: Arc<Shared>,
    out: W,
    lost: Counter,
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        let mut spare = Vec::new();
        loop {
            let stopping = lock(&self.shared.state).stop;
            let wrote = self.round(&mut spare);
            if stopping && !wrote {
                return;
            }
            self.rest(wrote);
        }
    }

    /// Writes what waits in every part; whether there was anything.
    fn round(&mut self, spare: &mut Vec<u8>) -> bool {
        let mut wrote = false;
        for part in &self.shared.parts {
            std::mem::swap(&mut *lock(&part.0), spare);
            if spare.is_empty() {
                continue;
            }
            wrote = true;
            if self.out.write_all(spare).is_err() {
                self.lost.inc_by(memchr::memchr_iter(b'\n', spare).count() as u64);
            }
            spare.clear();
            spare.shrink_to(KEPT);
        }
        let _lost = self.out.flush();
        lock(&self.shared.state).rounds += 1;
        self.shared.changed.notify_all();
        wrote
    }

    /// A pause to gather lines, or, when there were none, until there are some.
    fn rest(&self, wrote: bool) {
        let state = lock(&self.shared.state);
        if wrote {
            let paused = self
                .shared
                .changed
                .wait_timeout_while(state, GATHER, |state| !state.work && !state.stop);
            paused.unwrap_or_else(PoisonError::into_inner).0.work = false;
            return;
        }
        drop(state);
        self.shared.idle.store(true, SeqCst);
        // A line that came before this word said "idle" woke nobody.
        let missed = self.shared.parts.iter().any(|part| !lock(&part.0).is_empty());
        let state = lock(&self.shared.state);
        let waited = self
            .shared
            .changed
            .wait_while(state, |state| !missed && !state.work && !state.stop);
        waited.unwrap_or_else(PoisonError::into_inner).work = false;
        self.shared.idle.store(false, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Format;
    use std::net::IpAddr;
    use std::net::Ipv4Addr;
    use std::sync::mpsc;

    fn line(path: &str) -> AccessLine<'_> {
        AccessLine {
            request_id: 1,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            method: "GET",
            host: "h",
            path,
            status: 200,
            bytes: 0,
            duration: Duration::ZERO,
            complete: true,
            route: None,
            user: None,
            session: None,
            refusal: None,
            detail: None,
            server: None,
        }
    }

    fn settings(access: bool, access_file: Option<std::path::PathBuf>) -> Settings {
        Settings {
            format: Format::Json,
            access,
            access_file,
        }
    }

    #[test]
    fn every_line_of_every_thread_is_appended_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        std::fs::write(&path, "kept\n").unwrap();
        let log = AccessLog::new(&settings(true, Some(path.clone())), || 0, Counter::default())
            .unwrap()
            .unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let log = log.clone();
                scope.spawn(move || (0..500).for_each(|n| log.write(&line(&format!("/{n}")))));
            }
        });
        assert!(log.flush(Duration::from_secs(10)));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("kept\n"));
        assert_eq!(text.lines().count(), 2_001);
        assert!(
            text.lines()
                .skip(1)
                .all(|line| line.starts_with('{') && line.ends_with('}'))
        );
        log.write(&line("/after"));
        assert!(log.flush(Duration::from_secs(10)));
        assert!(std::fs::read_to_string(&path).unwrap().contains("/after"));
    }

    #[test]
    fn no_log_is_kept_where_none_is_wanted_and_a_file_that_cannot_be_is_an_error() {
        assert!(
            AccessLog::new(&settings(false, None), || 0, Counter::default())
                .unwrap()
                .is_none()
        );
        let nowhere = settings(true, Some("/nowhere/access.log".into()));
        assert!(AccessLog::new(&nowhere, || 0, Counter::default()).is_err());
    }

    /// Says when it is written to and waits until it is let go on; then fails.
    struct Stuck(mpsc::Sender<()>, mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            let _nobody = self.0.send(());
            let _gone = self.1.recv();
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_disk_costs_lines_that_are_counted_and_nobody_waits() {
        let (told, begun) = mpsc::channel();
        let (go_on, held) = mpsc::channel();
        let lost = Counter::default();
        let log = AccessLog::over(Stuck(told, held), || 0, false, lost.clone()).unwrap();
        log.write(&line("/first"));
        begun.recv_timeout(Duration::from_secs(10)).unwrap();
        let path = "/".repeat(1_000);
        for _ in 0..2_000 {
            log.write(&line(&path));
        }
        let dropped: u64 = lost.get();
        assert!((500..1_500).contains(&dropped), "{dropped}");
        assert!(!log.flush(Duration::from_millis(1)));
        drop(go_on);
        assert!(log.flush(Duration::from_secs(10)));
        assert_eq!(lost.get(), 2_001);
    }

    #[test]
    fn what_waits_is_written_when_the_last_clone_goes() {
        let (told, begun) = mpsc::channel();
        let (go_on, held) = mpsc::channel();
        drop(go_on);
        let log = AccessLog::over(Stuck(told, held), || 0, false, Counter::default()).unwrap();
        log.write(&line("/last"));
        drop(log);
        begun.recv_timeout(Duration::from_secs(10)).unwrap();
    }
}
