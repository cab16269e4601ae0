//! Keyspace events (CONFIG SET notify-keyspace-events): which classes are wanted.

pub(crate) const KEYSPACE: u16 = 1;
pub(crate) const KEYEVENT: u16 = 1 << 1;
pub(crate) const GENERIC: u16 = 1 << 2;
pub(crate) const STRING: u16 = 1 << 3;
pub(crate) const LIST: u16 = 1 << 4;
pub(crate) const SET: u16 = 1 << 5;
pub(crate) const HASH: u16 = 1 << 6;
pub(crate) const ZSET: u16 = 1 << 7;
pub(crate) const STREAM: u16 = 1 << 8;
/// Expired, evicted, key-miss and new events are accepted and never sent: keys expire in whichever process looks.
const SILENT: u16 = 1 << 9;

const LETTERS: [(char, u16); 15] = [
    ('K', KEYSPACE),
    ('E', KEYEVENT),
    ('g', GENERIC),
    ('$', STRING),
    ('l', LIST),
    ('s', SET),
    ('h', HASH),
    ('z', ZSET),
    ('t', STREAM),
    ('x', SILENT),
    ('e', SILENT),
    ('m', SILENT),
    ('n', SILENT),
    ('d', SILENT),
    ('A', GENERIC | STRING | LIST | SET | HASH | ZSET | STREAM | SILENT),
];

/// The wanted classes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notify {
    bits: u16,
    /// As it was set.
    pub(crate) text: String,
}

impl Notify {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bits = 0;
        for letter in text.chars() {
            bits |= LETTERS.iter().find(|(known, _)| *known == letter)?.1;
        }
        Some(Self { bits, text: text.to_owned() })
    }

    pub(crate) fn wants(&self, class: u16) -> bool {
        self.bits & class != 0 && self.bits & (KEYSPACE | KEYEVENT) != 0
    }

    pub(crate) fn has(&self, bit: u16) -> bool {
        self.bits & bit != 0
    }
}
