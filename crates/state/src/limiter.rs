//! Rate limits: so many points in a window that begins with the first of them.

use crate::error::Result;
use crate::key::{Put, Take};
use crate::spaces::Space;
use crate::strings::{self, Expiry, If};
use crate::tx::{Tx, View};

/// What a limiter allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Points in a window.
    pub points: u64,
    /// The window, in milliseconds.
    pub window_ms: u64,
    /// For how long a key is refused once it went over, in milliseconds; 0 = to the end of its window.
    pub block_ms: u64,
}

/// What a limiter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the points were within the allowance.
    pub allowed: bool,
    /// Points used in this window, these included.
    pub used: u64,
    /// Points left.
    pub remaining: u64,
    /// Milliseconds to the end of the window (or of the block).
    pub reset_ms: u64,
}

fn verdict(used: u64, until: u64, allowance: &Allowance, now: u64) -> Verdict {
    let remaining = allowance.points.saturating_sub(used);
    Verdict { allowed: used <= allowance.points, used, remaining, reset_ms: until.saturating_sub(now) }
}

fn read(view: &View<'_>, space: Space, key: &[u8]) -> Result<Option<(u64, u64)>> {
    Ok(strings::get(view, space, key)?.map(|bytes| {
        let mut take = Take(bytes);
        (take.varint(), take.ms())
    }))
}

/// Uses points of a key's allowance; negative ones are given back.
pub(crate) fn consume(
    tx: &mut Tx<'_>,
    space: Space,
    key: &[u8],
    points: i64,
    allowance: &Allowance,
) -> Result<Verdict> {
    let now = tx.now();
    let (before, mut until) = read(&tx.view(), space, key)?.unwrap_or((0, now.plus(allowance.window_ms).0));
    let used = before.saturating_add_signed(points);
    if used > allowance.points && before <= allowance.points && allowance.block_ms > 0 {
        until = now.plus(allowance.block_ms).0;
    }
    let mut value = Vec::with_capacity(16);
    value.put_varint(used);
    value.put_ms(until);
    strings::set(tx, space, key, &value, Expiry::At(crate::WallMs(until)), If::Always)?;
    Ok(verdict(used, until, allowance, now.0))
}

/// What a key has used, without using more.
pub(crate) fn look(view: &View<'_>, space: Space, key: &[u8], allowance: &Allowance) -> Result<Verdict> {
    let (used, until) = read(view, space, key)?.unwrap_or((0, view.now().0));
    Ok(verdict(used, until, allowance, view.now().0))
}
