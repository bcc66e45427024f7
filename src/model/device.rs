/// Most bytes of a user agent that are looked at.
const MOST: usize = 1024;
/// Most bytes of a program's name.
const LONGEST_PROGRAM: usize = 32;

/// Browsers by what only they write, the imitated behind the imitators: nearly all say Chrome and Safari.
const BROWSERS: &[(&str, &str)] = &[
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Edge/", "Edge"),
    ("OPR/", "Opera"),
    ("OPiOS/", "Opera"),
    ("OPT/", "Opera"),
    ("Opera", "Opera"),
    ("Vivaldi/", "Vivaldi"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex Browser"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("Ddg/", "DuckDuckGo"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Focus/", "Firefox"),
    ("MSIE ", "Internet Explorer"),
    ("Trident/", "Internet Explorer"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];

/// Systems, the imitated behind the imitators: an iPhone says Mac, Android says Linux.
const SYSTEMS: &[(&str, &str)] = &[
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("iPod", "iPod"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "Mac"),
    ("Mac OS X", "Mac"),
    ("FreeBSD", "FreeBSD"),
    ("OpenBSD", "OpenBSD"),
    ("Linux", "Linux"),
    ("X11", "Linux"),
];

/// A name for the device behind a `User-Agent` (RFC 9110, 10.1.5) that a person understands: `Firefox on Windows`, `Safari
/// on iPhone`, `curl`. `None` when nothing is known of it. Every word is one of ours, but the name of a program, which has
/// letters, digits and `.` `_` `-` only; at most 64 bytes.
#[must_use]
pub fn device_name(user_agent: &str) -> Option<String> {
    let text = &user_agent[..user_agent.floor_char_boundary(MOST)];
    let of = |known: &[(&str, &'static str)]| {
        let mut known = known.iter();
        known.find(|(sign, _)| text.contains(sign)).map(|(_, name)| *name)
    };
    // Whatever a person browses with pretends to be the browser of 1994.
    if !text.starts_with("Mozilla/") && !text.starts_with("Opera/") {
        return program(text);
    }
    match (of(BROWSERS), of(SYSTEMS)) {
        (Some(browser), Some(system)) => Some(format!("{browser} on {system}")),
        (Some(browser), None) => Some(browser.to_owned()),
        (None, Some(system)) => Some(format!("Browser on {system}")),
        (None, None) => None,
    }
}

/// The first product of what is no browser: `curl/8.5.0` is curl.
fn program(text: &str) -> Option<String> {
    let end = text.find(['/', ' ', ';', '(']).unwrap_or(text.len());
    let name = &text[..end];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    (starts_well && name.len() <= LONGEST_PROGRAM && name.bytes().all(plain)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::device_name;
    use proptest::prelude::*;

    const LIKE: &str = "AppleWebKit/537.36 (KHTML, like Gecko)";

    fn named(text: &str) -> Option<String> {
        device_name(text)
    }

    const DESKTOP: &[(&str, &str)] = &[
        (
            "(Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0",
            "Firefox on Windows",
        ),
        (
            "(Windows NT 10.0; Win64; x64) {LIKE} Chrome/126.0.0.0 Safari/537.36",
            "Chrome on Windows",
        ),
        (
            "(Windows NT 10.0) {LIKE} Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
            "Edge on Windows",
        ),
        (
            "(Windows NT 10.0) {LIKE} Chrome/126.0.0.0 Safari/537.36 OPR/111.0.0.0",
            "Opera on Windows",
        ),
        (
            "(Windows NT 10.0) {LIKE} Chrome/126.0.0.0 Safari/537.36 Vivaldi/6.8",
            "Vivaldi on Windows",
        ),
        (
            "(Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
            "Internet Explorer on Windows",
        ),
        (
            "(Macintosh; Intel Mac OS X 14_5) {LIKE} Version/17.5 Safari/605.1.15",
            "Safari on Mac",
        ),
        (
            "(X11; CrOS x86_64 14541.0.0) {LIKE} Chrome/126.0.0.0 Safari/537.36",
            "Chrome on ChromeOS",
        ),
        (
            "(X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
            "Firefox on Linux",
        ),
        (
            "(X11; Linux x86_64) {LIKE} HeadlessChrome/126.0.0.0 Safari/537.36",
            "Chrome on Linux",
        ),
        ("(X11; Linux x86_64) Ladybird/1", "Browser on Linux"),
        ("(compatible) Firefox/1", "Firefox"),
    ];

    const MOBILE: &[(&str, &str)] = &[
        (
            "(iPhone; CPU iPhone OS 17_5 like Mac OS X) {LIKE} Version/17.5 Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        (
            "(iPhone; CPU iPhone OS 17_5 like Mac OS X) {LIKE} CriOS/126.0 Mobile/15E148 Safari/604.1",
            "Chrome on iPhone",
        ),
        (
            "(iPad; CPU OS 17_5 like Mac OS X) {LIKE} FxiOS/127.0 Mobile/15E148 Safari/605.1.15",
            "Firefox on iPad",
        ),
        (
            "(Linux; Android 14; SM-S921B) {LIKE} SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
            "Samsung Internet on Android",
        ),
        (
            "(Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0",
            "Firefox on Android",
        ),
    ];

    #[test]
    fn browsers_are_told_from_those_they_pretend_to_be() {
        for (agent, name) in DESKTOP.iter().chain(MOBILE) {
            let agent = format!("Mozilla/5.0 {}", agent.replace("{LIKE}", LIKE));
            assert_eq!(named(&agent).as_deref(), Some(*name), "{agent}");
        }
        let old = "Opera/9.80 (X11; Linux i686) Presto/2.12 Version/12.16";
        assert_eq!(named(old).as_deref(), Some("Opera on Linux"));
    }

    #[test]
    fn programs_are_called_by_their_own_name() {
        for (agent, name) in [
            ("curl/8.5.0", "curl"),
            ("Wget/1.21.4", "Wget"),
            ("python-requests/2.32.3", "python-requests"),
            ("PostmanRuntime/7.39.0", "PostmanRuntime"),
            ("Go-http-client/1.1", "Go-http-client"),
            ("okhttp/4.12.0", "okhttp"),
            ("node", "node"),
        ] {
            assert_eq!(named(agent).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_says_nothing_has_no_name() {
        for agent in [
            "",
            " ",
            "/",
            "Mozilla/5.0",
            "<script>",
            "a\u{1b}[2Jb",
            "кот/1",
            "-x",
            &"a".repeat(33),
        ] {
            assert_eq!(named(agent), None, "{agent:?}");
        }
    }

    #[test]
    fn an_endless_text_is_not_read_to_its_end() {
        assert_eq!(named(&format!("Mozilla/5.0 {} Firefox/1", "é".repeat(600))), None);
    }

    proptest! {
        #[test]
        fn no_text_gives_a_name_that_is_long_or_strange(text in "(Mozilla/|curl/)?\\PC{0,200}(Chrome/|Windows|\u{202e})?\\PC{0,20}") {
            if let Some(name) = named(&text) {
                prop_assert!(!name.is_empty() && name.len() <= 64, "{name:?}");
                prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" ._-".contains(&byte)), "{name:?}");
            }
        }
    }
}
