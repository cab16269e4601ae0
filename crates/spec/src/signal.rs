//! Signals by name, and the file mode mask: two numbers that people write in their own notations.

use crate::SpecError;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A signal. Reads `SIGINT`, `INT`, `int` and `2`; writes `SIGINT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(i32);

/// `signal(7)`, the numbers of Linux on x86, ARM and RISC-V.
const NAMES: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];
/// The highest real-time signal of Linux.
const SIGNAL_MAX: i32 = 64;

impl Signal {
    /// What a terminal sends for Ctrl-C; PM2's way to ask a worker to stop.
    pub const INT: Self = Self(2);
    /// What `kill` sends.
    pub const TERM: Self = Self(15);

    /// The number that the kernel knows.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// The signal of this number, if there is one.
    pub fn from_number(number: i32) -> Option<Self> {
        (1..=SIGNAL_MAX).contains(&number).then_some(Self(number))
    }
}

impl FromStr for Signal {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let upper = text.trim().to_ascii_uppercase();
        let short = upper.strip_prefix("SIG").unwrap_or(&upper);
        let named = NAMES.iter().find(|(name, _)| *name == short).map(|&(_, number)| Self(number));
        named.or_else(|| upper.parse().ok().and_then(Self::from_number)).ok_or_else(|| {
            SpecError::field(
                "signal",
                text,
                "is not a signal",
                "write a name such as SIGTERM, or a number up to 64",
            )
        })
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None => self.0.fmt(f),
        }
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a signal's name or number")]
        enum Form {
            Number(i32),
            Text(String),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Number(number) => number.to_string(),
            Form::Text(text) => text,
        };
        text.parse()
            .map_err(|error: SpecError| de::Error::custom(format_args!("{error}: {}", error.remedy())))
    }
}

impl JsonSchema for Signal {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Signal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "examples": ["SIGINT", "SIGTERM"] },
            { "type": "integer", "minimum": 1, "maximum": SIGNAL_MAX },
        ]})
    }
}

/// A file mode creation mask. Reads and writes octal text: `0027`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Umask(u32);

impl Umask {
    /// The mask's bits.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for Umask {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let octal = text.strip_prefix("0o").unwrap_or(text);
        match u32::from_str_radix(octal, 8) {
            Ok(bits) if bits <= 0o777 && !octal.starts_with('+') => Ok(Self(bits)),
            _ => Err(SpecError::field(
                "umask",
                text,
                "is not a file mode mask",
                "write octal digits such as 0027",
            )),
        }
    }
}

impl fmt::Display for Umask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Serialize for Umask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Umask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A bare number is refused: JSON has no octal, so 27 could mean two things.
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|error: SpecError| de::Error::custom(format_args!("{error}: {}", error.remedy())))
    }
}

impl JsonSchema for Umask {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Umask".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(0o)?[0-7]{1,4}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_name_and_by_number() {
        for text in ["SIGTERM", "TERM", "sigterm", "15"] {
            assert_eq!(text.parse(), Ok(Signal::TERM), "{text}");
        }
        assert_eq!(Signal::INT.to_string(), "SIGINT");
        assert_eq!("34".parse::<Signal>().unwrap().to_string(), "34");
        for text in ["", "SIGNOPE", "0", "65", "-9"] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
        assert_eq!(serde_json::to_string(&Signal::INT).unwrap(), r#""SIGINT""#);
        assert_eq!(serde_json::from_str::<Signal>("9").unwrap().number(), 9);
    }

    #[test]
    fn a_mask_is_octal_and_nothing_else() {
        assert_eq!("0027".parse::<Umask>().unwrap().bits(), 0o27);
        assert_eq!("77".parse::<Umask>().unwrap().to_string(), "0077");
        for text in ["8", "1777", "", "-1", "+7"] {
            assert!(text.parse::<Umask>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Umask>("27").is_err());
    }
}
