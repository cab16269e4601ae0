//! Compresses a rotated file, a bounded step at a time, so that a crash at any point leaves either the plain file or both.

use std::fs::{File, FileTimes, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::codec::{Codec, Encoder};

/// Input bytes a step: about a millisecond of work.
pub(crate) const STEP_BYTES: usize = 64 << 10;

/// A compression under way. The plain file stays until [`crate::rotated::Plan::redundant`] says that it may go.
#[derive(Debug)]
pub(crate) struct Compression {
    path: PathBuf,
    plain: File,
    encoder: Encoder,
    part: PathBuf,
    done: PathBuf,
}

// === impl Compression ===

impl Compression {
    /// Begins to compress `path`, anew if that was begun before.
    pub(crate) fn begin(path: &Path, codec: Codec) -> io::Result<Self> {
        let plain = File::open(path)?;
        let mode = plain.metadata()?.mode();
        let done = codec.name_of(path);
        let part = done.with_added_extension("part");
        let out =
            OpenOptions::new().write(true).create(true).truncate(true).mode(mode & 0o777).open(&part)?;
        Ok(Self { path: path.to_owned(), plain, encoder: codec.encoder(out)?, part, done })
    }

    /// What is being compressed.
    pub(crate) fn plain_path(&self) -> &Path {
        &self.path
    }

    /// The unfinished output.
    pub(crate) fn part(&self) -> &Path {
        &self.part
    }

    /// Compresses up to [`STEP_BYTES`] more through `buffer`; true when the compressed file is complete and in its place.
    pub(crate) fn step(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        if buffer.len() < STEP_BYTES {
            buffer.resize(STEP_BYTES, 0);
        }
        let got = self.plain.read(&mut buffer[..STEP_BYTES])?;
        if got > 0 {
            self.encoder.write_all(&buffer[..got])?;
            return Ok(false);
        }
        let modified = self.plain.metadata()?.modified()?;
        self.encoder.finish()?.set_times(FileTimes::new().set_modified(modified))?;
        std::fs::rename(&self.part, &self.done)?;
        Ok(true)
    }

    /// Gives up, leaving only the plain file.
    pub(crate) fn abandon(self) {
        // If it cannot be removed now, the next tidying does.
        let _ = std::fs::remove_file(&self.part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compressed_file_holds_the_same_bytes_and_date() {
        for codec in Codec::ALL {
            let directory = tempfile::tempdir().expect("tempdir");
            let path = directory.path().join("a__2026-01-01_00-00-00.log");
            let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
            std::fs::write(&path, &bytes).expect("write");
            let (mut steps, mut buffer) = (0, Vec::new());
            let mut compression = Compression::begin(&path, codec).expect("begin");
            while !compression.step(&mut buffer).expect("step") {
                steps += 1;
                assert!(compression.part().exists() && !codec.name_of(&path).exists());
            }
            assert_eq!(steps, bytes.len().div_ceil(STEP_BYTES));
            assert!(path.exists() && !compression.part().exists());
            let done = File::open(codec.name_of(&path)).expect("open");
            let seen = done.metadata().expect("compressed");
            assert_eq!(seen.mtime(), path.metadata().expect("plain").mtime());
            assert!(seen.len() < bytes.len() as u64);
            let mut back = Vec::new();
            codec.decoder(done).expect("decoder").read_to_end(&mut back).expect("whole");
            assert!(back == bytes, "{codec:?}");
        }
    }
}
