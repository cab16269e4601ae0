//! Where the store is that hosts share. Read by hand: the library's own reader of URLs brings tables of the world's
//! domain names along.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

const PORT: u16 = 6379;
const POSTGRES_PORT: u16 = 5432;

/// What to do instead. A connection in clear must not be had by who asks for another.
const NO_TLS: &str = "TLS to the store is not built in (docs/hosts.md): use a private network, or name the end of a tunnel \
                      (stunnel) on this host";

/// Where a store is, and who asks.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Redis(Place),
    Postgres(Box<Config>),
}

/// Where a Redis or Valkey is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    at: At,
    user: Option<String>,
    password: Option<String>,
    database: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    Tcp(String, u16),
    Unix(String),
}

impl FromStr for Address {
    type Err = String;

    /// Errors never repeat what was given: it may hold a password.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("what was given is no address of a store: redis://host:6379 is one")?;
        match scheme {
            "redis" | "valkey" => tcp(rest).map(Self::Redis),
            "unix" | "redis+unix" => unix(rest).map(Self::Redis),
            "postgres" | "postgresql" => postgres(text),
            "rediss" | "valkeys" => Err(format!("{NO_TLS}, as store=redis://127.0.0.1:6380")),
            other => Err(format!(
                "{other:?} is no address of a store: redis://host:6379, redis+unix:///path and \
                 postgres://user@host/database are"
            )),
        }
    }
}

/// Read by its own library.
fn postgres(text: &str) -> Result<Address, String> {
    let config: Config = text.parse().map_err(|_| {
        "that is no address of a PostgreSQL: postgres://user:password@host:5432/database is one".to_owned()
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err("the store's address has no host: postgres://user@localhost/database has one".to_owned());
    }
    if config.get_user().is_none() {
        return Err("the store's address has no user: postgres://user@localhost/database has one".to_owned());
    }
    if matches!(config.get_ssl_mode(), SslMode::Require) {
        return Err(format!("{NO_TLS}, as store=postgres://user@127.0.0.1:5433/database without sslmode"));
    }
    Ok(Address::Postgres(Box::new(config)))
}

fn tcp(rest: &str) -> Result<Place, String> {
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (who, host) = place.rsplit_once('@').unwrap_or(("", place));
    let (user, password) = who.split_once(':').unwrap_or((who, ""));
    let (host, port) = match host.rsplit_once(':') {
        // An IPv6 address has colons of its own, in brackets.
        Some((host, port)) if !port.contains(']') => {
            let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
            (host, port)
        }
        Some(_) | None => (host, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err("the store's address has no host: redis://localhost:6379 has one".to_owned());
    }
    Ok(Place {
        at: At::Tcp(host.to_owned(), port),
        user: decoded(user)?,
        password: decoded(password)?,
        database: database(path)?,
    })
}

/// `redis+unix:///path?db=1`.
fn unix(rest: &str) -> Result<Place, String> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') {
        return Err(
            "the socket's path is not absolute: redis+unix:///run/redis.sock has one that is".to_owned()
        );
    }
    let mut address = Place { at: At::Unix(path.to_owned()), user: None, password: None, database: 0 };
    for setting in query.split('&').filter(|setting| !setting.is_empty()) {
        match setting.split_once('=') {
            Some(("db", value)) => address.database = database(value)?,
            Some(("user", value)) => address.user = decoded(value)?,
            Some(("pass", value)) => address.password = decoded(value)?,
            Some((name, _)) => return Err(format!("{name:?} is none of db, user and pass")),
            None => return Err(format!("{setting:?} is no setting: db=1 is one")),
        }
    }
    Ok(address)
}

fn database(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let number = text.parse::<u32>().map_err(|_| format!("{text:?} is no number of a database"))?;
    Ok(i64::from(number))
}

fn decoded(text: &str) -> Result<Option<String>, String> {
    let text = percent_decode_str(text).decode_utf8();
    let text = text.map_err(|_| "user or password are not UTF-8".to_owned())?;
    Ok(Some(text.into_owned()).filter(|text| !text.is_empty()))
}

impl Place {
    /// For the library.
    pub(super) fn info(&self) -> Result<ConnectionInfo, redis::RedisError> {
        let at = match &self.at {
            At::Tcp(host, port) => ConnectionAddr::Tcp(host.clone(), *port),
            At::Unix(path) => ConnectionAddr::Unix(path.into()),
        };
        let mut settings = RedisConnectionInfo::default().set_db(self.database);
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        Ok(at.into_connection_info()?.set_redis_settings(settings))
    }
}

impl fmt::Display for Place {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Tcp(host, port) if host.contains(':') => {
                write!(f, "redis://[{host}]:{port}/{}", self.database)
            }
            At::Tcp(host, port) => write!(f, "redis://{host}:{port}/{}", self.database),
            At::Unix(path) => write!(f, "redis+unix://{path}?db={}", self.database),
        }
    }
}

impl fmt::Display for Address {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(place) => place.fmt(f),
            Self::Postgres(config) => f.write_str(&postgres_place(config)),
        }
    }
}

/// Without user and password.
pub(super) fn postgres_place(config: &Config) -> String {
    let ports = config.get_ports();
    let place = |(at, host): (usize, &Host)| {
        let host = match host {
            Host::Tcp(host) => host.clone(),
            Host::Unix(path) => path.display().to_string(),
        };
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(POSTGRES_PORT);
        format!("{host}:{port}")
    };
    let hosts: Vec<String> = config.get_hosts().iter().enumerate().map(place).collect();
    format!(
        "postgres://{}/{}",
        hosts.join(","),
        config.get_dbname().or(config.get_user()).unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<String, String> {
        text.parse::<Address>().map(|address| address.to_string())
    }

    #[test]
    fn addresses_are_read_and_shown_without_their_secrets() {
        assert_eq!(check("redis://localhost").unwrap(), "redis://localhost:6379/0");
        assert_eq!(check("valkey://ann:p%40ss@db.example:7000/3").unwrap(), "redis://db.example:7000/3");
        assert_eq!(check("redis://:secret@[::1]:7000").unwrap(), "redis://[::1]:7000/0");
        assert_eq!(check("postgres://ann:p%40ss@db/app").unwrap(), "postgres://db:5432/app");
        assert_eq!(check("postgresql://ann@a:1,b:2").unwrap(), "postgres://a:1,b:2/ann");
        assert_eq!(check("postgres://ann@%2Frun%2Fpg/app").unwrap(), "postgres:///run/pg:5432/app");
        assert_eq!(check("redis+unix:///run/r.sock?db=2&pass=x").unwrap(), "redis+unix:///run/r.sock?db=2");
        let address = "redis://ann:p%40ss@db".parse();
        let Ok(Address::Redis(address)) = address else { panic!("{address:?}") };
        assert_eq!((address.user.as_deref(), address.password.as_deref()), (Some("ann"), Some("p@ss")));
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_a_secret() {
        for (text, says) in [
            ("localhost", "is no address"),
            ("rediss://:secret@db", "stunnel"),
            ("http://:secret@db", "\"http\" is no address"),
            ("redis://:secret@", "has no host"),
            ("redis://db:port", "is no port"),
            ("redis://db/one", "is no number of a database"),
            ("redis+unix://run/r.sock", "not absolute"),
            ("postgres://ann:secret@db:port/app", "is no address of a PostgreSQL"),
            ("postgres://ann:secret@db/app?sslmode=require", "stunnel"),
            ("postgres://db/secret", "has no user"),
            ("redis+unix:///r?databse=1", "none of db"),
        ] {
            let refused = check(text).unwrap_err();
            assert!(refused.contains(says) && !refused.contains("secret"), "{text}: {refused}");
        }
    }
}
