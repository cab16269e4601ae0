//! What one operation costs, in a process by itself, for perf and callgrind: `ops OPERATION [COUNT [BATCH]]`. BATCH: so many
//! operations a transaction.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use skep_state::strings::{self, Expiry, If};
use skep_state::{
    Ask, Client, Identity, IfBusy, LockMode, Options, Owner, Result, Save, Space, SpaceKind, Supervisor, Tx,
    WallMs, lists, zsets,
};

const NOW: WallMs = WallMs(1_700_000_000_000);
const MEMBERS: u64 = 100_000;
const VALUE: [u8; 100] = [b'x'; 100];

fn clock() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// What `redis-benchmark -t zadd -r 100000` sends: any of the members, with any score. (SplitMix64.)
fn any(i: u64, salt: u64) -> u64 {
    let mut x = (i * 2 + salt).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) % MEMBERS
}

/// Spreads numbers over the members.
fn member(i: u64) -> String {
    format!("m{}", i * 7919 % MEMBERS)
}

fn lock_and_unlock(client: &Client) -> Result<()> {
    let (mode, if_busy) = (LockMode::Exclusive, IfBusy::Wait);
    client.lock(&Ask { name: b"lock", request: 1, mode, if_busy, ttl_ms: 0 }, NOW)?;
    client.unlock(b"lock", 1, NOW)?;
    Ok(())
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, otherwise| args.get(at).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (count, batch): (u64, u64) = (number(1, 100_000), number(2, 1));
    let operation = args.first().map_or("set", String::as_str);
    let dir = tempfile::tempdir_in("/dev/shm").expect("memory");
    let supervisor = Supervisor::open(&dir.path().join("store"), &Options::default(), NOW)?;
    let store = supervisor.store();
    let client = Client::attach_to(store.clone(), Identity::Worker(Owner { id: 1, generation: 0 }), NOW)?;
    let map = store.space(SpaceKind::Map, b"map", NOW)?;
    let board = store.space(SpaceKind::Board, b"board", NOW)?;
    let set = |tx: &mut Tx<'_>, key: &str| {
        strings::set(tx, map, key.as_bytes(), &VALUE, Expiry::Never, If::Always).map(|_| ())
    };
    let one = |tx: &mut Tx<'_>, i: u64| match operation {
        "empty" => Ok(()),
        "spread" => set(tx, &member(i)),
        "incr" => strings::add(tx, map, b"n", 1).map(|_| ()),
        "push" => lists::push(tx, map, b"l", lists::End::Front, &[b"xxx"], Save::Now).map(|_| ()),
        "zadd" => {
            let (member, score) = (format!("element:{:012}", any(i, 0)), any(i, 1) as f64);
            zsets::update(tx, Space::database(0), b"myzset", member.as_bytes(), Save::Later, |_| Some(score))
                .map(|_| ())
        }
        "board" => zsets::add(tx, board, &[], member(i).as_bytes(), (i % 10) as f64).map(|_| ()),
        _ => set(tx, "k"),
    };
    store.write(NOW, |tx| set(tx, "k"))?;
    for i in (0..MEMBERS).step_by(500).filter(|_| matches!(operation, "board" | "spread" | "zadd")) {
        store.write(NOW, |tx| (i..i + 500).try_for_each(|i| one(tx, i)))?;
    }
    let begin = clock();
    for i in (0..count).step_by(usize::try_from(batch).unwrap_or(1)) {
        match operation {
            "get" => drop(store.read(NOW, |view| Ok(strings::get(view, map, b"k")?.map(<[u8]>::len)))?),
            "lock" => lock_and_unlock(&client)?,
            _ => store.write(NOW, |tx| (i..i + batch).try_for_each(|i| one(tx, i)))?,
        }
    }
    println!("{operation}: {:.3} us", (clock() - begin).as_secs_f64() * 1e6 / count as f64);
    Ok(())
}
