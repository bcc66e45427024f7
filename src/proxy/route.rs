//! Which route a request belongs to: host, path and method, the most specific first. Immutable after it is built.

use super::identity::Profile;
use super::path::DecisionPath;
use super::refusal::Refusal;
use super::settings::Access;
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
    /// A page of the gateway's own.
    Portal,
    /// An application behind a route.
    Application(Arc<Route>),
}

/// Every route, by host.
#[derive(Debug)]
pub struct Routes {
    exact: HashMap<String, Vec<Arc<Route>>>,
    wildcard: HashMap<String, Vec<Arc<Route>>>,
    any: Vec<Arc<Route>>,
    portal_prefix: String,
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
            portal_prefix: portal_prefix.to_owned(),
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
            return Ok(Target::Portal);
        }
        if self.in_portal(&path.text) || path.readings(true, true).iter().any(|reading| self.in_portal(reading)) {
            return Err(Refusal::Ambiguous("portal_path"));
        }
        let route = self.select(host, &path.text, method, false).ok_or(Refusal::NoRoute)?;
        if path.has_encoded_slash && !route.settings.allow_encoded_slash {
            return Err(Refusal::Ambiguous("encoded_slash"));
        }
        if path.has_double_slash && !route.settings.allow_double_slash {
            return Err(Refusal::Ambiguous("double_slash"));
        }
        self.check_readings(host, path, method, route)?;
        Ok(Target::Application(Arc::clone(route)))
    }

    fn check_readings(
        &self,
        host: &str,
        path: &DecisionPath<'_>,
        method: &Method,
        route: &Arc<Route>,
    ) -> Result<(), Refusal> {
        let fold = route.settings.path_case == PathCase::Insensitive;
        let same = |other: Option<&Arc<Route>>| other.is_some_and(|other| other.rule == route.rule);
        let folded_pattern = fold && self.has_upper_patterns;
        if folded_pattern && !same(self.select(host, &path.text.to_ascii_lowercase(), method, true)) {
            return Err(Refusal::Ambiguous("other_reading"));
        }
        for reading in path.readings(fold, !route.settings.allow_path_parameters) {
            if !same(self.select(host, &reading, method, fold)) {
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
        path.strip_prefix(self.portal_prefix.as_bytes())
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

fn covers(pattern: &PathPattern, path: &[u8]) -> bool {
    match pattern {
        PathPattern::Exact(exact) => exact.as_bytes() == path,
        PathPattern::Prefix(prefix) if prefix == "/" => true,
        PathPattern::Prefix(prefix) => path
            .strip_prefix(prefix.as_bytes())
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'/'),
    }
}

fn fold(pattern: &PathPattern) -> PathPattern {
    match pattern {
        PathPattern::Exact(path) => PathPattern::Exact(path.to_ascii_lowercase()),
        PathPattern::Prefix(path) => PathPattern::Prefix(path.to_ascii_lowercase()),
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
