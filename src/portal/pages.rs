use crate::web::Answer;
use crate::web::RequestId;
use crate::web::page_headers;
use askama::Template;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Response, StatusCode};
use std::sync::LazyLock;

/// One style sheet for all pages. It stands inside each of them, so that a page needs no second request, which the rule
/// that refused the first could refuse as well.
pub(super) const CSS: &str = include_str!("pages/portcullis.css");

static CSS_HASH: LazyLock<String> = LazyLock::new(|| STANDARD.encode(digest(&SHA256, CSS.as_bytes())));

/// What pages call the site when `portal.name` is not set.
pub const DEFAULT_NAME: &str = "Portcullis";

/// The log-in form.
#[derive(Template)]
#[template(path = "login.html")]
pub(super) struct LoginPage<'a> {
    pub site: &'a str,
    pub prefix: &'a str,
    pub host: &'a str,
    pub token: String,
    pub next: Option<&'a str>,
    pub username: &'a str,
    /// Whether the tick is set; `None`: nobody is remembered.
    pub remember: Option<bool>,
    pub trouble: Option<&'a str>,
    pub notice: Option<&'a str>,
    /// Where visitors make an account, if they may.
    pub register: Option<&'a str>,
}

/// The form in which visitors make an account.
#[derive(Template)]
#[template(path = "register.html")]
pub(super) struct RegisterPage<'a> {
    pub site: &'a str,
    pub prefix: &'a str,
    pub host: &'a str,
    pub token: String,
    pub next: Option<&'a str>,
    pub username: &'a str,
    pub email: &'a str,
    pub name: &'a str,
    pub shortest: usize,
    pub trouble: Option<&'a str>,
    pub login: &'a str,
}

/// The form in which users change their password.
#[derive(Template)]
#[template(path = "password.html")]
pub(super) struct PasswordPage<'a> {
    pub site: &'a str,
    pub prefix: &'a str,
    pub token: String,
    pub username: &'a str,
    pub shortest: usize,
    pub trouble: Option<&'a str>,
}

/// What is said after a change of password.
#[derive(Template)]
#[template(path = "password_changed.html")]
pub(super) struct PasswordChangedPage<'a> {
    pub site: &'a str,
    pub prefix: &'a str,
    pub host: &'a str,
}

/// The log-in page of somebody who is signed in.
#[derive(Template)]
#[template(path = "signed_in.html")]
pub(super) struct SignedInPage<'a> {
    pub site: &'a str,
    pub prefix: &'a str,
    pub host: &'a str,
    pub token: String,
    pub next: Option<&'a str>,
    pub who: &'a str,
}

/// For who was just signed in here, and not in every application that the log-in is for.
#[derive(Template)]
#[template(path = "entered.html")]
pub(super) struct EnteredPage<'a> {
    pub site: &'a str,
    pub host: &'a str,
    pub who: &'a str,
    pub next: &'a str,
    pub notices: &'a [String],
}

/// The question before a log-out.
#[derive(Template)]
#[template(path = "logout.html")]
pub(super) struct LogoutPage<'a> {
    pub site: &'a str,
    pub prefix: &'a str,
    pub host: &'a str,
    pub token: String,
    pub next: Option<&'a str>,
    pub who: Option<&'a str>,
    pub trouble: Option<&'a str>,
}

/// What the gateway knows of the visitor.
#[derive(Template)]
#[template(path = "account.html")]
pub(super) struct AccountPage<'a> {
    pub site: &'a str,
    pub prefix: &'a str,
    pub host: &'a str,
    pub token: String,
    pub display: &'a str,
    pub initial: String,
    pub username: &'a str,
    pub email: Option<&'a str>,
    pub groups: &'a [String],
    pub theirs: bool,
    pub since: String,
    pub since_words: String,
    pub until: String,
    pub until_words: String,
}

/// Where somebody is signed in.
#[derive(Template)]
#[template(path = "sessions.html")]
pub(super) struct SessionsPage<'a> {
    pub site: &'a str,
    pub prefix: &'a str,
    pub host: &'a str,
    pub token: String,
    pub who: &'a str,
    pub cards: Vec<SessionCard<'a>>,
    pub others: bool,
    pub trouble: Option<&'a str>,
    pub notice: Option<&'a str>,
}

/// One session on that page.
#[derive(Clone)]
pub(super) struct SessionCard<'a> {
    pub id: String,
    pub current: bool,
    pub theirs: bool,
    pub may_end: bool,
    pub device: &'a str,
    pub address: Option<String>,
    pub created: String,
    pub created_exact: String,
    pub created_words: String,
    pub seen: String,
    pub seen_exact: String,
    pub seen_words: String,
    pub ends: String,
    pub ends_exact: String,
    pub ends_words: String,
}

/// The content security policy of a page whose forms may end at our own origin and at `others`: browsers apply
/// `form-action` to the redirect that follows a form, too.
pub(super) fn policy(others: impl Iterator<Item = String>) -> String {
    let forms = others.fold(String::from("'self'"), |list, origin| list + " " + &origin);
    format!(
        "default-src 'none'; style-src 'sha256-{}'; img-src 'self' data:; form-action {forms}; frame-ancestors 'none'; \
         base-uri 'none'",
        *CSS_HASH
    )
}

/// A page as a whole answer, with every header that our own pages carry.
pub(super) fn page(status: StatusCode, template: &impl Template, policy: &str, request: RequestId) -> Answer {
    // Rendering writes into a String and fails only with it; an empty page with the right status is left then.
    let body = template.render().unwrap_or_default();
    let mut answer = Response::new(Bytes::from(body));
    *answer.status_mut() = status;
    page_headers(&mut answer, policy, request);
    answer
}

#[cfg(test)]
mod tests {
    use super::super::error_page::{Action, ErrorPage};
    use super::{
        AccountPage, LoginPage, LogoutPage, PasswordChangedPage, PasswordPage, RegisterPage, SessionCard, SessionsPage,
        SignedInPage, page, policy,
    };
    use crate::web::Answer;
    use crate::web::RequestId;
    use http::StatusCode;

    const ID: RequestId = RequestId(0x0123_4567_89ab_cdef_0fed_cba9_8765_4321);

    fn text(answer: &Answer) -> &str {
        std::str::from_utf8(answer.body()).unwrap()
    }

    fn login<'a>(username: &'a str, trouble: Option<&'a str>) -> LoginPage<'a> {
        LoginPage {
            site: "Example Ltd",
            prefix: "/.portcullis",
            host: "crm.example.com",
            token: "TOKEN".into(),
            next: Some("/orders?open=1"),
            username,
            remember: Some(false),
            trouble,
            notice: None,
            register: Some("/.portcullis/register?next=%2Forders"),
        }
    }

    fn register(trouble: Option<&str>) -> RegisterPage<'_> {
        RegisterPage {
            site: "Example Ltd",
            prefix: "/.portcullis",
            host: "crm.example.com",
            token: "TOKEN".into(),
            next: Some("/orders"),
            username: "alice",
            email: "alice@example.com",
            name: "Alice \"Al\" Liddell",
            shortest: 8,
            trouble,
            login: "/.portcullis/login",
        }
    }

    fn password(trouble: Option<&str>) -> PasswordPage<'_> {
        PasswordPage {
            site: "Example Ltd",
            prefix: "/.portcullis",
            token: "TOKEN".into(),
            username: "alice",
            shortest: 8,
            trouble,
        }
    }

    fn account(groups: &[String]) -> AccountPage<'_> {
        AccountPage {
            site: "Example Ltd",
            prefix: "/.portcullis",
            host: "crm.example.com",
            token: "TOKEN".into(),
            display: "Alice Liddell",
            initial: "A".into(),
            username: "alice",
            email: Some("alice@example.com"),
            groups,
            theirs: false,
            since: "2026-01-31T12:00:00Z".into(),
            since_words: "31 January 2026, 12:00 UTC".into(),
            until: "2026-02-07T12:00:00Z".into(),
            until_words: "7 February 2026, 12:00 UTC".into(),
        }
    }

    fn signed_in() -> SignedInPage<'static> {
        SignedInPage {
            site: "Example Ltd",
            prefix: "/.portcullis",
            host: "crm.example.com",
            token: "TOKEN".into(),
            next: Some("/orders"),
            who: "Alice Liddell",
        }
    }

    fn logout() -> LogoutPage<'static> {
        LogoutPage {
            site: "Example Ltd",
            prefix: "/.portcullis",
            host: "crm.example.com",
            token: "TOKEN".into(),
            next: None,
            who: Some("Alice Liddell"),
            trouble: None,
        }
    }

    fn sessions(trouble: Option<&'static str>) -> SessionsPage<'static> {
        let card = SessionCard {
            id: "0192f0c1-2b3c-7d4e-8f90-a1b2c3d4e5f6".into(),
            current: true,
            theirs: false,
            may_end: true,
            device: "Firefox on Linux",
            address: Some("192.0.2.7".into()),
            created: "2026-01-31T09:00:00Z".into(),
            created_exact: "31 January 2026, 09:00 UTC".into(),
            created_words: "3 hours ago".into(),
            seen: "2026-01-31T12:00:00Z".into(),
            seen_exact: "31 January 2026, 12:00 UTC".into(),
            seen_words: "now".into(),
            ends: "2026-02-07T12:00:00Z".into(),
            ends_exact: "7 February 2026, 12:00 UTC".into(),
            ends_words: "in 6 days".into(),
        };
        let other = SessionCard {
            current: false,
            device: "<b>curl</b>",
            address: None,
            ..card.clone()
        };
        SessionsPage {
            site: "Example Ltd",
            prefix: "/.portcullis",
            host: "crm.example.com",
            token: "TOKEN".into(),
            who: "Alice Liddell",
            cards: vec![card, other],
            others: true,
            trouble,
            notice: None,
        }
    }

    fn pages_of_credentials() -> Vec<(String, Answer)> {
        let csp = policy(std::iter::empty());
        let ok = StatusCode::OK;
        vec![
            ("register".into(), page(ok, &register(None), &csp, ID)),
            ("register-taken".into(), page(ok, &register(Some("<taken>")), &csp, ID)),
            ("password".into(), page(ok, &password(None), &csp, ID)),
            ("password-wrong".into(), page(ok, &password(Some("Wrong.")), &csp, ID)),
            (
                "password-changed".into(),
                page(
                    ok,
                    &PasswordChangedPage {
                        site: "Example Ltd",
                        prefix: "/.portcullis",
                        host: "crm.example.com",
                    },
                    &csp,
                    ID,
                ),
            ),
        ]
    }

    fn every_page() -> Vec<(String, Answer)> {
        let groups = ["staff".to_owned(), "sales:emea".to_owned()];
        let csp = policy(std::iter::empty());
        let ok = StatusCode::OK;
        let mut pages = vec![
            ("login".into(), page(ok, &login("", None), &csp, ID)),
            (
                "login-wrong".into(),
                page(
                    StatusCode::UNAUTHORIZED,
                    &login("alice", Some("User name or password is wrong. Please try again.")),
                    &csp,
                    ID,
                ),
            ),
            (
                "login-notice".into(),
                page(
                    ok,
                    &LoginPage {
                        notice: Some("You are signed out."),
                        ..login("", None)
                    },
                    &csp,
                    ID,
                ),
            ),
            ("signed-in".into(), page(ok, &signed_in(), &csp, ID)),
            ("logout".into(), page(ok, &logout(), &csp, ID)),
            ("account".into(), page(ok, &account(&groups), &csp, ID)),
            ("sessions".into(), page(ok, &sessions(None), &csp, ID)),
            (
                "sessions-trouble".into(),
                page(
                    StatusCode::NOT_FOUND,
                    &sessions(Some("There is no such session.")),
                    &csp,
                    ID,
                ),
            ),
            ("cannot-ask".into(), ErrorPage::cannot_ask(ID, None).into_answer()),
            (
                "send-again".into(),
                ErrorPage::sign_in_then_send_again("/.portcullis/login?next=/a", ID, None).into_answer(),
            ),
        ];
        pages.extend(pages_of_credentials());
        for code in [
            400, 403, 404, 405, 408, 413, 414, 417, 421, 429, 431, 500, 501, 502, 503, 504,
        ] {
            let status = StatusCode::from_u16(code).unwrap();
            pages.push((
                code.to_string(),
                ErrorPage::of(status, ID, Some("Example Ltd")).into_answer(),
            ));
        }
        pages
    }

    #[test]
    fn every_page_has_a_title_a_language_and_the_headers_of_a_page() {
        for (name, answer) in every_page() {
            let body = text(&answer);
            assert!(body.starts_with("<!doctype html>\n<html lang=\"en\">"), "{name}");
            assert!(body.contains("<title>") && !body.contains("<title> ·"), "{name}");
            assert_eq!(body.matches("<h1>").count(), 1, "{name}");
            let header = |header: &str| answer.headers().get(header).map(|value| value.to_str().unwrap());
            assert_eq!(header("content-type"), Some("text/html; charset=utf-8"), "{name}");
            assert_eq!(header("cache-control"), Some("no-store"), "{name}");
            assert_eq!(header("x-content-type-options"), Some("nosniff"), "{name}");
            assert_eq!(header("x-frame-options"), Some("DENY"), "{name}");
            assert_eq!(header("referrer-policy"), Some("same-origin"), "{name}");
            assert_eq!(header("cross-origin-opener-policy"), Some("same-origin"), "{name}");
            assert!(header("permissions-policy").is_some(), "{name}");
            assert_eq!(
                header("x-request-id"),
                Some("0123456789abcdef0fedcba987654321"),
                "{name}"
            );
            let csp = header("content-security-policy").unwrap();
            assert!(
                csp.starts_with("default-src 'none'; style-src 'sha256-"),
                "{name}: {csp}"
            );
            assert!(csp.contains("frame-ancestors 'none'"), "{name}: {csp}");
        }
    }

    #[test]
    fn pages_hold_nothing_that_their_policy_forbids() {
        for (name, answer) in every_page() {
            let body = text(&answer);
            for forbidden in [
                " style=",
                "<script",
                "javascript:",
                " onclick=",
                " src=",
                "@import",
                "url(",
            ] {
                assert!(!body.contains(forbidden), "{name} has {forbidden}");
            }
            let outside = body
                .replace("http://www.w3.org/2000/svg", "")
                .replace("'http://www.w3.org/2000/svg'", "");
            assert!(
                !outside.contains("http://") && !outside.contains("https://"),
                "{name} names another place"
            );
        }
    }

    #[test]
    fn the_policy_names_the_style_sheet_as_it_stands_in_the_page() {
        use base64::Engine;
        let answer = ErrorPage::of(StatusCode::NOT_FOUND, ID, None).into_answer();
        let body = text(&answer);
        let start = body.find("<style>").unwrap() + "<style>".len();
        let end = body.find("</style>").unwrap();
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body.as_bytes()[start..end]);
        let hash = base64::engine::general_purpose::STANDARD.encode(hash);
        let csp = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(csp.contains(&format!("style-src 'sha256-{hash}'")), "{csp}");
    }

    #[test]
    fn every_text_from_outside_is_escaped() {
        let answer = page(
            StatusCode::OK,
            &login("\"><script>alert(1)</script>", Some("<b>")),
            &policy(std::iter::empty()),
            ID,
        );
        assert!(!text(&answer).contains("<script") && !text(&answer).contains("<b>"));
        let answer = page(StatusCode::OK, &sessions(None), &policy(std::iter::empty()), ID);
        assert!(text(&answer).contains("curl") && !text(&answer).contains("<b>"));
        let answer = ErrorPage {
            action: Some(Action {
                label: "<i>",
                href: "/\"onfocus=x",
                new_tab: false,
            }),
            ..ErrorPage::of(StatusCode::FORBIDDEN, ID, Some("<u>"))
        }
        .into_answer();
        assert!(
            !text(&answer).contains("<i>") && !text(&answer).contains("<u>") && !text(&answer).contains("\"onfocus")
        );
    }

    #[test]
    fn a_wrong_log_in_keeps_the_name_and_asks_for_the_password() {
        let answer = page(
            StatusCode::OK,
            &login("alice", Some("Wrong.")),
            &policy(std::iter::empty()),
            ID,
        );
        let body = text(&answer);
        let field = |name: &str| {
            let at = body.find(&format!("id=\"{name}\"")).unwrap();
            &body[at..at + body[at..].find('>').unwrap()]
        };
        assert!(field("username").contains("value=\"alice\"") && !field("username").contains("autofocus"));
        assert!(field("password").contains("autofocus") && !field("password").contains("value="));
        assert!(body.contains("role=\"alert\""));
    }

    #[test]
    fn a_refusal_shows_its_number_and_says_when_to_come_back() {
        let answer = ErrorPage::cannot_ask(ID, None).into_answer();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()["retry-after"], "5");
        assert!(text(&answer).contains("0123456789abcdef0fedcba987654321"));
        assert!(text(&answer).contains("You have not been signed out"));
        let version = env!("CARGO_PKG_VERSION");
        for (name, answer) in every_page() {
            assert!(!text(&answer).contains(version), "{name} tells the version");
        }
    }

    #[test]
    fn allowed_return_origins_may_follow_a_form() {
        let csp = policy(["https://app.example.com".to_owned()].into_iter());
        assert!(csp.contains("form-action 'self' https://app.example.com;"), "{csp}");
    }
}
