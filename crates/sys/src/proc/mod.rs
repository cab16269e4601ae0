//! What `/proc` tells about processes. Parsing is pure and never panics; a process that ends meanwhile is an
//! ordinary error (`NotFound` or `ESRCH`).

mod stat;
mod tree;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use stat::Stat;
pub use tree::{children, descendants, kill_descendants, kill_left_behind, processes, signal_strangers};

/// Processor ticks (and start times) per second: `USER_HZ`, 100 on every architecture we run on.
#[must_use]
pub fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

/// Room for a line of 52 numbers of 20 digits at most, and a name of 64 bytes (proc_pid_stat(5)).
const STAT_BYTES_MAX: usize = 2048;

/// The figures of `/proc/PID/stat`.
///
/// # Errors
/// `NotFound` when there is no such process, `InvalidData` when the file makes no sense.
pub fn stat(pid: i32) -> io::Result<Stat> {
    // One read is enough: the kernel writes the whole file at once, a line of some 400 bytes.
    let mut line = [0u8; STAT_BYTES_MAX];
    let length = File::open(format!("/proc/{pid}/stat"))?.read(&mut line)?;
    Stat::parse(&line[..length]).ok_or(io::ErrorKind::InvalidData.into())
}

fn page_bytes() -> u64 {
    u64::try_from(rustix::param::page_size()).unwrap_or(4096)
}

/// Resident memory in bytes (shared pages counted in full). Cheap; approximate by some tens of pages a thread.
///
/// # Errors
/// As [`stat`].
pub fn rss_bytes(pid: i32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: Option<u64> = text.split_ascii_whitespace().nth(1).and_then(|field| field.parse().ok());
    pages.map(|pages| pages.saturating_mul(page_bytes())).ok_or(io::ErrorKind::InvalidData.into())
}

/// Proportional memory in bytes: pages shared by n processes count 1/n. Costs the kernel a walk over the page
/// tables (0.1 ms to some ms), so ask rarely.
///
/// # Errors
/// As [`stat`], `PermissionDenied` for other users' processes.
pub fn pss_bytes(pid: i32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    pss_of(&text).ok_or(io::ErrorKind::InvalidData.into())
}

fn pss_of(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// How many descriptors it has open. Since Linux 6.2 the directory's size says so; before, they are counted.
///
/// # Errors
/// As [`stat`], `PermissionDenied` for other users' processes.
pub fn descriptor_count(pid: i32) -> io::Result<u64> {
    let directory = format!("/proc/{pid}/fd");
    match std::fs::metadata(&directory)?.len() {
        0 => Ok(std::fs::read_dir(&directory)?.count() as u64),
        size => Ok(size),
    }
}

/// The program that it executes; ends with ` (deleted)` when the file was replaced meanwhile.
///
/// # Errors
/// As [`stat`], `PermissionDenied` for other users' processes.
pub fn executable(pid: i32) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/exe"))
}

/// Its place in the unified (v2) hierarchy of cgroups, for example `/system.slice/x.service`; `None` without one.
///
/// # Errors
/// As [`stat`].
pub fn cgroup(pid: i32) -> io::Result<Option<PathBuf>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    Ok(text.lines().find_map(|line| line.strip_prefix("0::")).map(|path| Path::new(path).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> i32 {
        std::process::id().cast_signed()
    }

    #[test]
    fn our_own_figures_make_sense() {
        let stat = stat(me()).expect("stat");
        assert_eq!(stat.parent, rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get()));
        assert!(stat.start_time > 0);
        let rss = rss_bytes(me()).expect("rss");
        assert!(rss > 100 * 1024, "{rss}");
        assert!(pss_bytes(me()).expect("pss") <= rss * 2);
        assert!(executable(me()).expect("exe").is_absolute());
        assert!(cgroup(me()).is_ok());
        assert!(ticks_per_second() > 0);
    }

    #[test]
    fn the_descriptor_count_grows_with_descriptors() {
        let mut child = std::process::Command::new("/bin/sh");
        let child = child.args(["-c", "exec 7</dev/null 8</dev/null; echo; read x"]);
        let child = child.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn();
        let mut child = child.expect("sh starts");
        let mut ready = [0; 1];
        io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut ready).expect("ready");
        let listed = std::fs::read_dir(format!("/proc/{}/fd", child.id())).expect("list").count() as u64;
        assert!(listed >= 5, "{listed}");
        assert_eq!(descriptor_count(child.id().cast_signed()).expect("count"), listed);
        drop(child.stdin.take());
        child.wait().expect("reap");
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let missing = i32::MAX;
        assert_eq!(stat(missing).expect_err("gone").kind(), io::ErrorKind::NotFound);
        assert!(rss_bytes(missing).is_err() && pss_bytes(missing).is_err());
        assert!(descriptor_count(missing).is_err());
    }

    #[test]
    fn pss_is_read_from_its_own_line() {
        let text = "0-1 ---p 0 00:00 0 [rollup]\nRss:  100 kB\nPss:     42 kB\nPss_Dirty: 7 kB\n";
        assert_eq!(pss_of(text), Some(42 * 1024));
        assert_eq!(pss_of("Rss: 1 kB"), None);
        assert_eq!(pss_of("Pss: many kB"), None);
    }
}
