use super::AccountError;
use super::Accounts;
use super::Origin;
use super::SignInError;
use super::sign_in::Occasion;
use crate::model::User;
use crate::store::PasswordChange;
use secrecy::ExposeSecret;
use secrecy::SecretString;

/// Why a user's change of password was not prepared.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The current password is not the one that was given, or could not be checked.
    #[error(transparent)]
    Current(#[from] SignInError),
    /// The new one may not be chosen.
    #[error(transparent)]
    New(#[from] AccountError),
}

impl Accounts {
    /// Prepares what a user asks for who gives the `current` password and a `new` one. It takes effect with
    /// [`crate::store::Store::change_password`], which ends all sessions of the user. A wrong current password is
    /// counted, answered and audited as at a log-in.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn prepare_change(
        &self,
        user: &User,
        current: SecretString,
        new: SecretString,
        origin: impl Into<Origin>,
    ) -> Result<PasswordChange, ChangeError> {
        let same = current.expose_secret() == new.expose_secret();
        // Before anything is said of the new one: nobody learns by it what the old one is.
        let proven = self
            .prove(user.username.as_str(), current, origin.into(), Occasion::Change)
            .await?;
        if proven.user.id != user.id {
            return Err(SignInError::Wrong.into());
        }
        if same {
            return Err(AccountError::SamePassword.into());
        }
        let after = self.hash_for(&proven.user, new).await?;
        Ok(PasswordChange {
            before: proven.proof,
            after,
        })
    }
}
