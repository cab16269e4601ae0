//! What a body must be, checked while it streams by, so that 20 MB downloads cost no memory.

use std::sync::LazyLock;

/// Length of the period of [`pattern`]: a prime, so that a missing or doubled block of any usual size shows.
const PERIOD: usize = 251;
/// Of an answer that is kept for a look inside: the longest that the fixture apps give as JSON.
const KEPT_BYTES_MAX: usize = 4096;

/// What the body of each response must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Anything that is complete and not empty.
    Anything,
    /// Exactly these bytes.
    Exactly(Vec<u8>),
    /// Something that holds this text.
    Containing(String),
    /// [`pattern`] of this length in bytes.
    Pattern(usize),
}

/// The bytes that `/download` of the fixture apps answers: byte `i` is `i mod 251`.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % PERIOD) as u8).collect()
}

/// Some periods of the pattern, so that a block is compared at once and not byte by byte.
static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| pattern(PERIOD + BLOCK_BYTES));
/// As much as one read brings.
const BLOCK_BYTES: usize = 64 * 1024;

/// Checks one body.
#[derive(Debug)]
pub(crate) struct Checker<'a> {
    expect: &'a Expect,
    seen: usize,
    kept: Vec<u8>,
    wrong: bool,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(expect: &'a Expect) -> Self {
        Self { expect, seen: 0, kept: Vec::new(), wrong: false }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if let Expect::Pattern(_) = self.expect {
            let mut first = self.seen % PERIOD;
            for block in bytes.chunks(BLOCK_BYTES) {
                self.wrong |= block != &TABLE[first..first + block.len()];
                first = (first + block.len()) % PERIOD;
            }
        }
        let room = KEPT_BYTES_MAX.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.seen += bytes.len();
    }

    /// Whether the body, now complete, is the one expected.
    pub(crate) fn is_right(&self) -> bool {
        match self.expect {
            Expect::Anything => self.seen > 0,
            Expect::Exactly(bytes) => self.kept == *bytes,
            Expect::Containing(text) => String::from_utf8_lossy(&self.kept).contains(text),
            Expect::Pattern(bytes) => !self.wrong && self.seen == *bytes,
        }
    }

    /// The beginning of the body.
    pub(crate) fn kept(&self) -> &[u8] {
        &self.kept
    }

    pub(crate) fn seen(&self) -> usize {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expect: Expect, parts: &[&[u8]]) -> bool {
        let mut checker = Checker::new(&expect);
        for part in parts {
            checker.push(part);
        }
        checker.is_right()
    }

    #[test]
    fn a_pattern_in_any_pieces_is_right() {
        let whole = pattern(1000);
        assert!(check(Expect::Pattern(1000), &[&whole]));
        assert!(check(Expect::Pattern(1000), &[&whole[..7], &whole[7..600], &whole[600..]]));
    }

    #[test]
    fn a_pattern_with_a_hole_or_a_doubled_block_is_wrong() {
        let whole = pattern(1000);
        assert!(!check(Expect::Pattern(1000), &[&whole[..500]]));
        assert!(!check(Expect::Pattern(1000), &[&whole[..500], &whole[564..], &whole[..64]]));
        assert!(!check(Expect::Pattern(1000), &[&whole[..512], &whole[..488]]));
    }

    #[test]
    fn an_empty_body_is_never_right() {
        assert!(!check(Expect::Anything, &[]));
        assert!(!check(Expect::Exactly(b"x".to_vec()), &[]));
    }
}
