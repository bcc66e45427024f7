//! Where no text may ever lead a browser.

use super::return_address::MAX_NEXT;
use super::return_address::ReturnRules;
use super::return_address::login_location;
use std::sync::LazyLock;
use url::Url;

const HERE: &str = "https://good.example";
const OTHER: &str = "https://app.example.com";

static RULES: LazyLock<ReturnRules> = LazyLock::new(|| ReturnRules::new("/.portcullis", &[OTHER.to_owned()]));

/// A return address.
pub(crate) fn return_address(bytes: &[u8]) {
    let Ok(next) = std::str::from_utf8(bytes) else { return };
    if let Some(location) = RULES.accept(next, HERE) {
        assert!(next.len() <= MAX_NEXT && location.len() <= 10 * MAX_NEXT);
        assert!(
            location.bytes().all(|byte| byte.is_ascii_graphic()),
            "it stands in a header"
        );
        let page = Url::parse("https://good.example/.portcullis/login").expect("an address");
        let target = page.join(&location).expect("what was accepted is an address");
        let origin = target.origin().ascii_serialization();
        assert!(origin == HERE || origin == OTHER, "{next:?} leads to {target}");
        assert!(target.username().is_empty() && target.password().is_none());
        if location.len() <= MAX_NEXT {
            assert_eq!(
                RULES.accept(&location, HERE).as_deref(),
                Some(&*location),
                "the second time"
            );
        }
    }
    let location = login_location("/.portcullis", next);
    assert!(location.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
    if next.starts_with('/') && next != "/" && next.len() <= MAX_NEXT {
        let page = Url::parse(HERE)
            .and_then(|here| here.join(&location))
            .expect("an address");
        let mut pairs = page.query_pairs();
        assert!(
            pairs
                .next()
                .is_some_and(|(name, value)| name == "next" && value == next)
        );
        assert!(pairs.next().is_none(), "one value");
    }
}
