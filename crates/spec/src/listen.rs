//! Addresses that skep opens before any worker runs.

use crate::SpecError;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// An address to open up front, with the name under which the program finds it (`LISTEN_FDNAMES`).
///
/// Reads `8080`, `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, `unix:/run/web.sock`, `udp:0.0.0.0:53`, each with
/// an optional name in front: `http=8080`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Listen {
    /// The descriptor's name, when the user gave one.
    pub name: Option<String>,
    /// The address.
    pub address: ListenAddress,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP port; no host means every address of the machine, IPv6 and IPv4.
    Tcp {
        /// An IP address or a host name.
        host: Option<String>,
        /// The port.
        port: u16,
    },
    /// A UDP port.
    Udp {
        /// An IP address or a host name.
        host: Option<String>,
        /// The port.
        port: u16,
    },
    /// A Unix stream socket at an absolute path.
    Unix {
        /// The socket's path.
        path: String,
    },
}

/// The longest path that fits a `sockaddr_un` with its final NUL.
const UNIX_PATH_BYTES_MAX: usize = 107;
/// The most characters in a descriptor's name, as systemd counts (`FDNAME_MAX`).
const NAME_BYTES_MAX: usize = 255;

fn refused(text: &str, problem: &str) -> SpecError {
    SpecError::field(
        "listen",
        text,
        problem,
        "write 8080, 127.0.0.1:8080, [::1]:8080, unix:/path or udp:53, with an optional name= in front",
    )
}

fn host_and_port(text: &str) -> Option<(Option<String>, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        None => (None, text),
        Some((host, port)) => (Some(host), port),
    };
    let port = port.parse().ok().filter(|&port: &u16| port != 0)?;
    let host = match host {
        None | Some("" | "*") => None,
        Some(host) => match host.strip_prefix('[') {
            Some(rest) => Some(rest.strip_suffix(']').filter(|inner| inner.contains(':'))?),
            None if host.contains([':', ' ', '/', '=']) => return None,
            None => Some(host),
        },
    };
    Some((host.map(str::to_owned), port))
}

impl FromStr for Listen {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (name, rest) = match text.split_once('=') {
            Some((name, rest)) if !name.contains(['/', ':']) => (Some(name), rest),
            _ => (None, text),
        };
        if let Some(name) = name {
            let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
            if name.is_empty() || name.len() > NAME_BYTES_MAX || !printable {
                return Err(refused(text, "has a name that is empty, too long or not plain text"));
            }
        }
        let address = rest.parse().map_err(|_: SpecError| match rest.starts_with("unix:") {
            true => refused(text, "is not an absolute path of at most 107 bytes"),
            false => refused(text, "is not an address to listen on"),
        })?;
        Ok(Self { name: name.map(str::to_owned), address })
    }
}

impl FromStr for ListenAddress {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let none = || refused(text, "is not an address to listen on");
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') || path.len() > UNIX_PATH_BYTES_MAX || path.contains('\0') {
                return Err(none());
            }
            return Ok(Self::Unix { path: path.to_owned() });
        }
        if let Some(rest) = text.strip_prefix("udp:") {
            let (host, port) = host_and_port(rest).ok_or_else(none)?;
            return Ok(Self::Udp { host, port });
        }
        let (host, port) = host_and_port(text.strip_prefix("tcp:").unwrap_or(text)).ok_or_else(none)?;
        Ok(Self::Tcp { host, port })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}=")?;
        }
        self.address.fmt(f)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Unix { path } => return write!(f, "unix:{path}"),
            Self::Tcp { host, port } => ("", host, port),
            Self::Udp { host, port } => ("udp:", host, port),
        };
        match host {
            None => write!(f, "{scheme}{port}"),
            Some(host) if host.contains(':') => write!(f, "{scheme}[{host}]:{port}"),
            Some(host) => write!(f, "{scheme}{host}:{port}"),
        }
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a port or an address such as \"127.0.0.1:8080\"")]
        enum Form {
            Port(u16),
            Text(String),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Port(port) => port.to_string(),
            Form::Text(text) => text,
        };
        text.parse()
            .map_err(|error: SpecError| de::Error::custom(format_args!("{error}: {}", error.remedy())))
    }
}

impl JsonSchema for Listen {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Listen".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": 65535 },
            { "type": "string", "examples": ["127.0.0.1:8080", "unix:/run/web.sock", "http=8080", "udp:53"] },
        ]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tcp(host: Option<&str>, port: u16) -> ListenAddress {
        ListenAddress::Tcp { host: host.map(str::to_owned), port }
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, address) in [
            ("8080", tcp(None, 8080)),
            (":8080", tcp(None, 8080)),
            ("*:8080", tcp(None, 8080)),
            ("127.0.0.1:80", tcp(Some("127.0.0.1"), 80)),
            ("localhost:80", tcp(Some("localhost"), 80)),
            ("[::1]:80", tcp(Some("::1"), 80)),
            ("tcp:80", tcp(None, 80)),
            ("udp:53", ListenAddress::Udp { host: None, port: 53 }),
            ("unix:/run/a=b.sock", ListenAddress::Unix { path: "/run/a=b.sock".into() }),
        ] {
            assert_eq!(text.parse(), Ok(Listen { name: None, address }), "{text}");
        }
        let named: Listen = "http=[::]:80".parse().unwrap();
        assert_eq!((named.name.as_deref(), named.address), (Some("http"), tcp(Some("::"), 80)));
    }

    #[test]
    fn what_cannot_be_listened_on_is_refused_with_examples() {
        for text in ["", "0", "70000", "::1:80", "[::1]", "unix:run.sock", "=80", "host:", "[a]:80"] {
            let error = text.parse::<Listen>().unwrap_err();
            assert!(error.remedy().contains("127.0.0.1:8080"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_displayed_reads_back_the_same(text in r"([a-z]{1,4}=)?(udp:)?(([a-z0-9.]{1,9}|\[[0-9a-f]{1,4}:[0-9a-f]{0,3}\]):)?[1-9][0-9]{0,3}") {
            let listen: Listen = text.parse().unwrap();
            prop_assert_eq!(listen.to_string().parse(), Ok(listen));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,24}") {
            let _ = text.parse::<Listen>();
        }
    }
}
