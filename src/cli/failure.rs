//! How a command ends when it could not do what it was asked.

use super::output::OutputError;
use crate::account::AccountError;
use crate::config::Problems;
use std::io::{ErrorKind, IsTerminal};
use std::process::ExitCode;

/// Wrong usage or configuration; ends with 2 where other failures end with 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Wrong(pub String);

/// Tells a person what went wrong and gives the exit code.
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(OutputError(cause)) = error.downcast_ref()
        && cause.kind() == ErrorKind::BrokenPipe
    {
        return ExitCode::SUCCESS;
    }
    if let Some(problems) = error.downcast_ref::<Problems>() {
        show(problems);
        return ExitCode::from(if problems.could_not_read() { 1 } else { 2 });
    }
    let mut told = error.to_string();
    anstream::eprintln!("error: {told}");
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Drivers repeat their cause in their own words.
        if !told.contains(&cause) {
            anstream::eprintln!("  caused by: {cause}");
            told = cause;
        }
    }
    ExitCode::from(if is_wrong(error) { 2 } else { 1 })
}

/// Whether what was asked for cannot be, whatever the state is.
fn is_wrong(error: &anyhow::Error) -> bool {
    let account = error.downcast_ref::<AccountError>();
    let unfit = account.is_some_and(|account| match account {
        AccountError::Username(_)
        | AccountError::Reserved(_)
        | AccountError::At
        | AccountError::Office(_)
        | AccountError::Edge
        | AccountError::Email
        | AccountError::Name
        | AccountError::NameDelimiter
        | AccountError::LookAlike
        | AccountError::Group(_)
        | AccountError::TooManyGroups
        | AccountError::Source(_)
        | AccountError::AppUser
        | AccountError::TooManyAppUsers
        | AccountError::ShortPassword
        | AccountError::LongPassword
        | AccountError::CommonPassword
        | AccountError::OwnPassword
        | AccountError::SamePassword
        | AccountError::Hash(_) => true,
        AccountError::NoSuchUser(_)
        | AccountError::Taken(_)
        | AccountError::Throttled { .. }
        | AccountError::Busy
        | AccountError::Randomness
        | AccountError::Store(_) => false,
    });
    unfit || error.is::<Wrong>()
}

/// Shows problems of a configuration, with colours on a terminal.
pub(super) fn show(problems: &Problems) {
    if !problems.is_empty() {
        anstream::eprintln!("{}", problems.to_text(std::io::stderr().is_terminal()).trim_end());
    }
}
