//! Random histories: clocks are set, machines sleep, the daemon is killed between any two effects, workers die. No fire
//! time is ever started twice, none is forgotten.
//!
//! `SKEP_JOBS_HISTORIES=1000000` plays more of them, `SKEP_JOBS_THREADS=1` on fewer cores, `SKEP_JOBS_SEED=42` tells the
//! story of one.

mod chance;
mod store;
mod witness;
mod world;

use std::panic::catch_unwind;

/// As many as fit into some seconds of one core.
const HISTORIES: u64 = 25_000;
/// So many histories come across everything that there is to see.
const ENOUGH: u64 = 2_000;
/// After so many of one thread it is told how far it is: a million take half an hour.
const TOLD_EVERY: u64 = 50_000;
/// Two cores are what the project's machines have at least.
const THREADS: u64 = 2;

fn env(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{name}={value} is not a number: {error}")))
}

fn play(first: u64, end: u64, step: u64) -> Result<witness::Sights, String> {
    let mut sights = witness::Sights::default();
    for seed in (first..end).step_by(usize::try_from(step).expect("a few")) {
        if seed >= step && (seed / step).is_multiple_of(TOLD_EVERY) {
            println!("seeds up to {seed} hold");
        }
        let played = catch_unwind(|| world::play(seed, false)).unwrap_or_else(|_| Err("a panic".to_owned()));
        sights.add(&played.map_err(|violation| {
            format!(
                "history {seed}: {violation}\nreplay with: SKEP_JOBS_SEED={seed} cargo test -p skep-jobs --test \
                 histories -- --nocapture"
            )
        })?);
    }
    Ok(sights)
}

#[test]
fn no_fire_time_is_started_twice_and_none_is_forgotten() {
    if let Some(seed) = env("SKEP_JOBS_SEED") {
        world::play(seed, true).unwrap();
        return;
    }
    let count = env("SKEP_JOBS_HISTORIES").unwrap_or(HISTORIES);
    let threads = env("SKEP_JOBS_THREADS").unwrap_or(THREADS).max(1);
    let threads: Vec<_> =
        (0..threads).map(|first| std::thread::spawn(move || play(first, count, threads))).collect();
    let mut sights = witness::Sights::default();
    for thread in threads {
        sights.add(&thread.join().unwrap().unwrap_or_else(|violation| panic!("{violation}")));
    }
    println!("{count} histories: {sights:?}");
    if count >= ENOUGH {
        assert_eq!(sights.missing(), [""; 0], "the histories are too tame: they never came across these");
    }
}
