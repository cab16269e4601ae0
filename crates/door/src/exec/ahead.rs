//! What the next commands will look at, so that the processor fetches it meanwhile.

use skep_state::{Error, Space, zsets};

use crate::call::Access;
use crate::table::Command;

/// Commands that are looked at ahead: their pages fit into a cache beside what is in use.
pub(super) const AHEAD: usize = 16;

/// Has fetched what the next commands change, as far as it is worth it: members of one sorted set.
pub(super) fn look_ahead(
    access: &mut Access<'_, '_>,
    space: Space,
    next: &[(&'static Command, &[&[u8]])],
) -> Result<(), Error> {
    let (Access::Write(tx), Some((_, [_, key, ..]))) = (access, next.first()) else { return Ok(()) };
    let members = next.iter().take(AHEAD).filter_map(|(command, args)| match args {
        [_, of, _, member] if ["zadd", "zincrby"].contains(&command.name) && of == key => Some(*member),
        _ => None,
    });
    zsets::foresee(tx, space, key, members)
}
