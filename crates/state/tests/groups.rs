//! Several transactions that become one: what each of them promised is seen by everybody, and outlives its process.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use common::{Fixture, NOW};
use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use skep_state::lists::{self, End};
use skep_state::strings::{self, Expiry, If};
use skep_state::zsets::{self, Order};
use skep_state::{Error, Options, Save, Space, Store, Tx, View, hashes, keys, sets};

/// The store in which a process of its own is to write, and how.
const STORE: &str = "SKEP_TEST_GROUP_IN";
const SEED: &str = "SKEP_TEST_GROUP_SEED";

fn space() -> Space {
    Space::database(0)
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

const KEYS: u64 = 4;
/// Of some five kilobytes each.
const ROUNDS_OF_A_GROUP: usize = 20;

/// Some changes by chance, of all kinds of keys, many of them put off until the transaction settles; at least one.
fn round(tx: &mut Tx<'_>, dice: &mut Dice) -> Result<(), Error> {
    strings::add(tx, space(), b"rounds", 1)?;
    for _ in 0..1 + dice.below(30) {
        let (n, member) = (dice.below(KEYS), format!("m{}", dice.below(300)).into_bytes());
        let of = |kind: &str| format!("{kind}{n}").into_bytes();
        let value = vec![b'v'; usize::try_from(dice.below(200)).expect("small")];
        let kind = dice.below(14);
        if !(1..=8).contains(&kind) {
            tx.settle()?;
        }
        match kind {
            0 => drop(strings::set(tx, space(), &of("long"), &value.repeat(30), Expiry::Never, If::Always)?),
            1 => strings::set_later(tx, space(), &of("text"), &value)?,
            2 => drop(strings::add_later(tx, space(), &of("number"), 1)?),
            3 => drop(hashes::set_all(tx, space(), &of("hash"), &[(&member, &value)], Save::Later)?),
            4 => drop(lists::push(tx, space(), &of("list"), End::Back, &[&value], Save::Later)?),
            5 => drop(lists::pop(tx, space(), &of("list"), End::Front, Save::Later)?),
            6 => drop(sets::add_all(tx, space(), &of("set"), &[&member], Save::Later)?),
            7 => {
                let score = dice.below(50) as f64;
                zsets::update(tx, space(), &of("board"), &member, Save::Later, |_| Some(score))?;
            }
            8 => drop(zsets::pop(tx, space(), &of("board"), Order::Ascending, 1, Save::Later)?),
            9 => drop(hashes::remove(tx, space(), &of("hash"), &member)?),
            10 => drop(zsets::remove(tx, space(), &of("board"), &member)?),
            11 => drop(keys::rename(tx, (space(), &of("list")), (space(), &of("elsewhere")))?),
            12 if dice.below(10) == 0 => drop(keys::delete(tx, space(), &of("board"))?),
            _ => drop(sets::remove(tx, space(), &of("set"), &member)?),
        }
    }
    Ok(())
}

/// Everything that can be seen of what [`round`] writes.
fn seen(view: &View<'_>) -> Result<Vec<String>, Error> {
    let mut all = vec![format!("rounds {:?}", strings::get(view, space(), b"rounds")?)];
    for n in 0..KEYS {
        let of = |kind: &str| format!("{kind}{n}").into_bytes();
        for kind in ["long", "text", "number"] {
            all.push(format!("{kind}{n} {:?}", strings::get(view, space(), &of(kind))?));
        }
        let hash = hashes::len(view, space(), &of("hash"))?;
        all.push(format!("hash{n} {hash} {:?}", hashes::page(view, space(), &of("hash"), b"", 1000)?));
        for kind in ["list", "elsewhere"] {
            let length = lists::len(view, space(), &of(kind))?;
            all.push(format!("{kind}{n} {length} {:?}", lists::range(view, space(), &of(kind), 0, 10_000)?));
        }
        let set = sets::len(view, space(), &of("set"))?;
        all.push(format!("set{n} {set} {:?}", sets::page(view, space(), &of("set"), b"", 1000)?));
        let members = zsets::range(view, space(), &of("board"), 0, 1000, Order::Ascending)?;
        let length = zsets::len(view, space(), &of("board"))?;
        all.push(format!(
            "board{n} {length} {:?}",
            members.iter().map(|m| (&m.member, m.score)).collect::<Vec<_>>()
        ));
        for (at, scored) in members.iter().enumerate().step_by(7) {
            let rank = zsets::rank(view, space(), &of("board"), &scored.member, Order::Ascending)?;
            assert_eq!(rank, Some(at as u64), "its buckets are counted");
        }
    }
    Ok(all)
}

fn look(store: &Store) -> Vec<String> {
    store.read(NOW, seen).expect("read")
}

/// Not a test: a process that writes, started by one. For each byte that it is sent it does one round, answers, and leaves its group
/// open, as if it had more to do at once.
#[test]
#[ignore = "a process that another test starts"]
fn writer_to_be_killed() {
    let Some(path) = std::env::var_os(STORE).map(PathBuf::from) else { return };
    let seed = std::env::var(SEED).expect("a seed").parse().expect("a number");
    let (store, mut dice) = (Store::open(&path).expect("opened"), Dice(seed));
    let mut out = std::io::stdout();
    for byte in BufReader::new(std::io::stdin()).bytes() {
        let bad = byte.expect("readable") == b'x';
        let done = store.write_in_group(NOW, |tx| {
            if bad {
                strings::set(tx, space(), b"never", b"", Expiry::Never, If::Always)?;
                return Err(Error::NotANumber("meant to fail"));
            }
            let mut same = Dice(dice.0);
            round(tx, &mut same)?;
            Ok(same.0)
        });
        assert_eq!(done.is_err(), bad, "{done:?}");
        if let Ok(next) = done {
            dice.0 = next;
        }
        out.write_all(b"\ndone\n").and_then(|()| out.flush()).expect("somebody listens");
    }
}

struct Writer {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Writer {
    fn start(store: &Path, seed: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "writer_to_be_killed", "--ignored", "--nocapture"])
            .env(STORE, store)
            .env(SEED, seed.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, answers }
    }

    fn ask(&mut self, what: u8) {
        self.child.stdin.as_mut().expect("a pipe").write_all(&[what]).expect("it lives");
        let mut line = String::new();
        while line != "done\n" {
            line.clear();
            assert!(self.answers.read_line(&mut line).expect("readable") > 0, "it has ended");
        }
    }

    fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("our child");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// `x` among the rounds: one that fails, and of which nothing is left.
    #[test]
    fn what_a_killed_writer_had_promised_is_there_and_nothing_else(
        seed in 1..u64::MAX,
        rounds in proptest::collection::vec(prop_oneof![12 => Just(b'.'), 1 => Just(b'x')], 1..60),
        kills in 1..4_u32,
    ) {
        let (fixture, plain) = (Fixture::new(), Fixture::new());
        // None that fails, and no more than the log has room for at first.
        let is_one_group = !rounds.contains(&b'x') && rounds.len() <= ROUNDS_OF_A_GROUP;
        let mut dice = Dice(seed);
        for _ in 0..kills {
            let mut writer = Writer::start(&fixture.path(), dice.0);
            let commits = fixture.supervisor.stats().writes;
            for what in &rounds {
                writer.ask(*what);
                if *what == b'.' {
                    let mut next = dice.0;
                    plain.supervisor.write(NOW, |tx| {
                        let mut same = Dice(dice.0);
                        round(tx, &mut same)?;
                        next = same.0;
                        Ok(())
                    }).expect("written");
                    dice.0 = next;
                }
            }
            writer.kill();
            prop_assert_eq!(look(fixture.supervisor.store()), look(plain.supervisor.store()));
            if is_one_group {
                let now = fixture.supervisor.stats().writes;
                prop_assert_eq!(now, commits + 1, "it has committed nothing, who looked first did");
            }
            let never = fixture.supervisor.store().read(NOW, |view| {
                Ok(strings::get(view, space(), b"never")?.is_some())
            });
            prop_assert!(!never.expect("read"));
            // And once more from what was made of it.
            fixture.supervisor.write(NOW, |_| Ok(())).expect("the lock is free");
        }
        if is_one_group {
            prop_assert_eq!(u64::from(kills), fixture.supervisor.stats().owner_deaths, "all within a group");
        }
    }
}

/// Says so when it goes, by a panic as well.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn nobody_reads_past_what_was_promised() {
    let fixture = Fixture::new();
    let store = fixture.supervisor.store().clone();
    let (promised, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(SeqCst) {
                let next = promised.load(SeqCst) + 1;
                let set =
                    |tx: &mut Tx<'_>| strings::set_later(tx, space(), b"k", next.to_string().as_bytes());
                store.write_in_group(NOW, set).expect("written");
                promised.store(next, SeqCst);
                let own = store
                    .read_in_group(NOW, |view| Ok(strings::get(view, space(), b"k")?.map(<[u8]>::to_vec)));
                assert_eq!(own.expect("read"), Some(next.to_string().into_bytes()));
            }
            store.end_group().expect("ended");
        });
        let _stop = Stop(&stop);
        let mut before = 0;
        for _ in 0..20_000 {
            let least = promised.load(SeqCst);
            let read = store.read(NOW, |view| {
                let text = strings::get(view, space(), b"k")?.unwrap_or(b"0");
                Ok(std::str::from_utf8(text).expect("digits").parse::<u64>().expect("a number"))
            });
            let read = read.expect("read");
            assert!(read >= least && read >= before, "{read} after {least} and {before}");
            before = read;
        }
    });
}

#[test]
fn what_wakes_somebody_is_committed_at_once() {
    let fixture = Fixture::new();
    while fixture.supervisor.maintain(NOW).expect("looked after").is_some() {}
    let store = fixture.supervisor.store();
    let set = |at: u64| {
        let set =
            |tx: &mut Tx<'_>| strings::set(tx, space(), b"k", b"v", Expiry::At(NOW.plus(at)), If::Always);
        let before = store.stats().writes;
        store.write_in_group(NOW, set).expect("written");
        let fd = PollFd::from_borrowed_fd(fixture.supervisor.wake_fd(), PollFlags::IN);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        (poll(&mut [fd], Some(&now)).expect("awake") > 0, store.stats().writes - before)
    };
    assert_eq!(set(5_000), (true, 1), "the maintenance slept until nothing");
    fixture.supervisor.maintain(NOW).expect("looked after");
    assert!(!set(9_000).0, "it will be awake by then");
    assert!(set(1_000).0, "but not by then");
}

#[test]
fn a_round_that_panics_leaves_nothing_and_those_before_it_stay() {
    let fixture = Fixture::new();
    let store = fixture.supervisor.store();
    let set = |tx: &mut Tx<'_>, key: &[u8]| strings::set(tx, space(), key, b"", Expiry::Never, If::Always);
    store.write_in_group(NOW, |tx| set(tx, b"promised")).expect("written");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        store.write_in_group(NOW, |tx| -> Result<(), Error> {
            set(tx, b"half")?;
            panic!("in the middle")
        })
    }));
    assert!(panicked.is_err());
    let there =
        |key: &[u8]| store.read(NOW, |view| Ok(strings::get(view, space(), key)?.is_some())).expect("read");
    assert!(there(b"promised") && !there(b"half"));
    store.write_in_group(NOW, |tx| set(tx, b"half")).expect("written");
    assert!(there(b"half"));
}

#[test]
fn a_store_that_fills_up_within_a_group_keeps_what_was_promised() {
    let options = Options { data_bytes: 512 * 1024, data_bytes_max: 2 << 20, ..Options::default() };
    let fixture = Fixture::with(&options);
    let store = fixture.supervisor.store();
    let key = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let mut promised = 0;
    let refused = loop {
        let set = |tx: &mut Tx<'_>| strings::set_later(tx, space(), &key(promised), &[7; 100]);
        match store.write_in_group(NOW, set) {
            Ok(()) => promised += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Full { .. }), "{refused}");
    let there = || store.read(NOW, |view| keys::count(view, space())).expect("read");
    assert!(promised > 1_000 && there() == promised, "{promised}, {} are there", there());
    let bytes = store.stats().data_bytes;
    // A quarter of a megabyte and an eighth are slack, which groups may go beyond by a step.
    let most = options.data_bytes_max / 8 * 9 + 512 * 1024;
    assert!(bytes <= most, "{bytes}");
    // Room again, also for groups.
    for n in 0..promised / 2 {
        store.write_freeing(NOW, |tx| keys::delete(tx, space(), &key(n))).expect("removed");
    }
    for n in 0..promised / 4 {
        let set = |tx: &mut Tx<'_>| strings::set_later(tx, space(), &key(n), &[8; 100]);
        store.write_in_group(NOW, set).expect("written");
    }
    assert_eq!(there(), promised - promised / 2 + promised / 4);
}

#[test]
fn the_last_owner_of_a_store_commits_what_is_pending() {
    let fixture = Fixture::new();
    let path = fixture.path();
    let Fixture { dir, supervisor } = fixture;
    let set = |tx: &mut Tx<'_>| strings::set(tx, space(), b"k", b"v", Expiry::Never, If::Always);
    supervisor.store().write_in_group(NOW, set).expect("written");
    drop(supervisor);
    let store = Store::open(&path).expect("opened again");
    let read = store.read(NOW, |view| Ok(strings::get(view, space(), b"k")?.is_some()));
    assert!(read.expect("read"));
    drop(dir);
}
