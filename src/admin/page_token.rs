use super::refusal::Refusal;
use aws_lc_rs::hmac::{self, Key};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes of the tag that a token ends with.
const TAG: usize = 16;
/// The longest place that is remembered: the id of a ban.
const MOST_PLACE: usize = 128;

/// Tokens that tell where a list goes on. Nothing is kept here: a token holds its place and proves that this gateway (or
/// another with the same secrets) gave it for the same list with the same filters.
pub(super) struct PageTokens {
    keys: Vec<Key>,
}

impl PageTokens {
    /// The first of `keys` makes tokens, all of them verify.
    pub(super) fn new(keys: Vec<Key>) -> Self {
        Self { keys }
    }

    /// A token for `place` in the list that `about` describes.
    pub(super) fn make(&self, about: &str, place: &[u8]) -> Option<String> {
        let tag = hmac::sign(self.keys.first()?, &message(about, place));
        Some(URL_SAFE_NO_PAD.encode([place, &tag.as_ref()[..TAG]].concat()))
    }

    /// The place in the list that `about` describes.
    ///
    /// # Errors
    /// `Invalid` for a token that was not made here for this list.
    pub(super) fn read(&self, about: &str, token: &str) -> Result<Vec<u8>, Refusal> {
        let forged = || Refusal::Invalid("`after` is not the `next` of a list with these filters".to_owned());
        if token.len() > (MOST_PLACE + TAG).div_ceil(3) * 4 {
            return Err(forged());
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| forged())?;
        let at = bytes.len().checked_sub(TAG).ok_or_else(forged)?;
        let tag = bytes.split_off(at);
        let message = message(about, &bytes);
        let is_ours = |key: &Key| {
            let expected = hmac::sign(key, &message);
            aws_lc_rs::constant_time::verify_slices_are_equal(&expected.as_ref()[..TAG], &tag).is_ok()
        };
        self.keys.iter().any(is_ours).then_some(bytes).ok_or_else(forged)
    }
}

/// `about` holds no NUL, so that no two pairs give one message.
fn message(about: &str, place: &[u8]) -> Vec<u8> {
    [about.as_bytes(), b"\0", place].concat()
}

#[cfg(test)]
mod tests {
    use super::PageTokens;
    use aws_lc_rs::hmac::{HMAC_SHA256, Key};
    use proptest::prelude::*;

    fn tokens() -> PageTokens {
        PageTokens::new(vec![Key::new(HMAC_SHA256, &[1; 32])])
    }

    #[test]
    fn a_token_goes_on_in_its_own_list_only() {
        let made = tokens().make("/api/users\nsearch=a", b"ada").unwrap();
        assert_eq!(tokens().read("/api/users\nsearch=a", &made).unwrap(), b"ada");
        for other in ["/api/users\nsearch=b", "/api/users", "/api/sessions\nsearch=a"] {
            assert!(tokens().read(other, &made).is_err(), "{other}");
        }
        let stranger = PageTokens::new(vec![Key::new(HMAC_SHA256, &[2; 32])]);
        assert!(stranger.read("/api/users\nsearch=a", &made).is_err());
    }

    proptest! {
        #[test]
        fn no_invented_or_altered_token_is_read(text in "[A-Za-z0-9_=.-]{0,120}", at in 0_usize..25, byte in any::<u8>()) {
            prop_assert!(tokens().read("/api/users", &text).is_err());
            let made = tokens().make("/api/users", b"ada").unwrap();
            let mut altered = made.clone().into_bytes();
            let at = at % altered.len();
            altered[at] = byte;
            if let Ok(altered) = String::from_utf8(altered) && altered != made {
                prop_assert!(tokens().read("/api/users", &altered).is_err());
            }
        }
    }
}
