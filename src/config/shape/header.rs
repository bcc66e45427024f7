use super::Mistake;
use crate::web::canonical_name;

/// Names that the gateway writes itself, or that decide how a message is framed: nobody may set them by hand.
const RESERVED: [&str; 33] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "expect",
    "cookie",
    "set-cookie",
    "forwarded",
    "via",
    "proxy",
    "x-request-id",
    "x-real-ip",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-http-method-override",
];

pub fn name(text: &str) -> Result<(), Mistake> {
    if http::HeaderName::from_bytes(text.as_bytes()).is_err() || text.len() > 128 {
        return Err(Mistake::new(
            "is not a header name",
            "write letters, digits and -, as in \"X-User\"",
        ));
    }
    let canonical = canonical_name(text);
    if RESERVED.contains(&canonical.as_str()) {
        return Err(Mistake::new(
            "can't be set",
            "the gateway writes or removes this header itself",
        ));
    }
    if canonical.starts_with("x-portcullis-") || canonical == "x-admin-token" {
        return Err(Mistake::new(
            "can't be set",
            "X-Portcullis-* and X-Admin-Token are the gateway's own",
        ));
    }
    Ok(())
}

pub fn value(text: &str) -> Result<(), Mistake> {
    let visible = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if !visible || text.len() > 4096 || text.trim() != text {
        return Err(Mistake::new(
            "is not a header value",
            "write at most 4096 visible ASCII characters, with no spaces at the ends",
        ));
    }
    Ok(())
}

/// Between groups: nothing that a group's name may hold.
pub fn delimiter(text: &str) -> Result<(), Mistake> {
    let one = text.len() == 1 && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if !one {
        return Err(Mistake::new("is not one character", "as in \",\" or \"|\""));
    }
    if text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._:@+-%".contains(&byte))
    {
        return Err(Mistake::new(
            "may stand in a group's name",
            "choose one of , ; | / or a space",
        ));
    }
    Ok(())
}
