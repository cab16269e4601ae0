//! `/proc/PID/stat`, proc_pid_stat(5).

use super::page_bytes;

/// The figures that matter to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `R`unning, `S`leeping, `Z`ombie, s`T`opped…
    pub state: char,
    /// The parent's pid.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// Processor time in user mode, in ticks.
    pub user_ticks: u64,
    /// Processor time in the kernel, in ticks.
    pub system_ticks: u64,
    /// Threads.
    pub threads: u64,
    /// Its start in ticks since boot: with the pid, its identity.
    pub start_time: u64,
    /// Resident memory in pages (shared pages counted in full); 0 of a zombie.
    pub resident_pages: u64,
}

/// Fields are numbered from 1 in the manual; this is the number of the first one behind the name.
const FIRST_FIELD: usize = 3;
/// The last one that matters.
const LAST_FIELD: usize = 24;

impl Stat {
    /// Parses the file. The name in parentheses may itself contain parentheses, spaces and line ends: what counts
    /// begins behind the last closing one.
    #[must_use]
    pub fn parse(file: &[u8]) -> Option<Self> {
        let close = file.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(file.get(close + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().take(LAST_FIELD - FIRST_FIELD + 1).collect();
        let field = |number: usize| fields.get(number - FIRST_FIELD).copied();
        let int = |number| field(number).and_then(|text| text.parse::<i32>().ok());
        let long = |number| field(number).and_then(|text| text.parse::<u64>().ok());
        Some(Stat {
            state: field(3)?.chars().next()?,
            parent: int(4)?,
            group: int(5)?,
            session: int(6)?,
            user_ticks: long(14)?,
            system_ticks: long(15)?,
            threads: long(20)?,
            start_time: long(22)?,
            resident_pages: long(24)?,
        })
    }

    /// Resident memory in bytes. Cheap for the kernel, and approximate by some tens of pages a thread.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.resident_pages.saturating_mul(page_bytes())
    }

    /// Processor time in ticks.
    #[must_use]
    pub fn cpu_ticks(&self) -> u64 {
        self.user_ticks.saturating_add(self.system_ticks)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_full_of_traps_confuses_nothing() {
        let file = b"42 (a) S (b\n 1) S 1 40 41 0 -1 4194304 10 0 0 0 7 8 0 0 20 0 3 0 12345 999 5 1\n";
        let stat = Stat::parse(file).expect("parses");
        assert_eq!((stat.state, stat.parent, stat.group, stat.session), ('S', 1, 40, 41));
        assert_eq!((stat.cpu_ticks(), stat.threads, stat.start_time), (15, 3, 12345));
        assert_eq!(stat.resident_bytes(), 5 * page_bytes());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(file in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Stat::parse(&file);
        }
    }
}
