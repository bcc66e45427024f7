use super::Format;
use super::Settings;
use super::json::JsonLines;
use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is not understood.
    #[error(
        "`{0}` is no log level; write error, warn, info, debug or trace, or parts as in `info,portcullis::store=debug`"
    )]
    Level(String, #[source] tracing_subscriber::filter::ParseError),
    /// There is a log already.
    #[error("the log is set up already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sends what this process logs to stderr, for its whole life. `level` is a word such as `info`, or parts such as
/// `info,portcullis::store=debug`; empty means `info`. A closed stderr loses lines and nothing else.
///
/// # Errors
/// See [`LoggingError`].
pub fn init(settings: &Settings, level: &str) -> Result<(), LoggingError> {
    let (filter, handle) = reload::Layer::new(filter_of(level)?);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(Stderr)
        .log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(filter);
    let done = if settings.format.is_pretty() {
        registry
            .with(lines.with_ansi(io::stderr().is_terminal()).with_target(false))
            .try_init()
    } else {
        registry.with(lines.event_format(JsonLines)).try_init()
    };
    done.map_err(LoggingError::Twice)?;
    // The log was set up by this call, so there is no handle yet.
    let _ = FILTER.set(handle);
    Ok(())
}

/// The filter of the one log that a process has.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// A level that was understood and does not count yet.
pub struct Level(EnvFilter);

impl Level {
    /// Reads what [`init`] takes.
    ///
    /// # Errors
    /// See [`LoggingError::Level`].
    pub fn read(level: &str) -> Result<Self, LoggingError> {
        filter_of(level).map(Self)
    }

    /// Lines are written by this level from here on; where [`init`] set up no log, nothing happens.
    pub fn adopt(self) {
        if let Some(filter) = FILTER.get() {
            // Fails only where the log is gone.
            let _ = filter.reload(self.0);
        }
    }
}

fn filter_of(level: &str) -> Result<EnvFilter, LoggingError> {
    let level = if level.is_empty() { "info" } else { level };
    EnvFilter::try_new(level).map_err(|error| LoggingError::Level(level.to_owned(), error))
}

impl Format {
    /// Whether lines on stderr are for people.
    pub(super) fn is_pretty(self) -> bool {
        match self {
            Self::Auto => io::stderr().is_terminal(),
            Self::Pretty => true,
            Self::Json => false,
        }
    }
}

/// Standard error, where a line that cannot be written is lost: whoever closed it must not end the gateway.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // One call, one line: lines of the access log come between, never inside.
        let _lost = io::stderr().lock().write_all(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Stderr {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_none_is_refused_with_what_to_write() {
        let settings = Settings {
            format: Format::Json,
            access: false,
            access_file: None,
        };
        let error = init(&settings, "portcullis=loud").unwrap_err();
        assert!(error.to_string().contains("info,portcullis::store=debug"), "{error}");
    }
}
