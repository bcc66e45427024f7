//! A new program takes over without a refused connection: it is started with the listening sockets, and when it serves,
//! this one drains. Both take from one queue meanwhile.

use super::herald;
use super::herald::Word;
use super::reload::Reloader;
use crate::store::Place;
use crate::telemetry::Chain;
use anyhow::Context;
use anyhow::anyhow;
use anyhow::bail;
use anyhow::ensure;
use command_fds::CommandFdExt;
use command_fds::FdMapping;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixDatagram;
use tokio::process::Child;
use tokio::process::Command;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

/// How long the new process may take until it serves; migrations among it.
const PATIENCE: Duration = Duration::from_mins(2);
/// What it says then.
const SERVES: &[u8] = b"serves";
/// The first descriptor that is passed (`sd_listen_fds`).
const FIRST: RawFd = 3;

/// How this process was started: the name is looked up again, so that it finds what was installed meanwhile.
pub(super) struct Program {
    name: OsString,
    arguments: Vec<OsString>,
}

impl Program {
    /// This one.
    pub fn of_process() -> Self {
        let mut words = std::env::args_os();
        Self {
            name: words.next().unwrap_or_else(|| OsString::from("portcullis")),
            arguments: words.collect(),
        }
    }

    fn start_with(&self, sockets: Vec<OwnedFd>) -> anyhow::Result<Child> {
        let count = sockets.len();
        let mappings = (FIRST..).zip(sockets);
        let mappings = mappings.map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });
        let mut command = std::process::Command::new(&self.name);
        command
            .args(&self.arguments)
            .env("LISTEN_FDS", count.to_string())
            // Whose pid that would be is not known before it runs; the watchdog asks the new one.
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDNAMES")
            .env_remove("WATCHDOG_PID")
            .fd_mappings(mappings.collect())
            .context("two sockets under one number")?;
        Command::from(command)
            .spawn()
            .with_context(|| format!("cannot start {}", self.name.display()))
    }
}

impl Reloader {
    /// Hands over on each SIGUSR2, until the process ends.
    ///
    /// # Errors
    /// The signal cannot be caught.
    pub fn hand_over_on_signal(self: &Arc<Self>, program: Program) -> io::Result<()> {
        let mut signals = signal(SignalKind::user_defined2())?;
        let (this, stop) = (Arc::clone(self), self.permanent.lifecycle.hard.clone());
        let work = async move {
            while signals.recv().await.is_some() {
                match this.hand_over(&program).await {
                    Ok(process) => {
                        tracing::info!(process, "another process has taken over; finishing what is under way");
                    }
                    Err(error) => tracing::error!(
                        error = %Chain(error.as_ref()),
                        "no other process took over; this one goes on"
                    ),
                }
            }
        };
        self.permanent
            .lifecycle
            .tasks
            .spawn(async move { stop.run_until_cancelled(work).await });
        Ok(())
    }

    /// Starts the program anew with the listening sockets, waits until it serves, and begins to stop. Returns its process
    /// id.
    async fn hand_over(&self, program: &Program) -> anyhow::Result<u32> {
        let lifecycle = &self.permanent.lifecycle;
        ensure!(!lifecycle.draining.is_cancelled(), "this process is stopping");
        ensure!(
            matches!(self.started.store.place, Place::Postgres { .. }),
            "a SQLite file serves one gateway at a time: restart it; with Postgres, two may run side by side"
        );
        ensure!(
            std::process::id() != 1,
            "this is the first process of a container, which ends with it: replace the container"
        );
        let _turn = self.turn.lock().await;
        let mut sockets = self.network.sockets().context("cannot pass the listening sockets")?;
        let (ours, theirs) = std::os::unix::net::UnixDatagram::pair().context("no socket to be told by")?;
        ours.set_nonblocking(true).context("no socket to be told by")?;
        let ours = UnixDatagram::from_std(ours).context("no socket to be told by")?;
        sockets.push(OwnedFd::from(theirs));
        tracing::info!("starting another process that takes over");
        let mut successor = program.start_with(sockets)?;
        let process = successor.id().context("it ended at once")?;
        let serves = tokio::select! {
            serves = wait_until_it_serves(&mut successor, &ours) => serves,
            // Whoever stops the gateway means both.
            () = lifecycle.draining.cancelled() => Err(anyhow!("this process is stopping")),
        };
        if let Err(error) = serves {
            // It may have ended by itself.
            let _ = successor.kill().await;
            return Err(error);
        }
        lifecycle.handed_over.cancel();
        herald::tell(Word::HandedTo(process)).await;
        lifecycle.draining.cancel();
        Ok(process)
    }
}

async fn wait_until_it_serves(successor: &mut Child, ours: &UnixDatagram) -> anyhow::Result<()> {
    let mut word = [0; SERVES.len()];
    tokio::select! {
        heard = ours.recv(&mut word) => {
            ensure!(heard.is_ok_and(|length| word[..length] == *SERVES), "it said something else than that it serves");
            Ok(())
        }
        ended = successor.wait() => match ended {
            Ok(status) => bail!("the new process ended before it served ({status}); its own log says why"),
            Err(error) => bail!("the new process cannot be waited for: {error}"),
        },
        () = tokio::time::sleep(PATIENCE) => bail!("the new process did not serve within {} s", PATIENCE.as_secs()),
    }
}

/// Tells the process that this one takes over from.
pub(super) fn tell_predecessor(predecessor: &std::os::unix::net::UnixDatagram) {
    if let Err(error) = predecessor.send(SERVES) {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(
            error,
            "the process before this one could not be told that this one serves"
        );
    }
}
