//! Durations, sizes and shares, as people write them.
//!
//! Each is a number with a known unit inside, is read from a number or from text with a unit, and is written back as
//! the plain number (so that a script that reads our JSON never has to parse a unit).

use crate::SpecError;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A duration in milliseconds. Reads `1600`, `"250ms"`, `"1.5s"`, `"2m"`, `"1h"`, `"7d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

/// A size in bytes. Reads `1048576`, `"512K"`, `"200M"`, `"1.5G"` (powers of 1024, as PM2 counts).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// The longest duration that is accepted: a hundred years, so that adding it to any clock cannot overflow.
const MILLIS_MAX: u64 = 100 * 365 * 24 * 3_600_000;
/// The largest size that is accepted: the largest file that Linux can address.
const BYTES_MAX: u64 = i64::MAX as u64;

/// A unit's spellings and its factor.
type Unit = (&'static [&'static str], u64);

const DURATION_UNITS: &[Unit] = &[
    (&["", "ms"], 1),
    (&["s", "sec"], 1_000),
    (&["m", "min"], 60_000),
    (&["h"], 3_600_000),
    (&["d"], 86_400_000),
];
const SIZE_UNITS: &[Unit] = &[
    (&["", "b"], 1),
    (&["k", "kb", "kib"], 1 << 10),
    (&["m", "mb", "mib"], 1 << 20),
    (&["g", "gb", "gib"], 1 << 30),
    (&["t", "tb", "tib"], 1 << 40),
];

/// Reads `<decimal><unit>` exactly (in integers: `0.1s` is 100 ms, not 99); `None` when it is anything else, is too
/// large, or is not a whole number of the base unit.
fn parse(text: &str, units: &[Unit], max: u64) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let factor = units.iter().find(|(names, _)| names.contains(&unit.as_str()))?.1;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || fraction.len() > 9 {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let total = u128::from(whole) * u128::from(factor) + part * u128::from(factor) / scale;
    u64::try_from(total).ok().filter(|&total| total <= max)
}

/// Writes `value` in the largest unit that divides it.
fn write(value: u64, units: &[Unit], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let unit = units.iter().rev().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor));
    match unit {
        Some((names, factor)) => {
            let name = if names[0].is_empty() { names[1] } else { names[0] };
            write!(f, "{}{name}", value / factor)
        }
        None => f.write_str("0"),
    }
}

macro_rules! quantity {
    ($type:ident, $units:ident, $max:ident, $problem:literal, $remedy:literal, $pattern:literal, $what:literal) => {
        impl FromStr for $type {
            type Err = SpecError;

            fn from_str(text: &str) -> Result<Self, SpecError> {
                parse(text, $units, $max).map(Self).ok_or_else(|| {
                    SpecError::field($what, text, $problem, $remedy)
                })
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(self.0, $units, f)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader;
                impl Visitor<'_> for Reader {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a ", $what, ": ", $remedy))
                    }

                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$type, E> {
                        if number > $max {
                            return Err(E::invalid_value(de::Unexpected::Unsigned(number), &self));
                        }
                        Ok($type(number))
                    }

                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$type, E> {
                        match u64::try_from(number) {
                            Ok(number) => self.visit_u64(number),
                            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
                        }
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
                    }
                }
                deserializer.deserialize_any(Reader)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "anyOf": [
                    { "type": "integer", "minimum": 0, "maximum": $max },
                    { "type": "string", "pattern": $pattern },
                ]})
            }
        }
    };
}

quantity!(
    Millis,
    DURATION_UNITS,
    MILLIS_MAX,
    "is not a duration",
    "write milliseconds, or a number with ms, s, m, h or d (1600, 1.5s, 2m)",
    r"^\s*[0-9]*\.?[0-9]*\s*(ms|s|sec|m|min|h|d)?\s*$",
    "duration"
);
quantity!(
    Bytes,
    SIZE_UNITS,
    BYTES_MAX,
    "is not a size",
    "write bytes, or a number with K, M, G or T (1048576, 200M, 1.5G)",
    r"^\s*[0-9]*\.?[0-9]*\s*[kKmMgGtT]?[iI]?[bB]?\s*$",
    "size"
);

/// A number of instances, or a share of them. Reads `2` and `"25%"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Share {
    /// So many instances.
    Count(u32),
    /// So many of a hundred instances.
    Percent(u8),
}

impl Share {
    /// How many of `instances` that is, rounding a percentage up (a surge of 25 % of 2 must still be one).
    pub fn of(self, instances: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let part = (u64::from(instances) * u64::from(percent)).div_ceil(100);
                u32::try_from(part).expect("at most a hundredth of u32::MAX * 100")
            }
        }
    }

    /// As [`Share::of`], rounding down (what may be missing must never be more than was allowed).
    pub fn of_rounded_down(self, instances: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let part = u64::from(instances) * u64::from(percent) / 100;
                u32::try_from(part).expect("at most a hundredth of u32::MAX * 100")
            }
        }
    }
}

impl FromStr for Share {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let share = match text.trim().strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|&percent| percent <= 100).map(Self::Percent),
            None => text.trim().parse().ok().map(Self::Count),
        };
        share.ok_or_else(|| {
            SpecError::field(
                "share",
                text,
                "is neither a number of instances nor a percentage",
                "write 1 or 25%",
            )
        })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a number of instances or a percentage such as \"25%\"")]
        enum Form {
            Count(u32),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Count(count) => Ok(Self::Count(count)),
            Form::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

impl JsonSchema for Share {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": "^[0-9]+%?$" },
        ]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, ms) in [
            ("1600", 1_600),
            ("250ms", 250),
            ("1.5s", 1_500),
            ("0.1s", 100),
            ("2m", 120_000),
            ("1h", 3_600_000),
            (" 3 s ", 3_000),
            (".5s", 500),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(Millis(ms)), "{text}");
        }
        for text in ["", "s", "-1", "1.2.3s", "1w", "1e3", "99999999999999d", "."] {
            assert!(text.parse::<Millis>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_count_in_powers_of_1024() {
        assert_eq!("200M".parse(), Ok(Bytes(200 << 20)));
        assert_eq!("1.5G".parse(), Ok(Bytes(3 << 29)));
        assert_eq!("10kb".parse(), Ok(Bytes(10 << 10)));
        assert!("200X".parse::<Bytes>().is_err());
    }

    #[test]
    fn a_bad_duration_in_a_file_names_the_remedy() {
        let error = serde_json::from_str::<Millis>(r#""soon""#).unwrap_err().to_string();
        assert!(error.contains("soon") && error.contains("1600, 1.5s, 2m"), "{error}");
        assert!(serde_json::from_str::<Millis>("-1").is_err());
    }

    #[test]
    fn a_share_of_a_quarter_of_two_surges_by_one_and_spares_none() {
        let share: Share = "25%".parse().unwrap();
        assert_eq!((share.of(2), share.of_rounded_down(2)), (1, 0));
        assert_eq!(Share::Count(3).of(100), 3);
        assert!("101%".parse::<Share>().is_err());
        assert_eq!(serde_json::to_string(&share).unwrap(), r#""25%""#);
        assert_eq!(serde_json::from_str::<Share>("2").unwrap(), Share::Count(2));
    }

    proptest! {
        #[test]
        fn what_is_displayed_reads_back_the_same(ms in 0..=MILLIS_MAX, bytes in 0..=BYTES_MAX) {
            prop_assert_eq!(Millis(ms).to_string().parse(), Ok(Millis(ms)));
            prop_assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,24}") {
            let _ = text.parse::<Millis>();
            let _ = text.parse::<Bytes>();
            let _ = text.parse::<Share>();
        }
    }
}
