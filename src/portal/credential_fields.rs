use super::fields::{Body, FieldsError, Form, MAX_PASSWORD, MAX_USERNAME, from_json};
use secrecy::ExposeSecret;
use secrecy::SecretString;

/// What somebody who wants another password has sent.
#[derive(Debug, Default)]
pub(super) struct PasswordFields {
    pub current: SecretString,
    pub new: SecretString,
    pub csrf: String,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonPassword {
    current: String,
    new: String,
}

impl PasswordFields {
    /// Reads `bytes` as a JSON object or a form; no limits are judged.
    pub(super) fn read(body: Body, bytes: &[u8]) -> Result<Self, FieldsError> {
        match body {
            Body::Form => {
                let mut form = Form::read(bytes)?;
                Ok(Self {
                    current: form.take("current").into(),
                    new: form.take("new").into(),
                    csrf: form.take("csrf"),
                })
            }
            Body::Json => {
                let read: JsonPassword = from_json(bytes, FieldsError::PasswordMembers)?;
                Ok(Self {
                    current: read.current.into(),
                    new: read.new.into(),
                    csrf: String::new(),
                })
            }
            Body::Nothing => Err(FieldsError::MissingPassword),
        }
    }

    /// Judges what is left empty or is too long for anybody's password.
    pub(super) fn check(&self) -> Result<(), FieldsError> {
        let lengths = [&self.current, &self.new].map(|password| password.expose_secret().len());
        if lengths.contains(&0) {
            Err(FieldsError::MissingPassword)
        } else if lengths.iter().any(|length| *length > MAX_PASSWORD) {
            Err(FieldsError::LongPassword)
        } else {
            Ok(())
        }
    }
}

/// What somebody who wants an account has sent.
#[derive(Debug, Default)]
pub(super) struct RegisterFields {
    pub username: String,
    pub password: SecretString,
    pub email: Option<String>,
    pub name: Option<String>,
    pub next: Option<String>,
    pub csrf: String,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRegister {
    username: String,
    password: String,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    next: Option<String>,
}

impl RegisterFields {
    /// Reads `bytes` as a JSON object or a form; no limits are judged.
    pub(super) fn read(body: Body, bytes: &[u8]) -> Result<Self, FieldsError> {
        let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        match body {
            Body::Form => {
                let mut form = Form::read(bytes)?;
                Ok(Self {
                    username: form.take("username").trim().to_owned(),
                    password: form.take("password").into(),
                    email: given(Some(form.take("email"))),
                    name: given(Some(form.take("name"))),
                    next: given(Some(form.take("next"))),
                    csrf: form.take("csrf"),
                })
            }
            Body::Json => {
                let read: JsonRegister = from_json(bytes, FieldsError::RegisterMembers)?;
                Ok(Self {
                    username: read.username.trim().to_owned(),
                    password: read.password.into(),
                    email: given(read.email),
                    name: given(read.name),
                    next: read.next,
                    csrf: String::new(),
                })
            }
            Body::Nothing => Err(FieldsError::MissingChoice),
        }
    }

    /// Judges what is left empty or is too long to be shown again; what else is wrong the account room says.
    pub(super) fn check(&self) -> Result<(), FieldsError> {
        let password = self.password.expose_secret().len();
        if self.username.is_empty() || password == 0 {
            Err(FieldsError::MissingChoice)
        } else if self.username.len() > MAX_USERNAME {
            Err(FieldsError::LongUsername)
        } else if password > MAX_PASSWORD {
            Err(FieldsError::LongPassword)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, FieldsError, PasswordFields, RegisterFields};
    use secrecy::ExposeSecret;

    #[test]
    fn both_passwords_are_read_as_they_were_typed() {
        let form = PasswordFields::read(Body::Form, b"csrf=T&username=alice&current=+a%2B&new=%C3%A9+").unwrap();
        assert_eq!((form.current.expose_secret(), form.new.expose_secret()), (" a+", "é "));
        assert_eq!(form.csrf, "T");
        let json = PasswordFields::read(Body::Json, br#"{"current":" a","new":"b "}"#).unwrap();
        assert_eq!((json.current.expose_secret(), json.new.expose_secret()), (" a", "b "));
    }

    #[test]
    fn json_has_the_known_members_only() {
        for json in [
            r#"{"current":"a"}"#,
            r#"{"current":"a","new":"b","username":"bob"}"#,
            r#"{"current":"a","new":"b","new":"c"}"#,
            r#"{"current":1,"new":"b"}"#,
        ] {
            let read = PasswordFields::read(Body::Json, json.as_bytes());
            assert_eq!(read.unwrap_err(), FieldsError::PasswordMembers, "{json}");
        }
        for json in [
            r#"{"username":"a","password":"b","groups":["admins"]}"#,
            r#"{"username":"a","password":"b","email_verified":true}"#,
            r#"{"username":"a"}"#,
            r#"{"username":"a","password":"b","email":["a@b"]}"#,
        ] {
            let read = RegisterFields::read(Body::Json, json.as_bytes());
            assert_eq!(read.unwrap_err(), FieldsError::RegisterMembers, "{json}");
        }
    }

    #[test]
    fn what_is_left_empty_is_not_given() {
        let form = RegisterFields::read(Body::Form, b"username=+ann+&password=+p+&email=&name=+&next=").unwrap();
        assert_eq!((form.username.as_str(), form.password.expose_secret()), ("ann", " p "));
        assert!(form.email.is_none() && form.name.is_none() && form.next.is_none());
        let json = RegisterFields::read(Body::Json, br#"{"username":"ann","password":"p","email":null}"#).unwrap();
        assert!(json.email.is_none() && json.check().is_ok());
        let empty = RegisterFields::read(Body::Form, b"username=+&password=p").unwrap();
        assert_eq!(empty.check(), Err(FieldsError::MissingChoice));
        let empty = PasswordFields::read(Body::Form, b"current=a").unwrap();
        assert_eq!(empty.check(), Err(FieldsError::MissingPassword));
        assert!(PasswordFields::read(Body::Nothing, b"").is_err() && RegisterFields::read(Body::Nothing, b"").is_err());
    }

    #[test]
    fn no_field_is_longer_than_it_may_be() {
        let long = "a".repeat(1025);
        let change = PasswordFields::read(Body::Form, format!("current=a&new={long}").as_bytes()).unwrap();
        assert_eq!(change.check(), Err(FieldsError::LongPassword));
        let change = PasswordFields::read(Body::Form, format!("current={long}&new=a").as_bytes()).unwrap();
        assert_eq!(change.check(), Err(FieldsError::LongPassword));
        let register = RegisterFields::read(Body::Form, format!("username={long}&password=a").as_bytes()).unwrap();
        assert_eq!(register.check(), Err(FieldsError::LongUsername));
    }
}
