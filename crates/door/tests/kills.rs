//! A door that is killed while it works: what it has answered stays, in order, and nothing is there twice.

mod common;

use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};

use common::{Answer, Plain};
use skep_state::strings::{self, Expiry, If};
use skep_state::{Error, Options, Space, Supervisor, WallMs};

/// The folder in which a process of its own is to open the door.
const FOLDER: &str = "SKEP_TEST_DOOR_IN";
const CLIENTS: usize = 8;
/// Commands that a client sends at once: as many as share a transaction.
const AT_ONCE: usize = 64;
/// So many times that, with nothing fetched: work for some milliseconds, in which a door is killed.
const TIMES: usize = 4;
/// Doors are killed until so many have died within a transaction.
const IN_THE_MIDDLE: u64 = 20;
const DOORS_MAX: usize = 1000;
/// Looks at the lock before a door is killed anyhow.
const LOOKS: usize = 10_000;

/// Not a test: the door, started by one.
#[test]
#[ignore = "a process that another test starts"]
fn door_to_be_killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(std::path::PathBuf::from) else { return };
    let socket = folder.join("door.sock");
    let _ = std::fs::remove_file(&socket);
    let unix = vec![UnixListener::bind(&socket).expect("a free path").into()];
    let store = folder.join("store");
    skep_door::serve(skep_door::Options { store, unix, tcp: Vec::new(), password: None }).expect("it serves");
}

fn open_door(folder: &std::path::Path) -> (Child, Vec<Plain>) {
    let socket = folder.join("door.sock");
    let _ = std::fs::remove_file(&socket);
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "door_to_be_killed", "--ignored"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(child.try_wait().expect("our child").is_none(), "the door has ended");
        std::thread::yield_now();
    }
    (child, (0..CLIENTS).map(|_| Plain::connect(&socket)).collect())
}

/// What a client has sent of its numbers, and up to which the door has said that they are stored.
#[derive(Debug, Default, Clone, Copy)]
struct Told {
    sent: i64,
    answered: i64,
}

impl Told {
    fn send(&mut self, n: usize, client: &mut Plain) {
        let mut text = String::new();
        for _ in 0..AT_ONCE {
            self.sent += 1;
            text += &format!("rpush list{n} {0}\r\nzadd set{n} {0} {0}\r\n", self.sent);
        }
        client.raw(text.as_bytes());
    }

    fn hear(&mut self, client: &mut Plain) -> bool {
        let (Some(list), Some(set)) = (client.try_answer(), client.try_answer()) else { return false };
        assert_eq!((list, set), (Answer::Integer(self.answered + 1), Answer::Integer(1)));
        self.answered += 1;
        true
    }
}

#[test]
fn what_a_door_has_answered_outlives_it_whenever_it_is_killed() {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let supervisor =
        Supervisor::open(&folder.path().join("store"), &Options::default(), WallMs(1)).expect("a store");
    for round in 0.. {
        let died = supervisor.stats().owner_deaths;
        if died >= IN_THE_MIDDLE {
            break;
        }
        assert!(round < DOORS_MAX, "{died} doors of {round} held the lock when they were killed");
        let (mut door, mut clients) = open_door(folder.path());
        assert!(matches!(clients[0].say("flushall"), Answer::Status(_)));
        let mut told = [Told::default(); CLIENTS];
        for (n, told) in told.iter_mut().enumerate() {
            told.send(n, &mut clients[n]);
        }
        assert!((0..=round % AT_ONCE).all(|_| told[0].hear(&mut clients[0])), "it serves");
        for n in (0..TIMES).flat_map(|_| 0..CLIENTS) {
            told[n].send(n, &mut clients[n]);
        }
        // It is killed as soon as it is seen to hold the lock, or, if it was not seen, with everything done. Every second one that
        // nobody waits for: its transactions are a group then, of which none is committed.
        let _ = (0..LOOKS).find(|_| round % 2 == 1 || is_busy(&supervisor));
        door.kill().expect("killed");
        door.wait().expect("our child");
        // What it had sent before it was killed counts as well.
        for (told, client) in told.iter_mut().zip(&mut clients) {
            while told.hear(client) {}
        }
        judge(&supervisor, folder.path(), &told);
    }
}

/// Whether the door holds the lock.
fn is_busy(supervisor: &Supervisor) -> bool {
    supervisor.store().set_patience(1);
    let held = supervisor.store().write(WallMs(1), |_| Ok(()));
    supervisor.store().set_patience(skep_state::limits::WRITE_WAIT_US);
    matches!(held, Err(Error::Busy { .. }))
}

/// What is left is the beginning of what each client has sent, no shorter than what it was told.
fn judge(supervisor: &Supervisor, folder: &std::path::Path, told: &[Told]) {
    let note = |tx: &mut skep_state::Tx<'_>| {
        strings::set(tx, Space::database(1), b"judged", b"", Expiry::Never, If::Always)
    };
    supervisor.store().write(WallMs(1), note).expect("the lock is free again");
    let (mut door, mut clients) = open_door(folder);
    for (n, told) in told.iter().enumerate() {
        let list = clients[n].ask(&[b"lrange", format!("list{n}").as_bytes(), b"0", b"-1"]).text();
        let kept: Vec<i64> = list
            .trim_matches(['[', ']'])
            .split_terminator(' ')
            .map(|n| n.parse().expect("a number"))
            .collect();
        let expected: Vec<i64> = (1..=kept.len() as i64).collect();
        assert_eq!(kept, expected, "client {n}");
        let kept = kept.len() as i64;
        assert!((told.answered..=told.sent).contains(&kept), "client {n}: {kept} are left of {told:?}");
        let set = clients[n].ask(&[b"zrange", format!("set{n}").as_bytes(), b"0", b"-1"]).text();
        let members = set.trim_matches(['[', ']']).split_terminator(' ').count() as i64;
        assert!((told.answered..=told.sent).contains(&members), "client {n}: {members} members of {told:?}");
    }
    door.kill().expect("killed");
    door.wait().expect("our child");
}
