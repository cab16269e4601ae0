//! Workers that work on everything at once and are killed at random instants, and so is their supervisor; then a judge
//! over what they wrote down.
//!
//! `TORTURE_KILLS` (1000) and `TORTURE_WORKERS` (4) set the size. Each worker notes an operation before it begins and
//! after it returned, by write(2): a killed process's notes are complete up to its last instant.

mod history;
mod judge;
mod parent;
mod supervisor;
mod worker;

/// The one test's name for `cargo nextest`.
const NAME: &str = "a_thousand_kills_lose_nothing";

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("--list") {
        // What `cargo nextest` asks (its custom test harness protocol).
        if !args.any(|word| word == "--ignored") {
            println!("{NAME}: test");
        }
        return;
    }
    let is = |role| std::env::var_os(role).is_some();
    match (is("TORTURE_WORKER"), is("TORTURE_SUPERVISOR")) {
        (true, _) => worker::run(),
        (false, true) => supervisor::run(),
        (false, false) => parent::run(),
    }
}

/// A number of the environment.
pub(crate) fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// A small generator (xorshift64*): the same seed, the same run of choices.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}
