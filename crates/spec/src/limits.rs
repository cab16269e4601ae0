//! Who a worker runs as and what the kernel lets it use.

use crate::SpecError;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A user or a group, by number or by name. Names are looked up when a worker is started.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a number or a name")]
#[schemars(inline)]
pub enum Account {
    /// The number that the kernel knows.
    Id(u32),
    /// The name in the passwd or group database.
    Name(String),
}

impl FromStr for Account {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        if text.is_empty() || text.contains([':', '\0', '/']) {
            return Err(SpecError::field(
                "uid",
                text,
                "is neither a number nor an account's name",
                "write a number or a name that `getent passwd` (or group) knows",
            ));
        }
        Ok(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Id))
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// A resource whose use the kernel limits (`setrlimit(2)`), by its name in `ulimit` and systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Resource {
    /// Size of the address space, in bytes.
    As,
    /// Size of a core file, in bytes.
    Core,
    /// Processor time, in seconds.
    Cpu,
    /// Size of the data segment, in bytes.
    Data,
    /// Size of a file that is written, in bytes.
    Fsize,
    /// Locked memory, in bytes.
    Memlock,
    /// Bytes in POSIX message queues.
    Msgqueue,
    /// Ceiling of the nice value, as 20 minus it.
    Nice,
    /// Open file descriptors.
    Nofile,
    /// Processes and threads of the user.
    Nproc,
    /// Real-time priority.
    Rtprio,
    /// Processor time of a real-time thread between two blocking calls, in microseconds.
    Rttime,
    /// Queued signals.
    Sigpending,
    /// Size of the stack, in bytes.
    Stack,
}

/// A limit's soft and hard value. Reads `1024`, `"unlimited"`, or `{"soft": 1024, "hard": 4096}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ResourceLimit {
    /// What applies; the process may raise it up to the hard value.
    pub soft: LimitValue,
    /// What only a privileged process can raise.
    pub hard: LimitValue,
}

impl<'de> Deserialize<'de> for ResourceLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a number, \"unlimited\", or {\"soft\": …, \"hard\": …}")]
        enum Form {
            Both(LimitValue),
            Each { soft: LimitValue, hard: LimitValue },
        }
        match Form::deserialize(deserializer)? {
            Form::Both(value) => Ok(Self { soft: value, hard: value }),
            Form::Each { soft, hard } if soft <= hard => Ok(Self { soft, hard }),
            Form::Each { soft, hard } => Err(de::Error::custom(format_args!(
                "the soft limit {soft} is above the hard limit {hard}: lower soft or raise hard"
            ))),
        }
    }
}

/// A number, or no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitValue {
    /// At most so much, in the resource's unit.
    Value(u64),
    /// No limit.
    Unlimited,
}

impl fmt::Display for LimitValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

impl Serialize for LimitValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => serializer.serialize_u64(*value),
            Self::Unlimited => serializer.serialize_str("unlimited"),
        }
    }
}

impl<'de> Deserialize<'de> for LimitValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a number or \"unlimited\"")]
        enum Form {
            Value(u64),
            Word(Word),
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Word {
            #[serde(alias = "infinity")]
            Unlimited,
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Value(value) => Self::Value(value),
            Form::Word(Word::Unlimited) => Self::Unlimited,
        })
    }
}

impl JsonSchema for LimitValue {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "LimitValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "const": "unlimited" }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_one_number_two_or_none() {
        let read = |json: &str| serde_json::from_str::<ResourceLimit>(json);
        let of = |soft, hard| ResourceLimit { soft, hard };
        assert_eq!(read("1024").unwrap(), of(LimitValue::Value(1024), LimitValue::Value(1024)));
        assert_eq!(read(r#""unlimited""#).unwrap(), of(LimitValue::Unlimited, LimitValue::Unlimited));
        assert_eq!(
            read(r#"{"soft": 1024, "hard": "unlimited"}"#).unwrap(),
            of(LimitValue::Value(1024), LimitValue::Unlimited)
        );
        assert!(read(r#"{"soft": 2, "hard": 1}"#).unwrap_err().to_string().contains("above the hard limit"));
    }

    #[test]
    fn an_account_is_a_number_or_a_name() {
        assert_eq!("1000".parse(), Ok(Account::Id(1000)));
        assert_eq!("www-data".parse(), Ok(Account::Name("www-data".into())));
        assert!("a:b".parse::<Account>().is_err());
        assert!("".parse::<Account>().is_err());
    }
}
