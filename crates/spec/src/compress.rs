//! How old log files are compressed.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::SpecError;

/// Whether old log files are compressed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "true, false, gzip or zstd")]
#[schemars(inline)]
pub enum Compress {
    /// `true` is gzip.
    Switch(bool),
    /// This way.
    By(Compressor),
}

/// A way to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Compressor {
    /// gzip (`.gz`).
    Gzip,
    /// Zstandard (`.zst`).
    Zstd,
}

impl Compress {
    /// The way to compress; none when that is off.
    #[must_use]
    pub fn compressor(self) -> Option<Compressor> {
        match self {
            Self::Switch(on) => on.then_some(Compressor::Gzip),
            Self::By(compressor) => Some(compressor),
        }
    }
}

impl FromStr for Compress {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text {
            "true" => Ok(Self::Switch(true)),
            "false" => Ok(Self::Switch(false)),
            "gzip" => Ok(Self::By(Compressor::Gzip)),
            "zstd" => Ok(Self::By(Compressor::Zstd)),
            _ => Err(SpecError::field(
                "compress",
                text,
                "is no way to compress",
                "write true, false, gzip or zstd",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_a_switch_or_by_name() {
        let read = |text: &str| serde_json::from_str::<Compress>(text).map(Compress::compressor);
        assert_eq!(read("true").unwrap(), Some(Compressor::Gzip));
        assert_eq!(read("false").unwrap(), None);
        assert_eq!(read("\"zstd\"").unwrap(), Some(Compressor::Zstd));
        assert!(read("\"brotli\"").is_err() && "brotli".parse::<Compress>().is_err());
        assert_eq!("zstd".parse(), Ok(Compress::By(Compressor::Zstd)));
    }
}
