//! Whether to look for the next commands once more before going to sleep.
//!
//! Who sends to a sleeping process pays for waking it, several microseconds each time: a busy client of a door that is
//! faster than it does so after every few commands, and that is what would limit both. So the door looks on for as long as
//! a client takes for its next pipeline. Where that is in vain it does so ever more rarely, up to the point at which trying
//! costs nothing.

/// How long, in nanoseconds.
pub(crate) const LINGER_NS: u64 = 20_000;
/// After a vain try so many turns of the loop are slept; twice as many after the next one.
const PAUSE: u32 = 4;
/// At most: 20 µs in so many turns, of some 10 µs each, are a fifth of a percent.
const PAUSE_MAX: u32 = 1024;

/// What earlier tries came to.
#[derive(Debug)]
pub(crate) struct Linger {
    pause: u32,
    next_pause: u32,
    /// Alone on one processor, looking keeps the clients from sending.
    alone: bool,
}

impl Linger {
    pub(crate) fn new(processors: usize) -> Self {
        Self { pause: 0, next_pause: PAUSE, alone: processors < 2 }
    }

    /// Whether to look on, this time.
    pub(crate) fn tries(&mut self) -> bool {
        if self.alone || self.pause > 0 {
            self.pause = self.pause.saturating_sub(1);
            return false;
        }
        true
    }

    /// What the try came to: whether somebody had sent something.
    pub(crate) fn came_to(&mut self, something: bool) {
        if something {
            self.next_pause = PAUSE;
        } else {
            self.pause = self.next_pause;
            self.next_pause = (self.next_pause * 2).min(PAUSE_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns of the loop that are slept until it tries again.
    fn slept(linger: &mut Linger) -> u32 {
        (0..).take_while(|_| !linger.tries()).count().try_into().expect("few")
    }

    #[test]
    fn it_tries_for_as_long_as_that_pays_and_ever_more_rarely_where_it_does_not() {
        let mut linger = Linger::new(2);
        for _ in 0..100 {
            assert_eq!(slept(&mut linger), 0);
            linger.came_to(true);
        }
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert!(linger.pause == 0);
            linger.came_to(false);
            pauses.push(slept(&mut linger));
        }
        assert_eq!(pauses, [4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024, 1024, 1024]);
        linger.came_to(true);
        linger.came_to(false);
        assert_eq!(slept(&mut linger), 4, "one success, and it hopes again");
    }

    #[test]
    fn alone_on_a_processor_it_sleeps_at_once() {
        let mut linger = Linger::new(1);
        assert!((0..10_000).all(|_| !linger.tries()));
    }
}
