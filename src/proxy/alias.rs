//! Paths of an older front end's own that lead to the gateway's endpoints.
//!
//! An alias takes exactly its path, as it is written, from the application. What an application may read as that path
//! (another case, encoded letters, `;…`, dots or a slash behind it, doubled slashes) is refused: else the application's own
//! log-in would answer beside ours under one name. No alias changes which rule any other path has.

use super::path::DecisionPath;
use super::path::fold;
use super::refusal::Refusal;
use super::route::refusal_of;
use super::settings::AliasSettings;
use std::collections::HashMap;
use std::sync::Arc;

/// Aliases by host. Immutable.
#[derive(Debug, Default)]
pub struct Aliases(HashMap<String, Vec<Alias>>);

#[derive(Debug)]
struct Alias {
    path: String,
    target: Arc<str>,
}

impl Aliases {
    /// Each endpoint stands below `prefix`.
    #[must_use]
    pub fn new(settings: &[AliasSettings], prefix: &str) -> Self {
        let mut by_host: HashMap<String, Vec<Alias>> = HashMap::new();
        for alias in settings {
            by_host.entry(alias.host.clone()).or_default().push(Alias {
                path: alias.path.clone(),
                target: format!("{prefix}/{}", alias.endpoint).into(),
            });
        }
        Self(by_host)
    }

    /// The path below the prefix that `raw` stands for; `None` when it is no alias.
    ///
    /// # Errors
    /// `Ambiguous` for another reading of an alias.
    pub fn find(&self, host: &str, raw: &str, path: &DecisionPath<'_>) -> Result<Option<Arc<str>>, Refusal> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let Some(aliases) = self.0.get(host) else {
            return Ok(None);
        };
        if let Some(alias) = aliases.iter().find(|alias| alias.path == raw) {
            return Ok(Some(Arc::clone(&alias.target)));
        }
        let is_another_reading = |text: &[u8]| aliases.iter().any(|alias| alias.is_read_from(text));
        if is_another_reading(&path.text)
            || path
                .readings(true)
                .map_err(refusal_of)?
                .iter()
                .any(|reading| is_another_reading(reading))
        {
            return Err(Refusal::Ambiguous("alias_path"));
        }
        Ok(None)
    }
}

impl Alias {
    /// Whether an application that folds case or passes over a last slash reads `text` as this path, which is ASCII.
    fn is_read_from(&self, text: &[u8]) -> bool {
        let own = without_slash(self.path.as_bytes());
        let text = without_slash(text);
        if text.is_ascii() {
            text.eq_ignore_ascii_case(own)
        } else {
            fold(text).eq_ignore_ascii_case(own)
        }
    }
}

fn without_slash(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::{AliasSettings, Aliases, DecisionPath, Refusal};

    fn found(raw: &str) -> Result<Option<String>, Refusal> {
        let alias = |host: &str, path: &str, endpoint: &str| AliasSettings {
            host: host.into(),
            path: path.into(),
            endpoint: endpoint.into(),
        };
        let aliases = Aliases::new(
            &[
                alias("a.example", "/api/auth/login", "login"),
                alias("a.example", "/api/stats", "admin/stats"),
                alias("b.example", "/api/auth/logout", "logout"),
            ],
            "/.portcullis",
        );
        let path = DecisionPath::parse(raw).unwrap();
        let found = aliases.find("a.example", raw, &path)?;
        Ok(found.map(|target| target.to_string()))
    }

    #[test]
    fn exactly_its_path_on_its_host_is_an_alias() {
        assert_eq!(found("/api/auth/login"), Ok(Some("/.portcullis/login".into())));
        assert_eq!(found("/api/stats"), Ok(Some("/.portcullis/admin/stats".into())));
        for other in [
            "/",
            "/api/auth",
            "/api/auth/login/x",
            "/api/auth/logins",
            "/api/auth/logout",
            "/x/api/auth/login",
        ] {
            assert_eq!(found(other), Ok(None), "{other}");
        }
    }

    #[test]
    fn what_an_application_may_read_as_an_alias_is_refused() {
        for raw in [
            "/api/auth/LOGIN",
            "/API/auth/login",
            "/api/auth/login/",
            "/api/auth/log%69n",
            "/api/auth/log%2569n",
            "/api/auth/login;x=1",
            "/api;v=2/auth/login",
            "/api/auth/login.",
            "/api/auth/login%20",
            "//api/auth/login",
            "/api/auth//login",
            "/api%2Fauth%2Flogin",
            "/api/auth\\login",
            "/x/..%2fapi/auth/login",
            "/api/auth/log%C4%B1n",
            "/api/%C5%BFtats",
        ] {
            assert_eq!(found(raw), Err(Refusal::Ambiguous("alias_path")), "{raw}");
        }
    }
}
