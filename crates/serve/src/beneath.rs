//! Files below one directory and nothing else, by the kernel's own rule.
//!
//! Each path is resolved by openat2(2) with `RESOLVE_BENEATH`: a link that leads out of the directory, absolute or
//! relative, is refused at the moment of opening. To look first and open then could be outrun; this cannot.

use std::future::{Ready, ready};
use std::io::{self, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat2};
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tower_http::services::fs::{Backend, File, Metadata};

/// The one hidden name that the web has a use for (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// How files are opened. Without O_NONBLOCK opening a FIFO would wait for its other end.
const READING: OFlags = OFlags::CLOEXEC.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// The directory.
#[derive(Debug, Clone)]
pub(crate) struct Beneath {
    pub(crate) root: PathBuf,
}

/// An open file below it.
#[derive(Debug)]
pub(crate) struct Opened {
    file: tokio::fs::File,
    facts: Facts,
}

/// What is known of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    is_dir: bool,
    modified: SystemTime,
    length: u64,
}

impl Beneath {
    /// Opens what is at `path`, seen from the directory, if it is a file or a directory.
    fn look(&self, path: &Path, flags: OFlags) -> io::Result<(OwnedFd, Facts)> {
        if path.components().any(|part| is_hidden(&part)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(&self.root, directory, Mode::empty())?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let fd = match openat2(&root, path, flags, Mode::empty(), resolve) {
            Ok(fd) => fd,
            // It leads out of the directory, or nowhere: to the world there is no such file.
            Err(Errno::XDEV | Errno::LOOP | Errno::NXIO | Errno::NAMETOOLONG) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            Err(error) => return Err(error.into()),
        };
        let facts = facts(&fstat(&fd)?).ok_or(io::ErrorKind::NotFound)?;
        Ok((fd, facts))
    }

    /// Whether the directory is there, and the kernel can do this (Linux 5.6).
    pub(crate) fn check(&self) -> io::Result<()> {
        self.look(Path::new("."), OFlags::PATH | OFlags::CLOEXEC).map(drop)
    }
}

fn is_hidden(part: &Component<'_>) -> bool {
    match part {
        Component::Normal(name) => name.as_encoded_bytes().starts_with(b".") && *name != WELL_KNOWN,
        Component::Prefix(_) | Component::RootDir | Component::ParentDir => true,
        Component::CurDir => false,
    }
}

/// `None` for what is neither a file nor a directory: a device or a socket is nobody's business.
fn facts(stat: &Stat) -> Option<Facts> {
    let is_dir = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => true,
        FileType::RegularFile => false,
        _ => return None,
    };
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    let modified = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    Some(Facts { is_dir, modified, length: u64::try_from(stat.st_size).unwrap_or(0) })
}

// === impl Backend ===

impl Backend for Beneath {
    type File = Opened;
    type Metadata = Facts;
    type OpenFuture = Ready<io::Result<Opened>>;
    type MetadataFuture = Ready<io::Result<Facts>>;

    /// Names are in the kernel's cache as a rule; contents are read on other threads, as tokio does it.
    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        let opened = self.look(&path, READING).and_then(|(fd, facts)| {
            // A directory by the name of a file is no file.
            let file = (!facts.is_dir).then(|| std::fs::File::from(fd)).ok_or(io::ErrorKind::NotFound)?;
            Ok(Opened { file: tokio::fs::File::from_std(file), facts })
        });
        ready(opened)
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        ready(self.look(&path, OFlags::PATH | OFlags::CLOEXEC).map(|(_, facts)| facts))
    }
}

impl File for Opened {
    type Metadata = Facts;
    type MetadataFuture<'a> = Ready<io::Result<Facts>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        ready(Ok(self.facts))
    }
}

impl AsyncRead for Opened {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_read(context, buffer)
    }
}

impl AsyncSeek for Opened {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.file).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.file).poll_complete(context)
    }
}

impl Metadata for Facts {
    fn is_dir(&self) -> bool {
        self.is_dir
    }

    fn modified(&self) -> io::Result<SystemTime> {
        Ok(self.modified)
    }

    fn len(&self) -> u64 {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn sees(beneath: &Beneath, path: &str) -> bool {
        let seen = beneath.look(Path::new(path), OFlags::PATH | OFlags::CLOEXEC).is_ok();
        assert_eq!(beneath.look(Path::new(path), READING).is_ok(), seen, "{path}");
        seen
    }

    #[test]
    fn nothing_outside_the_directory_can_be_opened_whatever_leads_there() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("root");
        fs::create_dir_all(root.join("folder")).unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        fs::write(root.join("page"), "p").unwrap();
        symlink("../secret", root.join("up")).unwrap();
        symlink(outside.path().join("secret"), root.join("away")).unwrap();
        symlink("..", root.join("folder/parent")).unwrap();
        symlink("../..", root.join("folder/grandparent")).unwrap();
        symlink("../page", root.join("folder/inside")).unwrap();
        symlink("self", root.join("self")).unwrap();
        let beneath = Beneath { root };
        for path in ["up", "away", "folder/grandparent/secret", "../secret", "/etc/passwd", "self", "none"] {
            assert!(!sees(&beneath, path), "{path}");
        }
        for path in ["page", "./page", "folder/parent/page", "folder/inside", "folder", ""] {
            assert!(sees(&beneath, path), "{path}");
        }
    }

    #[test]
    fn what_is_hidden_and_what_is_no_file_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        for name in [".git", ".well-known"] {
            fs::create_dir(root.join(name)).unwrap();
            fs::write(root.join(name).join("config"), "x").unwrap();
        }
        fs::write(root.join(".env"), "x").unwrap();
        let fifo = root.join("fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let beneath = Beneath { root };
        for path in [".env", ".git/config", "fifo"] {
            assert!(!sees(&beneath, path), "{path}");
        }
        assert!(sees(&beneath, ".well-known/config"));
    }
}
