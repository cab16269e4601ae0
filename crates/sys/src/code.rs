//! The pages of this program's own code that are in memory.
//!
//! The kernel maps sixteen pages around each one that is touched (`fault_around_bytes`, mm/memory.c), so a program that
//! has started has much code mapped that only the start needed. Letting go of it costs a minor fault for what is used
//! again: the pages stay in the page cache.

use std::ffi::c_void;
use std::io;

use rustix::mm::{Advice, madvise};

/// Unmaps the pages of the executable's code; what is used again is mapped again by itself.
///
/// # Errors
/// When `/proc` is not there.
pub fn let_go() -> io::Result<()> {
    let executable = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    for (start, length) in maps.lines().filter_map(|line| code(line, executable.to_str()?)) {
        // SAFETY: the mapping is private, of a file and not writable, so that every page is as the file has it and comes
        // back from there at the next touch (madvise(2), MADV_DONTNEED).
        unsafe { madvise(start as *mut c_void, length, Advice::LinuxDontNeed) }?;
    }
    Ok(())
}

/// Start and length of a mapping of the executable's code, from a line of `/proc/<pid>/maps` (proc_pid_maps(5)).
fn code(line: &str, executable: &str) -> Option<(usize, usize)> {
    let (head, path) = line.split_at(line.find('/')?);
    let mut words = head.split_whitespace();
    let (range, permissions) = (words.next()?, words.next()?);
    if path != executable || permissions != "r-xp" {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (address(start)?, address(end)?);
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_executables_own_code_counts() {
        let line = "55d0c0000000-55d0c0003000 r-xp 00200000 fe:00 1234                       /usr/bin/skep";
        assert_eq!(code(line, "/usr/bin/skep"), Some((0x55d0_c000_0000, 0x3000)));
        assert_eq!(code(line, "/usr/bin/other"), None);
        assert_eq!(code(&line.replace("r-xp", "r--p"), "/usr/bin/skep"), None, "it may have been relocated");
        assert_eq!(code("7ffc-7ffd r-xp 0 00:00 0 [vdso]", "/usr/bin/skep"), None);
    }

    #[test]
    fn the_program_goes_on_without_its_code_in_memory() {
        let_go().expect("there is /proc");
        assert_eq!((1..=10).sum::<u32>(), 55);
    }
}
