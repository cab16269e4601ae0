//! Random histories: whatever happens, the promises hold, and afterwards everything comes right.
//!
//! `SKEP_SIM_HISTORIES=1000000` plays more of them, `SKEP_SIM_FIRST=100000` begins with another seed,
//! `SKEP_SIM_SEED=42` tells the story of one.

use skep_sim::{History, Sights, Violation};

/// As many as fit into a minute of one core.
const HISTORIES: u64 = 100_000;

/// So many histories come across everything that there is to see.
const ENOUGH: u64 = 5_000;

/// Two cores are what the project's machines have at least.
const THREADS: u64 = 2;

fn env(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{name}={value} is not a number: {error}")))
}

/// Plays every seed from `first` on, in steps as wide as there are threads.
fn play(first: u64, end: u64) -> Result<Sights, (u64, Violation)> {
    let mut sights = Sights::default();
    for seed in (first..end).step_by(usize::try_from(THREADS).expect("few threads")) {
        let played = std::panic::catch_unwind(|| History::new(seed).play());
        let played = played.unwrap_or_else(|_| Err(Violation("a panic, see above".to_owned())));
        sights.merge(played.map_err(|violation| (seed, violation))?);
    }
    Ok(sights)
}

#[test]
fn every_history_ends_well() {
    if let Some(seed) = env("SKEP_SIM_SEED") {
        println!("{}", History::new(seed).replay().join("\n"));
        let end = History::new(seed).play();
        assert!(end.is_ok(), "{end:?}");
        return;
    }
    let count = env("SKEP_SIM_HISTORIES").unwrap_or(HISTORIES);
    let first = env("SKEP_SIM_FIRST").unwrap_or(0);
    let threads: Vec<_> =
        (0..THREADS).map(|thread| std::thread::spawn(move || play(first + thread, first + count))).collect();
    let mut sights = Sights::default();
    for thread in threads {
        match thread.join().expect("panics are caught where the seed is known") {
            Ok(seen) => sights.merge(seen),
            Err((seed, Violation(words))) => panic!(
                "history {seed}: {words}\n\
                 replay with: SKEP_SIM_SEED={seed} cargo test -p skep-sim --test histories -- --nocapture"
            ),
        }
    }
    println!("{count} histories");
    if count < ENOUGH {
        return;
    }
    assert_eq!(sights.missing(), [""; 0], "the histories are too tame: they never came across these");
}
