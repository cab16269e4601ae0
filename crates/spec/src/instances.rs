//! How many workers an app has: kept as it was asked for, so that another machine counts its own processors.

use crate::SpecError;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// The most workers one app may have: worker numbers and log names stay short, and a typing error (`-i 40000`) does
/// not take the machine down.
pub const INSTANCES_MAX: u32 = 1024;

/// How many workers an app has.
///
/// Reads `4`, `"max"` (one a processor; `0` says the same), `-1` (one less than processors; at least one).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Instances {
    /// So many.
    Count(u32),
    /// One a processor.
    Max,
    /// So many fewer than processors, at least one.
    Minus(u32),
}

impl Instances {
    /// The number of workers on a machine where this process may use `processors` processors.
    pub fn on(self, processors: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Max => processors.clamp(1, INSTANCES_MAX),
            Self::Minus(fewer) => processors.saturating_sub(fewer).clamp(1, INSTANCES_MAX),
        }
    }

    fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Max),
            1.. => u32::try_from(number).ok().filter(|&n| n <= INSTANCES_MAX).map(Self::Count),
            _ => u32::try_from(number.unsigned_abs()).ok().filter(|&n| n <= INSTANCES_MAX).map(Self::Minus),
        }
    }
}

impl Default for Instances {
    fn default() -> Self {
        Self::Count(1)
    }
}

fn refused(text: &str) -> SpecError {
    SpecError::field(
        "instances",
        text,
        "is not a number of instances",
        format!(
            "write a number up to {INSTANCES_MAX}, max (one a processor), or -1 (one less than processors)"
        ),
    )
}

impl FromStr for Instances {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text.trim() {
            "max" => Ok(Self::Max),
            number => number.parse().ok().and_then(Self::from_number).ok_or_else(|| refused(text)),
        }
    }
}

impl fmt::Display for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Max => f.write_str("max"),
            Self::Minus(fewer) => write!(f, "-{fewer}"),
        }
    }
}

impl Serialize for Instances {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Max => serializer.serialize_str("max"),
            Self::Minus(fewer) => serializer.serialize_i64(-i64::from(*fewer)),
        }
    }
}

impl<'de> Deserialize<'de> for Instances {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a number of instances, or \"max\"")]
        enum Form {
            Number(i64),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(number) => {
                Self::from_number(number).ok_or_else(|| with_remedy(refused(&number.to_string())))
            }
            Form::Text(text) => text.parse().map_err(with_remedy),
        }
    }
}

fn with_remedy<E: de::Error>(error: SpecError) -> E {
    E::custom(format_args!("{error}: {}", error.remedy()))
}

impl JsonSchema for Instances {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Instances".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "maximum": INSTANCES_MAX },
            { "type": "string", "pattern": "^(max|-?[0-9]+)$" },
        ]})
    }
}

/// What `skep scale` asks for: a number of workers, or more or fewer than there are.
///
/// Reads `4`, `"max"`, `"+2"`, `"-1"`. In contrast to [`Instances`], a minus counts from what runs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InstancesChange {
    /// This many in all.
    To(Instances),
    /// So many more.
    More(u32),
    /// So many fewer.
    Fewer(u32),
}

impl InstancesChange {
    /// The number of workers afterwards, when there are `now` of them, or why that cannot be.
    pub fn apply(self, now: u32) -> Result<Instances, SpecError> {
        let after = match self {
            Self::To(instances) => return Ok(instances),
            Self::More(more) => now.saturating_add(more),
            Self::Fewer(fewer) => now.saturating_sub(fewer),
        };
        match after {
            1..=INSTANCES_MAX => Ok(Instances::Count(after)),
            0 => Err(SpecError::field(
                "instances",
                self.to_string(),
                format!("leaves nothing of {now}"),
                "use `skep stop` or `skep delete` to have no instance at all",
            )),
            _ => Err(SpecError::field(
                "instances",
                self.to_string(),
                format!("is more than the {INSTANCES_MAX} that one app may have"),
                format!("stay below {}", INSTANCES_MAX - now),
            )),
        }
    }
}

impl FromStr for InstancesChange {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let trimmed = text.trim();
        let count = |digits: &str| {
            let count = digits.parse().ok().filter(|&count: &u32| (1..=INSTANCES_MAX).contains(&count));
            count.filter(|_| !digits.starts_with('+')).ok_or_else(|| {
                let remedy = format!("write a number up to {INSTANCES_MAX}, max, +2 or -1");
                SpecError::field("instances", text, "is not a number of instances or a change of it", remedy)
            })
        };
        if trimmed == "max" {
            return Ok(Self::To(Instances::Max));
        }
        match (trimmed.strip_prefix('+'), trimmed.strip_prefix('-')) {
            (Some(more), _) => count(more).map(Self::More),
            (None, Some(fewer)) => count(fewer).map(Self::Fewer),
            (None, None) => count(trimmed).map(|count| Self::To(Instances::Count(count))),
        }
    }
}

impl fmt::Display for InstancesChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::To(instances) => instances.fmt(f),
            Self::More(more) => write!(f, "+{more}"),
            Self::Fewer(fewer) => write!(f, "-{fewer}"),
        }
    }
}

impl Serialize for InstancesChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for InstancesChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a number of instances, or text such as \"+1\", \"-1\" or \"max\"")]
        enum Form {
            Number(u32),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(number) => number.to_string().parse().map_err(with_remedy),
            Form::Text(text) => text.parse().map_err(with_remedy),
        }
    }
}

impl JsonSchema for InstancesChange {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "InstancesChange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": INSTANCES_MAX },
            { "type": "string", "pattern": "^(max|[+-]?[0-9]+)$" },
        ]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_stay_symbolic_until_a_machine_is_known() {
        let minus: Instances = "-1".parse().unwrap();
        assert_eq!(minus, Instances::Minus(1));
        assert_eq!((minus.on(8), minus.on(1)), (7, 1));
        assert_eq!("0".parse(), Ok(Instances::Max));
        assert_eq!("max".parse(), Ok(Instances::Max));
        assert_eq!(Instances::Max.on(4), 4);
        assert_eq!(serde_json::to_string(&Instances::Minus(2)).unwrap(), "-2");
        assert_eq!(serde_json::from_str::<Instances>("-2").unwrap(), Instances::Minus(2));
        assert_eq!(serde_json::from_str::<Instances>(r#""max""#).unwrap(), Instances::Max);
    }

    #[test]
    fn a_typing_error_does_not_start_forty_thousand_processes() {
        let error = "40000".parse::<Instances>().unwrap_err();
        assert!(error.remedy().contains("up to 1024"));
        assert!(serde_json::from_str::<Instances>("40000").unwrap_err().to_string().contains("up to 1024"));
        assert!("many".parse::<Instances>().is_err());
        assert!(i64::MIN.to_string().parse::<Instances>().is_err());
    }

    #[test]
    fn scaling_counts_from_what_runs_now() {
        let change = |text: &str, now| text.parse::<InstancesChange>().and_then(|change| change.apply(now));
        assert_eq!(change("4", 2), Ok(Instances::Count(4)));
        assert_eq!(change("+1", 2), Ok(Instances::Count(3)));
        assert_eq!(change("-1", 2), Ok(Instances::Count(1)));
        assert_eq!(change("max", 2), Ok(Instances::Max));
        assert!(change("-2", 2).unwrap_err().remedy().contains("skep stop"));
        assert!(change("+1024", 2).is_err());
        assert!(change("++1", 2).is_err());
        assert!(change("0", 2).is_err());
    }
}
