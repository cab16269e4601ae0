//! The pages of this program's own file that are in memory: code and constants.
//!
//! The kernel maps sixteen pages around each one that is touched (`fault_around_bytes`, mm/memory.c), so a program that
//! has worked has much mapped that rest does not need. Letting go of it costs a minor fault for what is used again: the
//! pages stay in the page cache.

use std::ffi::c_void;
use std::io;

use rustix::mm::{Advice, madvise};

/// Unmaps the pages of the executable that nobody has written to; what is used again is mapped again by itself.
///
/// # Errors
/// When `/proc` is not there.
pub fn let_go() -> io::Result<()> {
    let executable = std::fs::read_link("/proc/self/exe")?;
    let Some(executable) = executable.to_str() else { return Ok(()) };
    for (start, length) in untouched(&std::fs::read_to_string("/proc/self/smaps")?, executable) {
        // SAFETY: the mapping is private, of a file, not writable, and no page of it is a copy, so that every page is as
        // the file has it and comes back from there at the next touch (madvise(2), MADV_DONTNEED).
        unsafe { madvise(start as *mut c_void, length, Advice::LinuxDontNeed) }?;
    }
    Ok(())
}

/// Start and length of the executable's mappings that are as its file is, from `/proc/<pid>/smaps` (proc_pid_smaps(5)).
fn untouched(smaps: &str, executable: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        // A line of figures is `Name:  12 kB`; a mapping begins with its range.
        let Some((name, figure)) = line.split_once(": ").filter(|(name, _)| !name.contains(' ')) else {
            current = mapping(line, executable);
            continue;
        };
        match name {
            // Relocated constants are copies, though they are not writable any more.
            "Anonymous" | "Swap" if figure.trim() != "0 kB" => current = None,
            "VmFlags" => found.extend(current.take()),
            _ => {}
        }
    }
    found
}

/// Of a mapping's first line, if it is the executable's and cannot be written.
fn mapping(line: &str, executable: &str) -> Option<(usize, usize)> {
    let (head, path) = line.split_at(line.find('/')?);
    let mut words = head.split_whitespace();
    let (range, permissions) = (words.next()?, words.next()?);
    if path != executable || !matches!(permissions, "r-xp" | "r--p") {
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

    fn smaps(permissions: &str, path: &str, anonymous: u32, swap: u32) -> String {
        format!(
            "55d0c0000000-55d0c0003000 {permissions} 00200000 fe:00 1234      {path}\nSize:   12 kB\n\
             Anonymous:      {anonymous} kB\nSwap:   {swap} kB\nTHPeligible:           0\nVmFlags: rd ex mr\n"
        )
    }

    #[test]
    fn only_what_is_as_the_executables_file_counts() {
        let of = |text: &str| untouched(text, "/usr/bin/skep");
        let skep = "/usr/bin/skep";
        assert_eq!(of(&smaps("r-xp", skep, 0, 0)), [(0x55d0_c000_0000, 0x3000)]);
        assert_eq!(of(&smaps("r--p", skep, 0, 0)), [(0x55d0_c000_0000, 0x3000)]);
        assert_eq!(of(&smaps("r--p", skep, 8, 0)), [], "it was relocated");
        assert_eq!(of(&smaps("r--p", skep, 0, 4)), [], "the copy is swapped out");
        assert_eq!(of(&smaps("rw-p", skep, 0, 0)), []);
        assert_eq!(of(&smaps("r-xp", "/usr/bin/other", 0, 0)), []);
        assert_eq!(of(&smaps("r-xp", "[vdso]", 0, 0)), []);
        let both = smaps("r--p", skep, 8, 0) + &smaps("r-xp", skep, 0, 0);
        assert_eq!(of(&both).len(), 1, "each stands for itself");
    }

    #[test]
    fn the_program_goes_on_without_its_code_in_memory() {
        let_go().expect("there is /proc");
        assert_eq!((1..=10).sum::<u32>(), 55);
    }
}
