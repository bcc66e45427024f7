//! Which route a request belongs to: host, path and method, the most specific first. Immutable after it is built.

use super::alias::Aliases;
use super::identity::Profile;
use super::path;
use super::path::DecisionPath;
use super::path::PathFault;
use super::refusal::Refusal;
use super::settings::Access;
use super::settings::AliasSettings;
use super::settings::HostPattern;
use super::settings::PathCase;
use super::settings::PathPattern;
use super::settings::RouteSettings;
use crate::telemetry::RouteMetrics;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use std::collections::HashMap;
use std::sync::Arc;

/// A route with all that its requests need, resolved once.
#[derive(Debug)]
pub struct Route {
    /// What the operator wrote.
    pub settings: RouteSettings,
    /// Ready counters.
    pub metrics: RouteMetrics,
    /// Its identity headers.
    pub profile: Profile,
    /// `settings.set_headers`, ready.
    pub fixed_headers: Vec<(HeaderName, HeaderValue)>,
    /// `settings.path` with case folded.
    folded: PathPattern,
    /// Routes with the same rule, upstream and identity have the same number: one may stand for the other.
    rule: usize,
}

/// What a request is for.
#[derive(Clone, Debug)]
pub enum Target {
    /// A page of the gateway's own; the path that it stands for, where it came by an alias.
    Portal(Option<Arc<str>>),
    /// An application behind a route.
    Application(Arc<Route>),
}

/// Every route, by host.
#[derive(Debug)]
pub struct Routes {
    exact: HashMap<String, Vec<Arc<Route>>>,
    wildcard: HashMap<String, Vec<Arc<Route>>>,
    any: Vec<Arc<Route>>,
    aliases: Aliases,
    portal_prefix: String,
    folded_prefix: Vec<u8>,
    /// Whether a path without upper case can still be another route's with case folded.
    has_upper_patterns: bool,
    /// Hosts with a `methods` rule lose `X-HTTP-Method*`: kept as one switch for all hosts, the stricter choice.
    pub strip_method_overrides: bool,
}

impl Routes {
    /// Sorts routes so that the first match is the most specific one.
    #[must_use]
    pub fn new(routes: Vec<(RouteSettings, RouteMetrics, Profile)>, portal_prefix: &str) -> Self {
        let mut table = Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            any: Vec::new(),
            aliases: Aliases::default(),
            portal_prefix: portal_prefix.to_owned(),
            folded_prefix: path::fold(portal_prefix.as_bytes()),
            has_upper_patterns: routes.iter().any(|(route, ..)| fold(&route.path) != route.path),
            strip_method_overrides: routes.iter().any(|(route, ..)| !route.methods.is_empty()),
        };
        let mut rules: Vec<RouteSettings> = Vec::new();
        for (settings, metrics, profile) in routes {
            let rule = rules
                .iter()
                .position(|known| same_rule(known, &settings))
                .unwrap_or(rules.len());
            if rule == rules.len() {
                rules.push(settings.clone());
            }
            let place = match &settings.host {
                HostPattern::Exact(host) => table.exact.entry(host.clone()).or_default(),
                HostPattern::Wildcard(parent) => table.wildcard.entry(parent.clone()).or_default(),
                HostPattern::Any => &mut table.any,
            };
            let folded = fold(&settings.path);
            let fixed = |(name, value): &(HeaderName, String)| Some((name.clone(), HeaderValue::from_str(value).ok()?));
            let fixed_headers = settings.set_headers.iter().filter_map(fixed).collect();
            place.push(Arc::new(Route {
                settings,
                metrics,
                profile,
                fixed_headers,
                folded,
                rule,
            }));
        }
        for list in table
            .exact
            .values_mut()
            .chain(table.wildcard.values_mut())
            .chain([&mut table.any])
        {
            list.sort_by_key(|route| std::cmp::Reverse(specificity(&route.settings)));
        }
        table
    }

    /// The same with these aliases.
    #[must_use]
    pub fn with_aliases(mut self, aliases: &[AliasSettings]) -> Self {
        self.aliases = Aliases::new(aliases, &self.portal_prefix);
        self
    }

    /// Whether any route is for `host`; a host that is in none is answered 421.
    #[must_use]
    pub fn knows(&self, host: &str) -> bool {
        !self.any.is_empty() || self.exact.contains_key(host) || self.of_parent(host).is_some()
    }

    /// Decides what a request is for, and makes sure that no other reading of its path is for something else.
    ///
    /// # Errors
    /// `UnknownHost`, `NoRoute`, or `Ambiguous` when the bytes of the path can be read as another route's.
    pub fn find(
        &self,
        host: &str,
        raw_path: &str,
        path: &DecisionPath<'_>,
        method: &Method,
    ) -> Result<Target, Refusal> {
        if !self.knows(host) {
            return Err(Refusal::UnknownHost);
        }
        if self.in_portal(raw_path.as_bytes()) {
            return Ok(Target::Portal(None));
        }
        if let Some(target) = self.aliases.find(host, raw_path, path)? {
            return Ok(Target::Portal(Some(target)));
        }
        let readings = path.readings(true).map_err(refusal_of)?;
        let hides_portal = |text: &[u8]| self.in_portal(text) || self.in_folded_portal(&path::fold(text));
        if self.in_portal(&path.text)
            || (path.has_case && hides_portal(&path.text))
            || readings.iter().any(|reading| hides_portal(reading))
        {
            return Err(Refusal::Ambiguous("portal_path"));
        }
        let route = self.select(host, &path.text, method, false).ok_or(Refusal::NoRoute)?;
        if path.has_encoded_slash && !route.settings.allow_encoded_slash {
            return Err(Refusal::Ambiguous("encoded_slash"));
        }
        if path.has_double_slash && !route.settings.allow_double_slash {
            return Err(Refusal::Ambiguous("double_slash"));
        }
        if route.settings.allow_path_parameters {
            let readings = path.readings(false).map_err(refusal_of)?;
            self.check_readings(host, path, &readings, method, route)?;
        } else {
            self.check_readings(host, path, &readings, method, route)?;
        }
        Ok(Target::Application(Arc::clone(route)))
    }

    fn check_readings(
        &self,
        host: &str,
        path: &DecisionPath<'_>,
        readings: &[Vec<u8>],
        method: &Method,
        route: &Arc<Route>,
    ) -> Result<(), Refusal> {
        let folds = route.settings.path_case == PathCase::Insensitive;
        let same = |other: Option<&Arc<Route>>| other.is_some_and(|other| other.rule == route.rule);
        let same_folded = |text: &[u8]| same(self.select(host, &path::fold(text), method, true));
        if folds && (path.has_case || self.has_upper_patterns) && !same_folded(&path.text) {
            return Err(Refusal::Ambiguous("other_reading"));
        }
        for reading in readings {
            if !same(self.select(host, reading, method, false)) || (folds && !same_folded(reading)) {
                return Err(Refusal::Ambiguous("other_reading"));
            }
        }
        Ok(())
    }

    fn select(&self, host: &str, path: &[u8], method: &Method, folded: bool) -> Option<&Arc<Route>> {
        let exact = self.exact.get(host);
        let lists = [exact, self.of_parent(host), Some(&self.any)];
        lists.into_iter().flatten().flatten().find(|route| {
            let pattern = if folded { &route.folded } else { &route.settings.path };
            covers(pattern, path) && (route.settings.methods.is_empty() || route.settings.methods.contains(method))
        })
    }

    fn of_parent(&self, host: &str) -> Option<&Vec<Arc<Route>>> {
        if self.wildcard.is_empty() {
            return None;
        }
        let (label, parent) = host.split_once('.')?;
        if label.is_empty() {
            None
        } else {
            self.wildcard.get(parent)
        }
    }

    fn in_portal(&self, path: &[u8]) -> bool {
        is_under(self.portal_prefix.as_bytes(), path)
    }

    fn in_folded_portal(&self, folded: &[u8]) -> bool {
        is_under(&self.folded_prefix, folded)
    }
}

/// The refusal that a path's fault is.
#[must_use]
pub const fn refusal_of(fault: PathFault) -> Refusal {
    match fault {
        PathFault::Malformed => Refusal::Malformed("path"),
        PathFault::Control => Refusal::Malformed("path_control"),
        PathFault::DotSegment => Refusal::Ambiguous("dot_segment"),
        PathFault::TooManyReadings => Refusal::Ambiguous("too_many_readings"),
    }
}

fn covers(pattern: &PathPattern, path: &[u8]) -> bool {
    match pattern {
        PathPattern::Exact(exact) => exact.as_bytes() == path,
        PathPattern::Prefix(prefix) if prefix == "/" => true,
        PathPattern::Prefix(prefix) => is_under(prefix.as_bytes(), path),
    }
}

/// By whole segments.
fn is_under(prefix: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

fn fold(pattern: &PathPattern) -> PathPattern {
    // Folding maps letters to letters, so it stays UTF-8.
    let folded = |path: &str| String::from_utf8_lossy(&path::fold(path.as_bytes())).into_owned();
    match pattern {
        PathPattern::Exact(path) => PathPattern::Exact(folded(path)),
        PathPattern::Prefix(path) => PathPattern::Prefix(folded(path)),
    }
}

fn specificity(route: &RouteSettings) -> (usize, bool, bool) {
    let (length, exact) = match &route.path {
        PathPattern::Exact(path) => (path.len(), true),
        PathPattern::Prefix(path) => (path.len(), false),
    };
    (length, exact, !route.methods.is_empty())
}

/// Whether it makes no difference which of two routes a request is taken for.
fn same_rule(left: &RouteSettings, right: &RouteSettings) -> bool {
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort();
        list
    };
    let open = |route: &RouteSettings| route.access == Access::Public && route.networks.is_empty();
    left.access == right.access
        && left.upstream == right.upstream
        && (open(left)
            || (sorted(&left.groups) == sorted(&right.groups) && sorted(&left.users) == sorted(&right.users)))
        && left.networks == right.networks
        && left.methods == right.methods
        && left.allow_preflight == right.allow_preflight
        && left.origins == right.origins
        && left.identity.preset == right.identity.preset
        && left.identity.headers == right.identity.headers
        && left.set_headers == right.set_headers
        && left.strip_prefix == right.strip_prefix
        && left.add_prefix == right.add_prefix
}

#[cfg(test)]
mod tests {
    use super::{DecisionPath, Profile, Refusal, Routes, Target};
    use crate::proxy::settings::{
        Access, Encoding, HostPattern, IdentitySettings, PathCase, PathPattern, Preset, RouteSettings,
    };
    use crate::telemetry::Metrics;
    use http::Method;
    use std::time::Duration;

    fn route(name: &str, host: HostPattern, path: PathPattern, access: Access) -> RouteSettings {
        RouteSettings {
            name: name.into(),
            host,
            path,
            methods: Vec::new(),
            upstream: Some(0),
            access,
            groups: Vec::new(),
            users: Vec::new(),
            networks: Vec::new(),
            api: false,
            origins: Vec::new(),
            allow_preflight: false,
            allow_encoded_slash: false,
            allow_double_slash: false,
            allow_path_parameters: false,
            path_case: PathCase::Insensitive,
            preserve_host: true,
            strip_prefix: false,
            add_prefix: String::new(),
            set_headers: Vec::new(),
            outage_grace: Duration::ZERO,
            cache_private: true,
            sessions: crate::session::Accepted::default(),
            identity: IdentitySettings {
                preset: Preset::OAuth2Proxy,
                headers: Vec::new(),
                delimiter: None,
                encoding: Encoding::Percent,
            },
        }
    }

    fn prefix(path: &str) -> PathPattern {
        PathPattern::Prefix(path.into())
    }

    fn exact(host: &str) -> HostPattern {
        HostPattern::Exact(host.into())
    }

    fn table(routes: Vec<RouteSettings>) -> Routes {
        let metrics = Metrics::new();
        let ready = routes
            .into_iter()
            .map(|route| (metrics.route(&route.name), Profile::new(&route.identity), route));
        Routes::new(
            ready
                .map(|(metrics, profile, route)| (route, metrics, profile))
                .collect(),
            "/.portcullis",
        )
    }

    fn find(routes: &Routes, method: &Method, host: &str, raw: &str) -> Result<String, Refusal> {
        let path = DecisionPath::parse(raw).unwrap();
        routes.find(host, raw, &path, method).map(|target| match target {
            Target::Portal(_) => "portal".to_owned(),
            Target::Application(route) => route.settings.name.clone(),
        })
    }

    #[test]
    fn the_most_specific_route_wins_whatever_the_order() {
        let mut post = route("post", exact("a.example"), prefix("/api"), Access::SignedIn);
        post.methods = vec![Method::POST];
        let mut routes = vec![
            route("any", HostPattern::Any, prefix("/"), Access::Public),
            route(
                "wild",
                HostPattern::Wildcard("example".into()),
                prefix("/"),
                Access::Public,
            ),
            route("root", exact("a.example"), prefix("/"), Access::Public),
            route("api", exact("a.example"), prefix("/api"), Access::SignedIn),
            route(
                "one",
                exact("a.example"),
                PathPattern::Exact("/api/one".into()),
                Access::Public,
            ),
            post,
        ];
        for _ in 0..routes.len() {
            routes.rotate_left(1);
            let table = table(routes.clone());
            for (method, host, path, name) in [
                (Method::GET, "a.example", "/x", "root"),
                (Method::GET, "a.example", "/api", "api"),
                (Method::GET, "a.example", "/api/x", "api"),
                (Method::GET, "a.example", "/apix", "root"),
                (Method::GET, "a.example", "/api/one", "one"),
                (Method::POST, "a.example", "/api/x", "post"),
                (Method::GET, "b.example", "/api", "wild"),
                (Method::GET, "c.b.example", "/api", "any"),
                (Method::GET, "example", "/api", "any"),
                (Method::GET, "a.example", "/.portcullis", "portal"),
                (Method::GET, "a.example", "/.portcullis/login", "portal"),
                (Method::GET, "a.example", "/.portcullisx", "root"),
            ] {
                assert_eq!(find(&table, &method, host, path).as_deref(), Ok(name), "{host}{path}");
            }
        }
    }

    #[test]
    fn unknown_hosts_and_paths_are_told_apart() {
        let table = table(vec![route("one", exact("a.example"), prefix("/one"), Access::Public)]);
        assert_eq!(
            find(&table, &Method::GET, "b.example", "/one"),
            Err(Refusal::UnknownHost)
        );
        assert_eq!(find(&table, &Method::GET, "a.example", "/two"), Err(Refusal::NoRoute));
    }

    #[test]
    fn a_path_that_can_be_read_as_another_rules_is_refused() {
        let table = table(vec![
            route("public", exact("a.example"), prefix("/"), Access::Public),
            route("admin", exact("a.example"), prefix("/admin"), Access::Deny),
            route("shout", exact("a.example"), prefix("/Reports"), Access::SignedIn),
        ]);
        for raw in [
            "/Admin",
            "/admin;x",
            "/admin.",
            "/admin%20",
            "/%2561dmin",
            "/x/%252e%252e/admin",
            "/ADMIN/x",
            "/reports",
            "/admin;x=1/y",
            "/x;/../../admin;/",
        ] {
            let Ok(path) = DecisionPath::parse(raw) else { continue };
            let found = table.find("a.example", raw, &path, &Method::GET);
            assert!(matches!(found, Err(Refusal::Ambiguous(_))), "{raw}: {found:?}");
        }
        for raw in [
            "/.PORTCULLIS/login",
            "/.portcullis;x/login",
            "/%2eportcullis/login",
            "/.portcullis./me",
            "/%252eportcullis/me",
        ] {
            assert!(
                matches!(find(&table, &Method::GET, "a.example", raw), Err(Refusal::Ambiguous(_))),
                "{raw}"
            );
        }
        for (raw, name) in [
            ("/Logo.PNG", "public"),
            ("/a;b=c", "public"),
            ("/admin/x;y", "admin"),
            ("/100%25", "public"),
            ("/a%20b", "public"),
        ] {
            assert_eq!(
                find(&table, &Method::GET, "a.example", raw).as_deref(),
                Ok(name),
                "{raw}"
            );
        }
    }

    #[test]
    fn a_route_may_allow_what_its_application_knows() {
        let mut open = route("open", exact("a.example"), prefix("/"), Access::Public);
        let admin = route("admin", exact("a.example"), prefix("/admin"), Access::Deny);
        assert_eq!(
            find(&table(vec![open.clone()]), &Method::GET, "a.example", "/a%2Fb"),
            Err(Refusal::Ambiguous("encoded_slash"))
        );
        assert_eq!(
            find(&table(vec![open.clone()]), &Method::GET, "a.example", "/a//b"),
            Err(Refusal::Ambiguous("double_slash"))
        );
        open.allow_encoded_slash = true;
        open.allow_double_slash = true;
        open.path_case = PathCase::Sensitive;
        let table = table(vec![open, admin]);
        for raw in ["/a%2Fb", "/a//b", "/ADMIN"] {
            assert_eq!(
                find(&table, &Method::GET, "a.example", raw).as_deref(),
                Ok("open"),
                "{raw}"
            );
        }
        for raw in ["/x%2F..%2Fadmin", "//admin", "/%2Fadmin", "/a/..%5cadmin"] {
            assert!(find(&table, &Method::GET, "a.example", raw).is_err(), "{raw}");
        }
    }
}
