//! Unix stream sockets: permissions from the first instant, stale paths, names longer than `sun_path`.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, socket_with};

use super::error::{NetError, Step};

/// Name of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UnixName {
    /// A path in the file system.
    Path(PathBuf),
    /// A name in the abstract namespace, without the leading NUL. It has no owner and no mode: any process of
    /// the network namespace may connect.
    Abstract(Vec<u8>),
}

/// Who may connect to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnixAccess {
    /// Permission bits, exactly as given (umask does not apply). `None`: 0777 less the umask, as Node does.
    pub mode: Option<u32>,
    /// Owner and group to give the path to. Needs CAP_CHOWN, unless they are our own.
    pub owner: Option<(u32, u32)>,
}

/// Which file a bound path is, so that later only that one is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnixIdentity {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

// === impl UnixName ===

impl UnixName {
    fn address(&self) -> Result<SocketAddrUnix, Errno> {
        match self {
            Self::Path(path) => SocketAddrUnix::new(path),
            Self::Abstract(name) => SocketAddrUnix::new_abstract_name(name),
        }
    }
}

impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
        }
    }
}

/// A Unix stream socket bound to `name` and not yet listening, so nobody connects before the permissions hold.
///
/// A path left behind by a dead process is replaced; one that anybody listens on is not. Returns the path's
/// identity for [`remove_unix_path`] (`None` for abstract names).
///
/// # Errors
/// EADDRINUSE (someone listens, or the path is not a socket), ENOENT/ENOTDIR (no such directory), EACCES,
/// ENAMETOOLONG (a file name over 100 bytes or an abstract name over 107), EPERM (chown).
pub fn unix_bound(name: &UnixName, access: UnixAccess) -> Result<(OwnedFd, Option<UnixIdentity>), NetError> {
    let path = match name {
        UnixName::Abstract(_) => {
            let fd = stream_socket()?;
            let address = name.address().map_err(NetError::at(Step::Bind))?;
            bind(&fd, &address).map_err(NetError::at(Step::Bind))?;
            return Ok((fd, None));
        }
        UnixName::Path(path) => path,
    };
    let fd = match bind_path(path, access) {
        Err(error) if error.step == Step::Bind && error.errno() == libc::EADDRINUSE => {
            if !remove_if_stale(path)? {
                return Err(error);
            }
            bind_path(path, access)?
        }
        other => other?,
    };
    let meta = std::fs::symlink_metadata(path).map_err(NetError::at(Step::Permissions))?;
    let identity = UnixIdentity { device: meta.dev(), inode: meta.ino() };
    if let Some((user, group)) = access.owner {
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        rustix::fs::chownat(CWD, path, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(NetError::at(Step::Permissions))?;
    }
    if let Some(mode) = access.mode {
        rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty())
            .map_err(NetError::at(Step::Permissions))?;
    }
    Ok((fd, Some(identity)))
}

/// Removes a path if it still is the socket that `identity` names. Says whether it did.
///
/// # Errors
/// Those of unlink(2).
pub fn remove_unix_path(path: &Path, identity: UnixIdentity) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.dev() == identity.device && meta.ino() == identity.inode => {
            std::fs::remove_file(path).map(|()| true)
        }
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn stream_socket() -> Result<OwnedFd, NetError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(NetError::at(Step::Socket))
}

fn bind_path(path: &Path, access: UnixAccess) -> Result<OwnedFd, NetError> {
    let fd = stream_socket()?;
    // bind creates the path with the socket's own mode less the umask: with a mode asked for, the path is born
    // closed and opened afterwards, so there is no instant in which it is more open than wanted.
    if access.mode.is_some() {
        rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR).map_err(NetError::at(Step::Permissions))?;
    }
    with_address(path, |address| bind(&fd, address)).map_err(NetError::at(Step::Bind))?;
    Ok(fd)
}

/// Calls `act` with an address for `path`; one that does not fit `sun_path` goes through its directory's
/// descriptor.
fn with_address(path: &Path, act: impl FnOnce(&SocketAddrUnix) -> Result<(), Errno>) -> Result<(), Errno> {
    match SocketAddrUnix::new(path) {
        Ok(address) => act(&address),
        Err(Errno::NAMETOOLONG) => {
            let name = path.file_name().ok_or(Errno::INVAL)?;
            let parent = path.parent().unwrap_or(Path::new("/"));
            let directory =
                rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
            act(&SocketAddrUnix::new(short)?)
        }
        Err(error) => Err(error),
    }
}

/// Removes `path` if it is a socket that nobody listens on. Says whether it did.
///
/// Two processes may heal the same path at once. So the stale file is first moved aside and looked at again:
/// if it is not the inode that refused us, it is the other's fresh socket and goes back.
fn remove_if_stale(path: &Path) -> Result<bool, NetError> {
    let probe = |error: io::Error| NetError { step: Step::Probe, source: error };
    let meta = std::fs::symlink_metadata(path).map_err(probe)?;
    let is_socket = FileType::from_raw_mode(meta.mode()) == FileType::Socket;
    if !is_socket || !refuses(path).map_err(|e| probe(e.into()))? {
        return Ok(false);
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".stale-{}", std::process::id()));
    let aside = PathBuf::from(aside);
    match std::fs::rename(path, &aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(probe(error)),
    }
    let moved = std::fs::symlink_metadata(&aside).map_err(probe)?;
    if (moved.dev(), moved.ino()) == (meta.dev(), meta.ino()) {
        std::fs::remove_file(&aside).map_err(probe)?;
        return Ok(true);
    }
    rustix::fs::renameat_with(CWD, &aside, CWD, path, RenameFlags::NOREPLACE).map_err(|e| probe(e.into()))?;
    Ok(false)
}

/// Whether connecting is refused. A full backlog (EAGAIN) means that someone listens, and so does any answer
/// that we are not allowed to get.
fn refuses(path: &Path) -> Result<bool, Errno> {
    let fd = stream_socket().map_err(|_| Errno::MFILE)?;
    match with_address(path, |address| connect(&fd, address)) {
        Err(Errno::CONNREFUSED) => Ok(true),
        Ok(()) | Err(Errno::AGAIN | Errno::ACCESS | Errno::PROTOTYPE) => Ok(false),
        Err(error) => Err(error),
    }
}
