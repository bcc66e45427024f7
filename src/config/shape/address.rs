use super::Mistake;
use crate::proxy::HostPattern;
use crate::proxy::ServerAddress;
use crate::store::each_server;
use ipnet::IpNet;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::str::FromStr;
use url::Host;
use url::Url;

/// Where a store URL points.
#[derive(Debug, PartialEq, Eq)]
pub enum StorePlace {
    Postgres,
    /// Path of the file, as written.
    Sqlite(String),
}

/// One host, `*.` and a host, or an address; canonical: lower case, IPv6 in brackets.
pub fn host(text: &str) -> Result<HostPattern, Mistake> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    if let Ok(address) = Ipv6Addr::from_str(bare) {
        return Ok(HostPattern::Exact(format!("[{address}]")));
    }
    if let Ok(address) = Ipv4Addr::from_str(text) {
        return Ok(HostPattern::Exact(address.to_string()));
    }
    match text.strip_prefix("*.") {
        Some(rest) if !rest.contains('.') => Err(Mistake::new(
            "covers a whole top-level domain",
            "name at least two labels: \"*.example.com\"",
        )),
        Some(rest) => host_name(rest).map(HostPattern::Wildcard),
        None => host_name(text).map(HostPattern::Exact),
    }
}

pub fn check_host(text: &str) -> Result<(), Mistake> {
    host(text).map(drop)
}

fn host_name(text: &str) -> Result<String, Mistake> {
    let wrong = |hint: &str| Mistake::new("is not a host", hint);
    if text.contains("://") || text.contains('/') {
        return Err(wrong(
            "write the name alone, without scheme and path: \"app.example.com\"",
        ));
    }
    if text.contains(':') {
        return Err(wrong("leave the port out: a route is for every port of its host"));
    }
    if text.ends_with('.') {
        return Err(wrong("leave the last dot out"));
    }
    if text.contains('*') {
        return Err(wrong("a wildcard is the whole first label: \"*.example.com\""));
    }
    if !text.is_ascii() {
        return Err(match Host::parse(text) {
            Ok(Host::Domain(ascii)) => wrong(&format!("write it as browsers send it: \"{ascii}\"")),
            _ => wrong("write letters, digits, - and ."),
        });
    }
    let fits = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let number_at_end = text
        .rsplit('.')
        .next()
        .is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    if text.len() > 253 || !text.split('.').all(fits) || number_at_end {
        return Err(wrong("write letters, digits, - and ., as in \"app.example.com\""));
    }
    Ok(text.to_ascii_lowercase())
}

/// A cookie's domain: a host name with a dot, no address.
pub fn check_domain(text: &str) -> Result<(), Mistake> {
    if let Some(rest) = text.strip_prefix('.').or_else(|| text.strip_prefix("*.")) {
        return Err(Mistake::new(
            "is not a domain",
            format!("write \"{}\": it covers all hosts below", rest.escape_debug()),
        ));
    }
    match host(text)? {
        HostPattern::Exact(name) if name.parse::<IpAddr>().is_ok() || name.starts_with('[') => {
            Err(Mistake::new("is an address", "browsers take cookies for domains only"))
        }
        HostPattern::Exact(name) if !name.contains('.') => Err(Mistake::new(
            "has one label only",
            "browsers refuse such a domain; leave domains out",
        )),
        HostPattern::Exact(name) if name != text => Err(Mistake::new("is not lower case", format!("write \"{name}\""))),
        _ => Ok(()),
    }
}

/// A network, or one address.
pub fn network(text: &str) -> Result<IpNet, Mistake> {
    let wrong = |hint: &str| Mistake::new("is not a network", hint);
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let network: IpNet = text
        .parse()
        .map_err(|_| wrong("as in \"10.0.0.0/8\", \"2001:db8::/32\" or \"192.0.2.7\""))?;
    if network.trunc() != network {
        return Err(wrong(&format!(
            "the network of that address is \"{}\"",
            network.trunc()
        )));
    }
    Ok(network)
}

pub fn check_network(text: &str) -> Result<(), Mistake> {
    network(text).map(drop)
}

pub fn check_socket(text: &str) -> Result<(), Mistake> {
    if text.parse::<SocketAddr>().is_ok() {
        return Ok(());
    }
    let wrong = |hint: String| Err(Mistake::new("is not an address and port", hint));
    if text.parse::<IpAddr>().is_ok() {
        return wrong(format!(
            "add a port: \"{}\"",
            SocketAddr::new(text.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), 8443)
        ));
    }
    match text.rsplit_once(':') {
        Some(("", port)) if port.parse::<u16>().is_ok() => {
            wrong(format!("write \"0.0.0.0:{port}\", or \"[::]:{port}\" with IPv6"))
        }
        Some(("localhost", port)) if port.parse::<u16>().is_ok() => wrong(format!("write \"127.0.0.1:{port}\"")),
        _ => wrong("as in \"0.0.0.0:8443\" or \"[::]:8443\"".to_owned()),
    }
}

/// `http://host:port`, nothing more.
pub fn server(text: &str) -> Result<ServerAddress, Mistake> {
    let wrong = |hint: &str| Mistake::new("is not a server", hint);
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("https://") {
        return Err(Mistake::Later("an https server".to_owned()));
    }
    if lower.starts_with("unix:") {
        return Err(Mistake::Later("a unix socket as a server".to_owned()));
    }
    let Some(rest) = lower.strip_prefix("http://") else {
        return Err(wrong("write \"http://HOST:PORT\""));
    };
    if rest.contains('@') {
        return Err(wrong("leave user and password out"));
    }
    if rest.trim_end_matches('/').contains(['/', '?', '#', '\\']) {
        return Err(wrong("leave the path out; a route's add_prefix puts one in front"));
    }
    let url = Url::parse(&lower).map_err(|_| wrong("write \"http://HOST:PORT\""))?;
    let host = match url.host() {
        Some(Host::Domain(name)) => host_name(name).map_err(|_| wrong("write \"http://HOST:PORT\""))?,
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => return Err(wrong("write \"http://HOST:PORT\"")),
    };
    match url.port_or_known_default() {
        None | Some(0) => Err(wrong("port 0 is no port to connect to")),
        Some(port) => Ok(ServerAddress { host, port }),
    }
}

pub fn check_server(text: &str) -> Result<(), Mistake> {
    server(text).map(drop)
}

/// RFC 6454 in the form that browsers send: scheme, host, and the port where it is not the scheme's own.
pub fn check_origin(text: &str) -> Result<(), Mistake> {
    let wrong = |hint: &str| Mistake::new("is not an origin", hint);
    let url = Url::parse(text).map_err(|_| wrong("as in \"https://app.example.com\""))?;
    if !matches!(url.scheme(), "http" | "https") || text.contains('@') {
        return Err(wrong("as in \"https://app.example.com\""));
    }
    let origin = url.origin().ascii_serialization();
    if origin == text {
        Ok(())
    } else {
        Err(wrong(&format!("browsers send it as \"{origin}\"")))
    }
}

/// Which engine a URL names. No part of it stands in a mistake: it may hold a password.
pub fn store_place(text: &str) -> Result<StorePlace, Mistake> {
    let forms = "write \"postgres://USER@HOST:5432/DATABASE\" or \"sqlite://PATH\"";
    let (scheme, _) = text
        .split_once(':')
        .ok_or_else(|| Mistake::new("is not a database URL", forms))?;
    match scheme {
        "postgres" | "postgresql" => postgres_url(text).map(|()| StorePlace::Postgres),
        "sqlite" => sqlite_path(text).map(StorePlace::Sqlite),
        "mysql" | "mariadb" | "mssql" | "sqlserver" | "mongodb" | "redis" => Err(Mistake::new(
            format!("is for {scheme}, which can't be the store"),
            forms,
        )),
        _ => Err(Mistake::new("is not a database URL", forms)),
    }
}

pub fn check_store_url(text: &str) -> Result<(), Mistake> {
    store_place(text).map(drop)
}

pub fn check_postgres_url(text: &str) -> Result<(), Mistake> {
    match store_place(text)? {
        StorePlace::Postgres => Ok(()),
        StorePlace::Sqlite(_) => Err(Mistake::new(
            "is not a Postgres URL",
            "SQLite has no pooler; leave it out",
        )),
    }
}

/// A URL may name several servers with commas between, as libpq's do.
fn postgres_url(text: &str) -> Result<(), Mistake> {
    each_server(text).iter().try_for_each(|url| postgres_server(url))
}

fn postgres_server(text: &str) -> Result<(), Mistake> {
    let form = "write \"postgres://USER@HOST:5432/DATABASE\"; escape special characters of the password as %XX";
    let url = Url::parse(text).map_err(|_| Mistake::new("is not a database URL", form))?;
    let query_user = url
        .query_pairs()
        .any(|(name, value)| name == "user" && !value.is_empty());
    if url.username().is_empty() && !query_user {
        return Err(Mistake::new(
            "names no user",
            "write the user to log in as: \"postgres://USER@HOST:5432/DATABASE\"",
        ));
    }
    let query_host = url.query_pairs().any(|(name, _)| name == "host" || name == "hostaddr");
    if url.host_str().is_none_or(str::is_empty) && !query_host {
        return Err(Mistake::new("names no host", form));
    }
    if url.path().trim_matches('/').is_empty() && !url.query_pairs().any(|(name, _)| name == "dbname") {
        return Err(Mistake::new("names no database", form));
    }
    Ok(())
}

fn sqlite_path(text: &str) -> Result<String, Mistake> {
    let rest = text.trim_start_matches("sqlite:");
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path.contains('\0') {
        return Err(Mistake::new("names no file", "write \"sqlite://data/portcullis.db\""));
    }
    if path.contains(":memory:") || path.contains('?') {
        return Err(Mistake::new(
            "is not a plain file",
            "write \"sqlite://data/portcullis.db\", without options",
        ));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_canonical() {
        assert_eq!(
            host("CRM.Example.com"),
            Ok(HostPattern::Exact("crm.example.com".to_owned()))
        );
        assert_eq!(
            host("*.example.com"),
            Ok(HostPattern::Wildcard("example.com".to_owned()))
        );
        assert_eq!(host("::1"), Ok(HostPattern::Exact("[::1]".to_owned())));
        assert_eq!(host("[::1]"), Ok(HostPattern::Exact("[::1]".to_owned())));
        assert_eq!(host("127.0.0.1"), Ok(HostPattern::Exact("127.0.0.1".to_owned())));
        for bad in [
            "", ".", "a.", "a..b", "a:80", "http://a", "*", "*.com", "a.*.b", "1.2.3", "-a.b", "grün.de", "a b",
        ] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_server_is_scheme_host_and_port() {
        let of = |host: &str, port| {
            Ok(ServerAddress {
                host: host.to_owned(),
                port,
            })
        };
        assert_eq!(server("http://127.0.0.1:3000"), of("127.0.0.1", 3000));
        assert_eq!(server("http://[::1]:3000/"), of("::1", 3000));
        assert_eq!(server("HTTP://App"), of("app", 80));
        for bad in [
            "",
            "127.0.0.1:3000",
            "http://",
            "http://a:0",
            "http://a:99999",
            "http://u:p@a",
            "http://a/x",
            "ftp://a",
            "http:a",
        ] {
            assert!(matches!(server(bad), Err(Mistake::Wrong(..))), "{bad}");
        }
        assert!(matches!(server("https://a"), Err(Mistake::Later(_))));
        assert!(matches!(server("unix:/run/a"), Err(Mistake::Later(_))));
    }

    #[test]
    fn a_network_has_no_host_bits() {
        assert!(network("10.0.0.0/8").is_ok());
        assert_eq!(network("192.0.2.7").map(|net| net.prefix_len()), Ok(32));
        for bad in ["10.0.0.1/8", "10.0.0.0/33", "10.0/8", "localhost", ""] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_what_browsers_send() {
        assert!(check_origin("https://app.example.com").is_ok());
        assert!(check_origin("http://localhost:3000").is_ok());
        for bad in [
            "https://a/",
            "https://A",
            "https://a:443",
            "a",
            "null",
            "file:///x",
            "https://u@a",
            "https://a/x",
        ] {
            assert!(check_origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_postgres_url_names_user_host_and_database() {
        assert_eq!(store_place("postgres://u:p@h/d"), Ok(StorePlace::Postgres));
        assert_eq!(store_place("postgresql://u@h:5432/d"), Ok(StorePlace::Postgres));
        assert_eq!(
            store_place("postgres://u@one:5432,two:5433/d?target_session_attrs=any"),
            Ok(StorePlace::Postgres)
        );
        assert_eq!(
            store_place("sqlite://data/p.db"),
            Ok(StorePlace::Sqlite("data/p.db".to_owned()))
        );
        assert_eq!(
            store_place("sqlite:///var/p.db"),
            Ok(StorePlace::Sqlite("/var/p.db".to_owned()))
        );
        for bad in [
            "postgres://h/d",
            "postgres://u@h",
            "postgres://u@/d",
            "postgres://u@one,/d",
            "postgres://u@one:1,two:x/d",
            "mysql://u@h/d",
            "sqlite::memory:",
            "sqlite://",
            "x",
            "",
        ] {
            assert!(store_place(bad).is_err(), "{bad}");
        }
    }
}
