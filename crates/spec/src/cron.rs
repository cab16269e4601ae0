//! When something recurs: a cron pattern in the dialect of croner, which is PM2's, and the time zone that it counts in.
//!
//! Five fields (minute, hour, day of month, month, weekday), six with seconds in front, or a nickname (`@daily`). A text
//! is checked where a person wrote it ([`FromStr`] and [`Cron::check`]) and not where our own files are read back: a
//! pattern that a later version refuses must not make the rest of the state unreadable.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::SpecError;

const REMEDY: &str = "write five fields (minute hour day month weekday: `0 3 * * *`), six with seconds in front, or 0 for never";

/// A cron pattern, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Cron(String);

/// The name of a time zone (`Europe/Berlin`), as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Zone(String);

// === impl Cron ===

impl Cron {
    /// What is wrong with it, if something is.
    ///
    /// # Errors
    /// Names `field`, the pattern and the remedy.
    pub fn check(&self, field: &'static str) -> Result<(), SpecError> {
        skep_jobs::Cron::parse(&self.0, skep_jobs::utc())
            .map(drop)
            .map_err(|problem| SpecError::field(field, &self.0, problem.to_string(), REMEDY))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Cron {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let cron = Self(text.trim().to_owned());
        cron.check("cron").map(|()| cron)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Cron {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cron".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "description": "A cron pattern; 0 for never." })
    }
}

/// Reads an optional pattern: `0`, `"0"`, `false` and an empty text mean none, as in PM2.
///
/// # Errors
/// When it is neither a text nor one of these.
pub(crate) fn none_or_pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cron>, D::Error> {
    struct Reader;
    impl<'de> Visitor<'de> for Reader {
        type Value = Option<Cron>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a cron pattern: {REMEDY}")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<Cron>, E> {
            let text = text.trim();
            Ok((!matches!(text, "" | "0")).then(|| Cron(text.to_owned())))
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Option<Cron>, E> {
            match number {
                0 => Ok(None),
                other => Err(E::invalid_value(de::Unexpected::Unsigned(other), &self)),
            }
        }

        fn visit_bool<E: de::Error>(self, on: bool) -> Result<Option<Cron>, E> {
            if on { Err(E::invalid_value(de::Unexpected::Bool(on), &self)) } else { Ok(None) }
        }

        fn visit_unit<E: de::Error>(self) -> Result<Option<Cron>, E> {
            Ok(None)
        }

        fn visit_none<E: de::Error>(self) -> Result<Option<Cron>, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Option<Cron>, D::Error> {
            inner.deserialize_any(self)
        }
    }
    deserializer.deserialize_any(Reader)
}

// === impl Zone ===

impl Zone {
    /// What is wrong with it, if something is.
    ///
    /// # Errors
    /// Names `field`, the zone and the remedy.
    pub fn check(&self, field: &'static str) -> Result<(), SpecError> {
        let remedy = "write a name such as Europe/Berlin or UTC; the package tzdata has them";
        skep_jobs::Cron::zone(&self.0)
            .map(drop)
            .map_err(|problem| SpecError::field(field, &self.0, problem.to_string(), remedy))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Zone {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let zone = Self(text.trim().to_owned());
        zone.check("cron_timezone").map(|()| zone)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Zone {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Zone".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A time zone's name." })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused_with_the_pattern_and_the_remedy() {
        for bad in ["banana", "* * *", "61 * * * *", "0 0 30 2 *", ""] {
            let error = bad.parse::<Cron>().expect_err(bad);
            assert!(error.to_string().contains("cron"), "{error}");
            assert!(error.remedy().contains("five fields"), "{}", error.remedy());
        }
        let error = "Mars/Olympus".parse::<Zone>().expect_err("not here");
        assert!(error.to_string().contains("Mars/Olympus") && error.remedy().contains("tzdata"));
    }

    #[test]
    fn zero_means_never() {
        #[derive(Deserialize)]
        struct Holder {
            #[serde(default, deserialize_with = "none_or_pattern")]
            cron: Option<Cron>,
        }
        for none in [r#"{"cron":0}"#, r#"{"cron":"0"}"#, r#"{"cron":false}"#, r#"{"cron":null}"#, "{}"] {
            assert_eq!(serde_json::from_str::<Holder>(none).expect(none).cron, None, "{none}");
        }
        let some: Holder = serde_json::from_str(r#"{"cron":"0 3 * * *"}"#).expect("a pattern");
        assert_eq!(some.cron.map(|cron| cron.to_string()).as_deref(), Some("0 3 * * *"));
        assert!(serde_json::from_str::<Holder>(r#"{"cron":5}"#).is_err());
    }
}
