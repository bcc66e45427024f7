use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretSlice;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use zeroize::Zeroizing;

const BYTES: usize = 64;
const NAME: &str = "session.secret";

/// Why there is no kept session secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The folder or the file cannot be used.
    #[error("cannot keep the session secret in {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{0} holds no session secret; delete it to have a new one made (everybody signs in again then)")]
    Damaged(PathBuf),
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    Randomness,
}

/// The session secret kept in `data_dir` (`session.secret`, 64 random bytes in base64, mode 0600), made on the first
/// call together with the folder (mode 0700). Two processes that start at once get the same one. Blocks on the disk.
///
/// # Errors
/// See [`SecretError`].
pub fn load_or_make_secret(data_dir: &Path) -> Result<SecretSlice<u8>, SecretError> {
    let path = data_dir.join(NAME);
    let failed = |source| SecretError::File {
        path: path.clone(),
        source,
    };
    let mut folder = DirBuilder::new();
    folder.recursive(true).mode(0o700).create(data_dir).map_err(failed)?;
    match std::fs::read(&path) {
        Ok(text) => decode(&Zeroizing::new(text)).ok_or_else(|| SecretError::Damaged(path.clone())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(data_dir, &path, failed)?;
            let text = std::fs::read(&path).map_err(failed)?;
            decode(&Zeroizing::new(text)).ok_or_else(|| SecretError::Damaged(path.clone()))
        }
        Err(error) => Err(failed(error)),
    }
}

fn decode(text: &[u8]) -> Option<SecretSlice<u8>> {
    let bytes = STANDARD.decode(text.trim_ascii()).ok()?;
    (bytes.len() == BYTES).then(|| SecretSlice::from(bytes))
}

/// Writes a new secret whole under another name, then links it: a crash leaves no half a secret, and a file that
/// somebody else made meanwhile stays.
fn make(data_dir: &Path, path: &Path, failed: impl Fn(io::Error) -> SecretError) -> Result<(), SecretError> {
    let mut bytes = Zeroizing::new([0_u8; BYTES]);
    let mut suffix = [0_u8; 8];
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| SecretError::Randomness)?;
    getrandom::fill(&mut suffix).map_err(|_| SecretError::Randomness)?;
    let mut text = Zeroizing::new(String::with_capacity(2 * BYTES));
    STANDARD.encode_string(bytes.as_slice(), &mut text);
    text.push('\n');
    let draft = data_dir.join(format!(".{NAME}.{}", hex::encode(suffix)));
    let written = write(&draft, text.as_bytes()).and_then(|()| match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let removed = std::fs::remove_file(&draft);
    written.and(removed).map_err(&failed)?;
    File::open(data_dir)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_secret_is_made_once_for_its_owner_only_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("deep/data");
        let made = load_or_make_secret(&data_dir).unwrap();
        assert_eq!(made.expose_secret().len(), 64);
        assert_eq!((mode(&data_dir), mode(&data_dir.join(NAME))), (0o700, 0o600));
        assert_eq!(std::fs::read_dir(&data_dir).unwrap().count(), 1);
        assert_eq!(
            load_or_make_secret(&data_dir).unwrap().expose_secret(),
            made.expose_secret()
        );
        let elsewhere = load_or_make_secret(folder.path()).unwrap();
        assert_ne!(elsewhere.expose_secret(), made.expose_secret());
    }

    #[test]
    fn processes_that_start_at_once_get_the_same_secret() {
        let folder = tempfile::tempdir().unwrap();
        let secrets: Vec<_> = std::thread::scope(|scope| {
            let made: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| load_or_make_secret(folder.path()).unwrap()))
                .collect();
            made.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(
            secrets
                .iter()
                .all(|secret| secret.expose_secret() == secrets[0].expose_secret())
        );
    }

    #[test]
    fn a_damaged_file_is_refused_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), "short").unwrap();
        assert!(matches!(
            load_or_make_secret(folder.path()),
            Err(SecretError::Damaged(_))
        ));
        assert_eq!(std::fs::read(folder.path().join(NAME)).unwrap(), b"short");
    }
}
