//! The two ways to compress a rotated file, written and read as streams.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// How hard zstd tries: its own default, twice as fast as gzip and smaller.
const ZSTD_LEVEL: i32 = 3;

/// How rotated files are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Codec {
    /// gzip, which every tool reads.
    Gzip,
    /// Zstandard: smaller, and with half the work.
    Zstd,
}

impl Codec {
    pub(crate) const ALL: [Self; 2] = [Self::Gzip, Self::Zstd];

    /// The ending of its files' names.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
        }
    }

    /// The compressed file beside a plain one.
    pub(crate) fn name_of(self, plain: &Path) -> PathBuf {
        plain.with_added_extension(self.ending())
    }

    pub(crate) fn encoder(self, out: File) -> io::Result<Encoder> {
        Ok(match self {
            Self::Gzip => Encoder::Gzip(GzEncoder::new(out, flate2::Compression::default())),
            Self::Zstd => Encoder::Zstd(zstd::Encoder::new(out, ZSTD_LEVEL)?),
        })
    }

    pub(crate) fn decoder(self, file: File) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Gzip => Box::new(GzDecoder::new(file)),
            Self::Zstd => Box::new(zstd::Decoder::new(file)?),
        })
    }
}

/// A compressed file that is being written.
pub(crate) enum Encoder {
    Gzip(GzEncoder<File>),
    Zstd(zstd::Encoder<'static, File>),
}

impl Encoder {
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    /// Writes the end; the file is whole then.
    pub(crate) fn finish(&mut self) -> io::Result<&File> {
        match self {
            Self::Gzip(encoder) => {
                encoder.try_finish()?;
                Ok(encoder.get_ref())
            }
            Self::Zstd(encoder) => {
                encoder.do_finish()?;
                Ok(encoder.get_ref())
            }
        }
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}
