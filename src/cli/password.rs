//! Where commands get passwords from: a prompt, or standard input. Never an argument: other users can read those.

use super::failure::Wrong;
use anyhow::{Context, Result, bail};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use std::io::{BufRead, BufReader, IsTerminal, Read};

/// The most that is read for a password.
const LONGEST_INPUT: u64 = 4096;

/// How a password is given.
#[derive(Args, Debug)]
pub(super) struct PasswordSource {
    /// Read the password from standard input (its first line) instead of asking for it
    #[arg(long)]
    password_stdin: bool,
}

impl PasswordSource {
    /// Reads the password, twice where a person types it.
    pub(super) fn read(&self, username: &str) -> Result<SecretString> {
        if self.password_stdin {
            return first_line(std::io::stdin().lock());
        }
        if !std::io::stdin().is_terminal() {
            bail!(Wrong(
                "there is no terminal to ask for the password on; pass it on standard input with --password-stdin"
                    .into()
            ));
        }
        let ask = |prompt: String| rpassword::prompt_password(prompt).context("cannot read the password");
        let first = SecretString::from(ask(format!("Password for {username}: "))?);
        let second = SecretString::from(ask("The same again: ".into())?);
        if first.expose_secret() != second.expose_secret() {
            bail!("the two passwords differ; nothing was changed");
        }
        Ok(first)
    }
}

/// The first line without its end; the rest is left.
fn first_line(input: impl Read) -> Result<SecretString> {
    let mut line = String::new();
    let mut input = BufReader::new(input.take(LONGEST_INPUT));
    input
        .read_line(&mut line)
        .context("cannot read the password from standard input")?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        bail!(Wrong("standard input had no password".into()));
    }
    Ok(line.into())
}

#[cfg(test)]
mod tests {
    use super::first_line;
    use secrecy::ExposeSecret;

    #[test]
    fn a_password_is_the_first_line_without_its_end() {
        for input in ["päss word", "päss word\n", "päss word\r\n", "päss word\nmore\n"] {
            assert_eq!(
                first_line(input.as_bytes()).unwrap().expose_secret(),
                "päss word",
                "{input:?}"
            );
        }
        assert!(first_line(&b""[..]).is_err());
        assert!(first_line(&b"\n"[..]).is_err());
    }
}
