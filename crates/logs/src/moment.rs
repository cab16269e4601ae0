//! One instant, read from two clocks by the edge.

/// Now, as the edge read it: `boot_ns` decides deadlines, `unix_ns` is what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Nanoseconds of CLOCK_BOOTTIME. Never goes back; every deadline of this crate is on this clock.
    pub boot_ns: u64,
    /// Nanoseconds since the Unix epoch of CLOCK_REALTIME. May jump; only ever printed or put in a file name.
    pub unix_ns: i64,
}

impl Moment {
    /// The printed time in `zone`.
    pub(crate) fn zoned(self, zone: &jiff::tz::TimeZone) -> jiff::ZonedDateTime {
        jiff::Timestamp::from_nanosecond(i128::from(self.unix_ns))
            .expect("an i64 of nanoseconds spans 1677..2262, inside jiff's range")
            .to_zoned_datetime(zone.clone())
    }
}
