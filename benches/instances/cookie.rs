//! Cookies that somebody invented: with the secret in hand, or without.

use aws_lc_rs::hkdf;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The secret of all instances here.
pub(super) const SECRET: &str = "a secret for figures only, of more than 32 bytes";
pub(super) const NAME: &str = "portcullis";

/// A cookie of no session: well signed, or with anything in place of the signature.
pub(super) fn invented(number: u64, signed: bool) -> String {
    let mut raw = [0_u8; 48];
    raw[..8].copy_from_slice(&number.to_le_bytes());
    raw[8..16].copy_from_slice(&u64::from(std::process::id()).to_le_bytes());
    if signed {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis");
        let prk = salt.extract(SECRET.as_bytes());
        let okm = prk
            .expand(&[b"cookie"], hmac::HMAC_SHA256)
            .expect("32 bytes can be had");
        let mac = hmac::sign(&hmac::Key::from(okm), &raw[..32]);
        raw[32..].copy_from_slice(&mac.as_ref()[..16]);
    }
    format!("{NAME}={}", URL_SAFE_NO_PAD.encode(raw))
}
