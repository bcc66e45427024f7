use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use percent_encoding::percent_decode;
use secrecy::SecretString;
use std::borrow::Cow;

pub(super) const MAX_USERNAME: usize = 254;
pub(super) const MAX_PASSWORD: usize = 1024;
const MAX_FIELDS: usize = 32;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// `application/x-www-form-urlencoded`, as pages send it.
    Form,
    /// `application/json`, as scripts send it.
    Json,
    /// No body and no word about one.
    Nothing,
}

impl Body {
    /// How the body of a request with `headers` is written; `None` for every other type, and for a compressed one.
    pub(super) fn of(headers: &HeaderMap, body: &Bytes) -> Option<Self> {
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let (first, more) = (types.next(), types.next());
        if more.is_some() || headers.contains_key(CONTENT_ENCODING) {
            return None;
        }
        let Some(kind) = first else {
            return body.is_empty().then_some(Self::Nothing);
        };
        let kind = kind.as_bytes().split(|byte| *byte == b';').next()?.trim_ascii();
        if kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            Some(Self::Form)
        } else if kind.eq_ignore_ascii_case(b"application/json") {
            Some(Self::Json)
        } else {
            None
        }
    }
}

/// What is wrong with a body. The texts repeat nothing of it, because a password may stand anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FieldsError {
    #[error("The body is not a JSON object.")]
    NotJson,
    #[error(
        "The JSON members are username or email, password, remember (true or false) and next, each at most once; there are no \
         others."
    )]
    LoginMembers,
    #[error("The JSON object must be empty.")]
    LogoutMembers,
    #[error("The only JSON member is device, an object with the one member name.")]
    SyncMembers,
    #[error("The name of the device is empty, longer than 128 bytes, or has characters that cannot be seen.")]
    DeviceName,
    #[error("The JSON members are current and new, each once; there are no others.")]
    PasswordMembers,
    #[error("The JSON members are username, password, email, name and next, each at most once; there are no others.")]
    RegisterMembers,
    #[error("The form is not written as application/x-www-form-urlencoded in UTF-8.")]
    NotForm,
    #[error("The form has the same field twice.")]
    Repeated,
    #[error("Please enter your user name and your password.")]
    Missing,
    #[error("Please enter your current password and a new one.")]
    MissingPassword,
    #[error("Please choose a user name and a password.")]
    MissingChoice,
    #[error("The user name is longer than 254 bytes.")]
    LongUsername,
    #[error("The password is longer than 1,024 bytes.")]
    LongPassword,
}

/// What somebody who wants to sign in has sent.
#[derive(Debug, Default)]
pub(super) struct LoginFields {
    pub username: String,
    pub password: SecretString,
    pub remember: bool,
    pub next: Option<String>,
    pub csrf: String,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonLogin {
    #[serde(default)]
    username: Option<String>,
    /// The same under the name that some front ends have for it.
    #[serde(default)]
    email: Option<String>,
    password: String,
    #[serde(default)]
    remember: bool,
    #[serde(default)]
    next: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonLogout {}

impl LoginFields {
    /// Reads `bytes` as a JSON object or a form; no limits are judged.
    pub(super) fn read(body: Body, bytes: &[u8]) -> Result<Self, FieldsError> {
        match body {
            Body::Form => Self::from_form(bytes),
            Body::Json => {
                let read: JsonLogin = from_json(bytes, FieldsError::LoginMembers)?;
                let ((Some(name), None) | (None, Some(name))) = (read.username, read.email) else {
                    return Err(FieldsError::LoginMembers);
                };
                Ok(Self {
                    username: name.trim().to_owned(),
                    password: SecretString::from(read.password),
                    remember: read.remember,
                    next: read.next,
                    csrf: String::new(),
                })
            }
            Body::Nothing => Err(FieldsError::Missing),
        }
    }

    fn from_form(bytes: &[u8]) -> Result<Self, FieldsError> {
        let mut form = Form::read(bytes)?;
        Ok(Self {
            username: form.take("username").trim().to_owned(),
            password: SecretString::from(form.take("password")),
            remember: matches!(form.take("remember").as_str(), "on" | "1" | "true" | "yes"),
            next: Some(form.take("next")).filter(|next| !next.is_empty()),
            csrf: form.take("csrf"),
        })
    }

    /// Judges what is left empty or is too long for anybody's name or password.
    pub(super) fn check(&self) -> Result<(), FieldsError> {
        use secrecy::ExposeSecret;
        let password = self.password.expose_secret().len();
        if self.username.is_empty() || password == 0 {
            Err(FieldsError::Missing)
        } else if self.username.len() > MAX_USERNAME {
            Err(FieldsError::LongUsername)
        } else if password > MAX_PASSWORD {
            Err(FieldsError::LongPassword)
        } else {
            Ok(())
        }
    }
}

/// What somebody who wants to sign out has sent.
#[derive(Debug, Default)]
pub(super) struct LogoutFields {
    pub next: Option<String>,
    /// Whether somebody else is about to sign in.
    pub switch: bool,
    pub csrf: String,
}

impl LogoutFields {
    /// Reads `bytes` as a form, as an empty JSON object or as nothing.
    pub(super) fn read(body: Body, bytes: &[u8]) -> Result<Self, FieldsError> {
        match body {
            Body::Form => {
                let mut form = Form::read(bytes)?;
                Ok(Self {
                    next: Some(form.take("next")).filter(|next| !next.is_empty()),
                    switch: form.take("switch") == "on",
                    csrf: form.take("csrf"),
                })
            }
            Body::Json if !bytes.is_empty() => {
                let JsonLogout {} = from_json(bytes, FieldsError::LogoutMembers)?;
                Ok(Self::default())
            }
            Body::Json | Body::Nothing => Ok(Self::default()),
        }
    }
}

/// Reads JSON; `members` tells what is wrong with one of another shape.
pub(super) fn from_json<'a, T: serde::Deserialize<'a>>(
    bytes: &'a [u8],
    members: FieldsError,
) -> Result<T, FieldsError> {
    // serde would take a list of values for an object as well.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(FieldsError::NotJson);
    }
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => members,
        _ => FieldsError::NotJson,
    })
}

/// The fields of a form, each name once.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, FieldsError> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for pair in bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let name = decode(&pair[..at])?;
            let value = decode(pair.get(at + 1..).unwrap_or_default())?;
            if fields.len() == MAX_FIELDS {
                return Err(FieldsError::NotForm);
            }
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(FieldsError::Repeated);
            }
            fields.push((name, value));
        }
        Ok(Self(fields))
    }

    /// The value of a field; empty when it is not there.
    pub(super) fn take(&mut self, name: &str) -> String {
        let at = self.0.iter().position(|(known, _)| known == name);
        at.map(|at| self.0.swap_remove(at).1).unwrap_or_default()
    }
}

/// As browsers encode forms (WHATWG URL, 5.1), but text that is no UTF-8 is refused where they would replace it: a
/// password must not change on its way.
fn decode(bytes: &[u8]) -> Result<String, FieldsError> {
    let spaced: Cow<'_, [u8]> = if bytes.contains(&b'+') {
        bytes
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect()
    } else {
        bytes.into()
    };
    String::from_utf8(percent_decode(&spaced).collect()).map_err(|_| FieldsError::NotForm)
}

#[cfg(test)]
mod tests {
    use super::{Body, FieldsError, LoginFields, LogoutFields};
    use bytes::Bytes;
    use http::HeaderMap;
    use secrecy::ExposeSecret;

    fn kind(types: &[&str], body: &'static str) -> Option<Body> {
        let mut headers = HeaderMap::new();
        for value in types {
            headers.append("content-type", value.parse().unwrap());
        }
        Body::of(&headers, &Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn forms_and_json_are_taken_and_nothing_else() {
        assert_eq!(kind(&["application/x-www-form-urlencoded"], "a"), Some(Body::Form));
        assert_eq!(kind(&["Application/JSON; charset=utf-8"], "{}"), Some(Body::Json));
        assert_eq!(kind(&[], ""), Some(Body::Nothing));
        assert_eq!(kind(&[], "a=b"), None);
        assert_eq!(
            kind(&["text/plain"], "{}"),
            None,
            "what a foreign form can send without asking"
        );
        assert_eq!(kind(&["multipart/form-data; boundary=x"], "a"), None);
        assert_eq!(kind(&["application/json", "text/plain"], "{}"), None);
        assert_eq!(kind(&["text/plain; application/json"], "{}"), None);
    }

    #[test]
    fn a_compressed_body_is_not_taken() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("content-encoding", "gzip".parse().unwrap());
        assert_eq!(Body::of(&headers, &Bytes::new()), None);
    }

    #[test]
    fn a_form_is_read_as_browsers_write_it() {
        let form = b"csrf=T&username=+alice%40example.com+&password=a%2Bb+c%26%C3%A9&remember=on&next=%2Fx%3Fy%3D1";
        let fields = LoginFields::read(Body::Form, form).unwrap();
        assert_eq!(fields.username, "alice@example.com");
        assert_eq!(fields.password.expose_secret(), "a+b c&\u{e9}");
        assert!(fields.remember);
        assert_eq!(fields.next.as_deref(), Some("/x?y=1"));
        assert_eq!(fields.csrf, "T");
        let bare = LoginFields::read(Body::Form, b"username=a&password=b&&more=1").unwrap();
        assert!(!bare.remember && bare.next.is_none());
    }

    #[test]
    fn a_password_keeps_its_spaces() {
        let fields = LoginFields::read(Body::Form, b"username=a&password=+b+").unwrap();
        assert_eq!(fields.password.expose_secret(), " b ");
    }

    #[test]
    fn a_field_that_comes_twice_is_refused() {
        for form in [
            "username=a&username=b",
            "password=a&p%61ssword=b",
            "next=/a&next=/b",
            "x&x",
        ] {
            assert_eq!(
                LoginFields::read(Body::Form, form.as_bytes()).unwrap_err(),
                FieldsError::Repeated,
                "{form}"
            );
        }
        assert_eq!(
            LoginFields::read(Body::Json, br#"{"username":"a","username":"b","password":"c"}"#).unwrap_err(),
            FieldsError::LoginMembers
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert_eq!(
            LoginFields::read(Body::Form, b"username=a&password=%FF").unwrap_err(),
            FieldsError::NotForm
        );
        assert_eq!(
            LoginFields::read(Body::Json, b"{\"username\":\"\xff\",\"password\":\"b\"}").unwrap_err(),
            FieldsError::NotJson
        );
    }

    #[test]
    fn a_form_of_very_many_fields_is_refused() {
        let form = (0..40).fold(String::new(), |form, at| form + &format!("f{at}=x&"));
        assert_eq!(
            LoginFields::read(Body::Form, form.as_bytes()).unwrap_err(),
            FieldsError::NotForm
        );
    }

    #[test]
    fn json_has_the_known_members_only() {
        let fields = LoginFields::read(
            Body::Json,
            br#"{"username":"a","password":"b","remember":true,"next":"/x"}"#,
        )
        .unwrap();
        assert!(fields.remember && fields.next.as_deref() == Some("/x"));
        let by_address = LoginFields::read(Body::Json, br#"{"email":"a@example.com","password":"b"}"#).unwrap();
        assert_eq!(by_address.username, "a@example.com");
        for (json, error) in [
            (
                r#"{"username":"a","password":"b","admin":true}"#,
                FieldsError::LoginMembers,
            ),
            (r#"{"username":"a"}"#, FieldsError::LoginMembers),
            (r#"{"password":"b"}"#, FieldsError::LoginMembers),
            (
                r#"{"username":"a","email":"a@b","password":"b"}"#,
                FieldsError::LoginMembers,
            ),
            (r#"{"username":["a"],"password":"b"}"#, FieldsError::LoginMembers),
            (r#"{"username":{"$ne":null},"password":"b"}"#, FieldsError::LoginMembers),
            (
                r#"{"username":"a","password":"b","remember":"yes"}"#,
                FieldsError::LoginMembers,
            ),
            (r#"["a",null,"b"]"#, FieldsError::NotJson),
            ("{", FieldsError::NotJson),
            ("", FieldsError::NotJson),
            (r#"{"username":"a","password":"b"} x"#, FieldsError::NotJson),
        ] {
            assert_eq!(
                LoginFields::read(Body::Json, json.as_bytes()).unwrap_err(),
                error,
                "{json}"
            );
        }
    }

    #[test]
    fn empty_and_overlong_fields_are_told() {
        let check = |username: &str, password: &str| {
            let json = serde_json::json!({"username": username, "password": password}).to_string();
            LoginFields::read(Body::Json, json.as_bytes()).unwrap().check()
        };
        assert_eq!(check("a", "b"), Ok(()));
        assert_eq!(check(&"a".repeat(254), &"b".repeat(1024)), Ok(()));
        assert_eq!(check("", "b"), Err(FieldsError::Missing));
        assert_eq!(check("  ", "b"), Err(FieldsError::Missing));
        assert_eq!(check("a", ""), Err(FieldsError::Missing));
        assert_eq!(check(&"a".repeat(255), "b"), Err(FieldsError::LongUsername));
        assert_eq!(check("a", &"b".repeat(1025)), Err(FieldsError::LongPassword));
    }

    #[test]
    fn no_text_about_a_body_repeats_it() {
        let error =
            LoginFields::read(Body::Json, br#"{"username":"a","password":"b","remember":"hunter2"}"#).unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn a_log_out_needs_no_body() {
        assert!(LogoutFields::read(Body::Nothing, b"").is_ok());
        assert!(LogoutFields::read(Body::Json, b"").is_ok());
        assert!(LogoutFields::read(Body::Json, b"{}").is_ok());
        assert_eq!(
            LogoutFields::read(Body::Json, br#"{"all":true}"#).unwrap_err(),
            FieldsError::LogoutMembers
        );
        let form = LogoutFields::read(Body::Form, b"csrf=T&next=%2F&switch=on").unwrap();
        assert!(form.switch && form.csrf == "T" && form.next.as_deref() == Some("/"));
    }
}
