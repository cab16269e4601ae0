//! Hard cases: full, too large, foreign, damaged, of another version, not ours.

mod common;

use std::os::unix::fs::{FileExt, PermissionsExt};

use common::{Fixture, NOW};
use skep_state::strings::{self, Expiry, If};
use skep_state::{Error, Options, Save, Space, Store, Supervisor, Tx, View, keys, lists};

const SPACE: fn() -> Space = || Space::database(0);

fn put(store: &Store, key: &str, value: &[u8]) -> Result<bool, Error> {
    store.write(NOW, |tx| strings::set(tx, SPACE(), key.as_bytes(), value, Expiry::Never, If::Always))
}

#[test]
fn a_full_store_says_so_keeps_everything_and_can_be_emptied() {
    let options = Options { data_bytes: 1 << 20, data_bytes_max: 1 << 20, ..Options::default() };
    let fixture = Fixture::with(&options);
    let store = fixture.supervisor.store();
    let value = [7; 3000];
    let mut written = 0;
    let error = loop {
        match put(store, &format!("key{written}"), &value) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Full { max: 1_048_576, .. }), "{error}");
    assert!(written > 100, "{written}");
    let all = store.read(NOW, |view| keys::count(view, SPACE())).expect("a count");
    assert_eq!(all, written);
    for n in 0..written {
        let gone = store.write_freeing(NOW, |tx| keys::delete(tx, SPACE(), format!("key{n}").as_bytes()));
        assert!(gone.expect("removing works when full"));
    }
    assert!(put(store, "again", &value).expect("there is room again"));
}

#[test]
fn a_store_grows_while_others_have_it_mapped() {
    let fixture = Fixture::with(&Options { data_bytes: 1 << 20, ..Options::default() });
    let other = Store::open(&fixture.path());
    // LMDB opens a folder once a process: the second handle of this process shares the first one's map.
    let store = other.as_ref().unwrap_or_else(|_| fixture.supervisor.store());
    for n in 0..2000 {
        put(store, &format!("key{n}"), &[1; 4000]).expect("it grows");
    }
    assert!(fixture.supervisor.stats().growths >= 1);
    assert_eq!(store.read(NOW, |view| keys::count(view, SPACE())).expect("a count"), 2000);
}

#[test]
fn a_limit_may_be_made_smaller_and_larger_again_and_what_is_there_stays() {
    let fixture = Fixture::with(&Options { data_bytes: 1 << 20, ..Options::default() });
    let store = fixture.supervisor.store();
    let fill = |from: usize| (from..).find(|n| put(store, &format!("key{n}"), &[1; 4000]).is_err());
    store.set_limits(4 << 20, 1 << 20);
    let first = fill(0).expect("it is full");
    assert!(fixture.supervisor.stats().data_bytes <= 4 << 20);
    // Smaller than it is already: it only grows no more.
    store.set_limits(1 << 20, 1 << 20);
    assert!(matches!(put(store, "more", &[1; 4000]), Err(Error::Full { .. })));
    assert_eq!(store.read(NOW, |view| keys::count(view, SPACE())).expect("a count"), first as u64);
    store.set_limits(8 << 20, 1 << 20);
    let second = fill(first).expect("it is full again");
    assert!(second > first + 500, "{first} {second}");
}

#[test]
fn a_value_over_the_limit_is_refused_with_both_numbers() {
    let fixture = Fixture::with(&Options { value_bytes_max: 1000, ..Options::default() });
    let error = put(fixture.supervisor.store(), "k", &[0; 1001]).expect_err("too long").to_string();
    assert!(error.contains("1001") && error.contains("1000"), "{error}");
}

#[test]
fn a_foreign_control_file_is_refused_and_left_alone() {
    let dir = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let store = dir.path().join("s");
    drop(Supervisor::open(&store, &Options::default(), NOW).expect("a store"));
    let control = store.join("control");
    let file = std::fs::OpenOptions::new().write(true).open(&control).expect("opened");
    file.write_all_at(b"something else", 0).expect("written");
    let error = Store::open(&store).expect_err("foreign");
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
    assert!(std::fs::read(&control).expect("still there").starts_with(b"something else"));
}

#[test]
fn another_layout_is_named() {
    let dir = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let store = dir.path().join("s");
    drop(Supervisor::open(&store, &Options::default(), NOW).expect("a store"));
    let file = std::fs::OpenOptions::new().write(true).open(store.join("control")).expect("opened");
    file.write_all_at(&9u32.to_ne_bytes(), 8).expect("written");
    let error = Store::open(&store).expect_err("another version");
    assert!(matches!(error, Error::Version { found: 9, ours: 2, .. }), "{error}");
}

#[test]
fn what_an_earlier_version_cannot_read_raises_the_layout_and_a_backup_brings_it_along() {
    let dir = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let (path, other, file) = (dir.path().join("s"), dir.path().join("other"), dir.path().join("backup"));
    let layout = |store: &std::path::Path| {
        let control = std::fs::read(store.join("control")).expect("read");
        u32::from_ne_bytes(control[8..12].try_into().expect("four bytes"))
    };
    let supervisor = Supervisor::open(&path, &Options::default(), NOW).expect("a store");
    let push = |value: &[u8]| {
        let space = Space::database(0);
        let push = |tx: &mut Tx<'_>| lists::push(tx, space, b"list", lists::End::Back, &[value], Save::Now);
        supervisor.store().write(NOW, push).expect("pushed");
    };
    push(&[b'x'; 500]);
    assert_eq!(layout(&path), 1, "a list of long values lies as it always did");
    push(b"short");
    assert_eq!(layout(&path), 2);
    supervisor.store().backup(&file, NOW).expect("written");
    let restored = Supervisor::open(&other, &Options::default(), NOW).expect("a store");
    assert_eq!(layout(&other), 1);
    restored.restore(&file, NOW).expect("restored");
    assert_eq!(layout(&other), 2);
    let list = |view: &View<'_>| lists::range(view, Space::database(0), b"list", 1, 9);
    assert_eq!(restored.store().read(NOW, list).expect("read"), [b"short".to_vec()]);
    Store::open(&other).expect("this version reads it");
}

#[test]
fn truncated_and_scrambled_files_are_errors_not_signals() {
    for (name, damage) in [("data.mdb", 0), ("data.mdb", 4096), ("control", 100), ("control", 5000)] {
        let dir = tempfile::tempdir_in("/dev/shm").expect("a folder");
        let store = dir.path().join("s");
        drop(Supervisor::open(&store, &Options::default(), NOW).expect("a store"));
        let file = std::fs::OpenOptions::new().write(true).open(store.join(name)).expect("opened");
        file.set_len(damage).expect("cut");
        let error = Store::open(&store).expect_err("damaged");
        assert!(matches!(error, Error::Corrupt { .. } | Error::Foreign { .. }), "{name} {damage}: {error}");
    }
    let dir = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let store = dir.path().join("s");
    drop(Supervisor::open(&store, &Options::default(), NOW).expect("a store"));
    let file = std::fs::OpenOptions::new().write(true).open(store.join("data.mdb")).expect("opened");
    file.write_all_at(&[0xaa; 16384], 0).expect("scrambled");
    let error = Store::open(&store).expect_err("damaged");
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[test]
fn a_folder_that_others_may_enter_is_refused() {
    let dir = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let store = dir.path().join("s");
    drop(Supervisor::open(&store, &Options::default(), NOW).expect("a store"));
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o755)).expect("opened up");
    let error = Store::open(&store).expect_err("not closed");
    assert!(matches!(error, Error::NotOurs { found_mode: 0o755, .. }), "{error}");
}

#[test]
fn a_missing_store_is_named() {
    let error = Store::open(std::path::Path::new("/dev/shm/skep-is-not-here")).expect_err("missing");
    assert!(matches!(error, Error::NoStore { .. }), "{error}");
}

#[test]
fn the_files_are_closed_to_others_and_wholly_allocated() {
    use std::os::unix::fs::MetadataExt;
    let fixture = Fixture::new();
    for name in ["control", "data.mdb", "lock.mdb"] {
        let meta = std::fs::metadata(fixture.path().join(name)).expect("there");
        assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{name}");
        assert!(name == "lock.mdb" || meta.blocks() * 512 >= meta.len(), "{name} has holes");
    }
    let folder = std::fs::metadata(fixture.path()).expect("there");
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_backup_brings_back_maps_counters_boards_and_queues() {
    use skep_state::{PushOptions, SpaceKind, zsets};
    let fixture = Fixture::new();
    let store = fixture.supervisor.store();
    put(store, "k", b"v").expect("set");
    store.counter_add(b"times", 41, NOW).expect("counted");
    let board = store.space(SpaceKind::Board, b"score", NOW).expect("a board");
    store.write(NOW, |tx| zsets::set(tx, board, b"", b"ann", 5.0)).expect("set");
    let worker = fixture.worker(1);
    worker.push(b"mail", b"job", &PushOptions::default(), NOW).expect("pushed");
    let file = fixture.dir.path().join("backup");
    fixture.supervisor.backup(&file, NOW).expect("saved");

    let other = Fixture::new();
    other.supervisor.restore(&file, NOW).expect("loaded");
    let store = other.supervisor.store();
    let value = store.read(NOW, |v| Ok(strings::get(v, SPACE(), b"k")?.map(<[u8]>::to_vec)));
    assert_eq!(value.expect("read"), Some(b"v".to_vec()));
    assert_eq!(store.counter_add(b"times", 1, NOW).expect("counted"), 42);
    let board = store.space(SpaceKind::Board, b"score", NOW).expect("a board");
    assert_eq!(store.read(NOW, |v| zsets::score(v, board, b"", b"ann")).expect("read"), Some(5.0));
    assert_eq!(store.queues(NOW).expect("a list")[0].ready, 1);

    let mut bytes = std::fs::read(&file).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("damaged");
    let error = other.supervisor.restore(&file, NOW).expect_err("damaged");
    assert!(matches!(error, Error::BadBackup { .. }), "{error}");
}

#[test]
fn a_backup_that_numbers_names_differently_is_not_restored_under_running_workers() {
    use skep_state::SpaceKind;
    let fixture = Fixture::new();
    let store = fixture.supervisor.store();
    store.space(SpaceKind::Map, b"a", NOW).expect("a map");
    store.counter_add(b"times", 1, NOW).expect("counted");
    let file = fixture.dir.path().join("backup");
    fixture.supervisor.backup(&file, NOW).expect("saved");

    let worker = fixture.worker(1);
    fixture.supervisor.restore(&file, NOW).expect("the same names");
    worker.store().counter_add(b"later", 7, NOW).expect("counted");
    let error = fixture.supervisor.restore(&file, NOW).expect_err("a name that it does not know");
    assert!(matches!(error, Error::NamesInUse { .. }), "{error}");
    assert_eq!(store.counters(NOW).expect("a list").len(), 2, "nothing was changed");

    fixture.supervisor.worker_ended(worker.owner(), NOW).expect("released");
    fixture.supervisor.restore(&file, NOW).expect("nobody is there");
    assert_eq!(store.counter_add(b"another", 1, NOW).expect("counted"), 1, "no value of a name that is gone");
}
