//! Watches the files that the configuration was read from, certificates among them.
//!
//! They are looked at once a second instead of being subscribed to: that sees a swapped symlink anywhere on the path (as
//! Kubernetes and certbot do it), a file that was replaced or is only made later, and changes on network file systems,
//! which tell nobody; it needs no kernel object of which there may be too few, and costs one `stat` a file.

use super::reload::Reloader;
use super::reload::Reread;
use super::reload::read_twice;
use crate::config::Config;
use crate::net::TlsSettings;
use aws_lc_rs::digest;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs::File;
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;

/// How often files are looked at. What changed must be the same in two looks: editors and copies write in pieces.
const LOOK: Duration = Duration::from_secs(1);
/// A file that never comes to rest is read all the same.
const RESTLESS: Duration = Duration::from_secs(10);
/// Most bytes of one file that are compared; no configuration or certificate is larger.
const MOST: u64 = 4 << 20;
/// How often local certificates are looked at: those that end within 30 days are made anew.
const RENEW: Duration = Duration::from_hours(6);

/// What `stat` tells of a file; `None`: it is not there, or no file.
type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;

/// SHA-256 of every file's start; of one that cannot be read, nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents(BTreeMap<PathBuf, Option<Vec<u8>>>);

impl Contents {
    /// Reads them. Blocks.
    pub fn of(files: &BTreeSet<PathBuf>) -> Self {
        Self(files.iter().map(|file| (file.clone(), digest_of(file))).collect())
    }

    /// Which files these are of.
    pub fn files(&self) -> BTreeSet<PathBuf> {
        self.0.keys().cloned().collect()
    }
}

/// Certificates and keys that a configuration names.
pub(super) fn certificates(config: &Config) -> impl Iterator<Item = PathBuf> {
    let listeners = config.net.listeners.iter();
    let pairs = listeners.filter_map(|listener| match &listener.tls {
        Some(TlsSettings::Files(files)) => Some(files),
        _ => None,
    });
    pairs.flatten().flat_map(|pair| [pair.chain.clone(), pair.key.clone()])
}

fn stamp_of(path: &Path) -> Stamp {
    let of = |found: Metadata| {
        (
            found.dev(),
            found.ino(),
            found.size(),
            found.mtime(),
            found.mtime_nsec(),
            found.ctime(),
            found.ctime_nsec(),
        )
    };
    std::fs::metadata(path).ok().filter(Metadata::is_file).map(of)
}

/// Only of what is a file: a pipe can be read once, and may never end.
fn digest_of(path: &Path) -> Option<Vec<u8>> {
    stamp_of(path)?;
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(digest::digest(&digest::SHA256, &bytes).as_ref().to_vec())
}

/// What the last look saw.
#[derive(Default)]
struct Watch {
    stamps: BTreeMap<PathBuf, Stamp>,
    /// Since when something is other than it was read, and not at rest.
    restless: Option<Instant>,
}

impl Watch {
    /// Takes a look; whether the contents should be compared.
    fn look(&mut self, stamps: BTreeMap<PathBuf, Stamp>, now: Instant) -> bool {
        let moved = !self.stamps.is_empty() && self.stamps != stamps;
        self.stamps = stamps;
        if moved {
            let since = *self.restless.get_or_insert(now);
            return now.duration_since(since) >= RESTLESS && self.restless.take().is_some();
        }
        self.restless.take().is_some()
    }
}

impl Reloader {
    /// Reloads when the content of a file that was read has changed, and keeps local certificates from ending. To be ended
    /// by dropping.
    pub async fn watch_files(self: Arc<Self>) {
        let mut watch = Watch::default();
        if let Some(reread) = self.reread.clone().filter(Reread::can_be_read_again) {
            let first = blocking(move || read_twice(&reread, BTreeSet::new()).1).await;
            self.saw(first.unwrap_or_default());
        }
        let mut renewed = Instant::now();
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if renewed.elapsed() >= RENEW {
                renewed = Instant::now();
                self.renew_certificates().await;
            }
            if !self.newest.borrow().config.watch_files || self.reread.is_none() {
                continue;
            }
            let files = self.read_from().files();
            let stamps = blocking(move || {
                files
                    .into_iter()
                    .map(|file| (stamp_of(&file), file))
                    .map(|(stamp, file)| (file, stamp))
                    .collect()
            })
            .await;
            let Some(stamps) = stamps else { return };
            if watch.look(stamps, Instant::now()) {
                let before = self.read_from();
                let files = before.files();
                let Some(contents) = blocking(move || Contents::of(&files)).await else {
                    return;
                };
                if contents != before {
                    // Told in the log.
                    let _ = self.reload("file").await;
                }
            }
        }
    }
}

/// Files may hang, on a network above all: only a thread for such work waits then. `None`: the runtime ends.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamps(size: u64) -> BTreeMap<PathBuf, Stamp> {
        BTreeMap::from([(PathBuf::from("a"), Some((1, 1, size, 0, 0, 0, 0)))])
    }

    #[test]
    fn a_change_counts_once_it_has_come_to_rest_or_never_does() {
        let mut watch = Watch::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!watch.look(stamps(1), at(0)), "the first look only learns");
        assert!(!watch.look(stamps(1), at(1)));
        assert!(!watch.look(stamps(2), at(2)), "still being written");
        assert!(watch.look(stamps(2), at(3)), "at rest");
        assert!(!watch.look(stamps(2), at(4)), "told once");
        let told = (5..20)
            .filter(|second| watch.look(stamps(*second), at(*second)))
            .count();
        assert_eq!(told, 1, "every ten seconds where it never rests");
    }

    #[test]
    fn contents_differ_by_what_is_read_through_links_and_pipes_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two, link) = (
            folder.path().join("1"),
            folder.path().join("2"),
            folder.path().join("link"),
        );
        std::fs::write(&one, "a").unwrap();
        std::fs::write(&two, "a").unwrap();
        std::os::unix::fs::symlink("1", &link).unwrap();
        let files = BTreeSet::from([link.clone(), folder.path().join("later"), PathBuf::from("/dev/null")]);
        let before = Contents::of(&files);
        let swap = |to: &str| {
            std::os::unix::fs::symlink(to, folder.path().join("next")).unwrap();
            std::fs::rename(folder.path().join("next"), &link).unwrap();
        };
        let seen = stamp_of(&link);
        swap("2");
        assert_ne!(seen, stamp_of(&link), "a swapped link is seen");
        assert_eq!(
            before,
            Contents::of(&files),
            "and is no change where the content is the same"
        );
        std::fs::write(&two, "b").unwrap();
        assert_ne!(before, Contents::of(&files));
        assert_eq!(before.files(), files);
    }
}
