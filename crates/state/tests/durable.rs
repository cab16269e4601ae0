//! Durable queues: what was acknowledged is there after a restart of the machine, which a test plays by taking the
//! control file of its boot away; and after SIGKILLs at any instant.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use skep_state::durable::{Answer, Call, Desk, Done, open};
use skep_state::{
    Client, Error, Event, Failure, Identity, JobPart, Options, Owner, Popped, PushOptions, Retry, Store,
    Supervisor, WallMs,
};

const NOW: WallMs = WallMs(1_700_000_000_000);
const QUEUE: &[u8] = b"mail";
/// Only a failure reaches it.
const LIMIT: Duration = Duration::from_secs(60);

struct Disk {
    dir: tempfile::TempDir,
    options: Options,
}

impl Disk {
    fn new() -> Self {
        let options = Options { data_bytes: 256 * 1024, data_bytes_max: 64 << 20, ..Options::default() };
        Self { dir: tempfile::tempdir().expect("a folder"), options }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("queues")
    }

    fn open(&self) -> Store {
        open(&self.path(), &self.options, NOW).expect("a store")
    }

    fn error(&self) -> Error {
        open(&self.path(), &self.options, NOW).expect_err("it must not open")
    }

    fn worker(&self, id: u32) -> Client {
        let identity = Identity::Worker(Owner { id, generation: 0 });
        Client::attach_to(self.open(), identity, NOW).expect("a place in the table")
    }

    fn desk(&self, id: u32) -> Desk {
        let identity = Identity::Worker(Owner { id, generation: 0 });
        Desk::open(&self.path(), identity, &self.options, NOW).expect("a store")
    }

    /// The machine restarts: what is on the disk at this moment is all that is left.
    fn reboot(&self) -> Self {
        let next = Self { options: self.options.clone(), ..Self::new() };
        std::fs::create_dir(next.path()).expect("a folder");
        std::fs::set_permissions(next.path(), std::fs::Permissions::from_mode(0o700)).expect("changed");
        std::fs::copy(self.path().join("data.mdb"), next.path().join("data.mdb")).expect("copied");
        next
    }

    /// The next one to open it finds the control file of another boot.
    fn forget_boot(&self) {
        for entry in std::fs::read_dir(self.path()).expect("a folder").flatten() {
            if entry.file_name().to_string_lossy().starts_with("control-") {
                std::fs::rename(entry.path(), self.path().join("control-of-another-boot")).expect("renamed");
            }
        }
    }
}

fn push(client: &Client, data: &[u8], options: &PushOptions) -> u64 {
    client.push(QUEUE, data, options, NOW).expect("pushed")
}

fn pop(client: &Client) -> Option<skep_state::Job> {
    match client.pop(QUEUE, 1, 30_000, NOW).expect("an answer") {
        Popped::Job(job) => Some(job),
        Popped::Empty { .. } => None,
    }
}

fn retries(retries: u32) -> PushOptions {
    PushOptions { retries, retry: Retry { after_ms: 1000, doubles: true }, ..PushOptions::default() }
}

#[test]
fn after_a_restart_of_the_machine_every_job_is_where_it_was_and_those_of_dead_workers_are_ready_again() {
    let disk = Disk::new();
    let worker = disk.worker(1);
    let held = push(&worker, b"held", &retries(3));
    assert_eq!(pop(&worker).expect("the first").id, held);
    let done = push(&worker, b"done", &retries(3));
    let job = pop(&worker).expect("the second");
    assert!(worker.job_done(QUEUE, job.id, job.attempt, NOW).expect("settled"));
    push(&worker, b"low", &PushOptions::default());
    push(&worker, b"high", &PushOptions { priority: 9, ..PushOptions::default() });
    push(&worker, b"late", &PushOptions { delay_ms: 60_000, ..PushOptions::default() });
    push(&worker, b"poor", &PushOptions { priority: 200, ..PushOptions::default() });
    let poor = pop(&worker).expect("it is first");
    let how = Failure { error: "no luck", policy: None };
    assert!(worker.job_failed(QUEUE, poor.id, poor.attempt, &how, NOW).expect("settled"));
    let disk = disk.reboot();

    let supervisor = Supervisor::open_durable(&disk.path(), &disk.options, NOW).expect("a store");
    let views = supervisor.store().queues(NOW).expect("read");
    assert_eq!([views[0].ready, views[0].delayed, views[0].active, views[0].dead], [3, 1, 0, 1]);
    let worker = disk.worker(1);
    let order: Vec<_> = std::iter::from_fn(|| pop(&worker)).collect();
    let order: Vec<_> = order.iter().map(|job| (job.data.as_slice(), job.attempt)).collect();
    assert_eq!(order, [(&b"high"[..], 1), (b"held", 2), (b"low", 1)]);
    let dead = supervisor.store().queue_peek(QUEUE, JobPart::Dead, 9, NOW).expect("read").expect("a queue");
    assert_eq!((dead[0].data.as_slice(), dead[0].error.as_deref()), (&b"poor"[..], Some("no luck")));
    let late =
        supervisor.store().queue_peek(QUEUE, JobPart::Delayed, 9, NOW).expect("read").expect("a queue");
    assert_eq!((late[0].data.as_slice(), late[0].at), (&b"late"[..], NOW.plus(60_000)));
    assert_ne!(push(&worker, b"new", &PushOptions::default()), done, "numbers are not given again");
}

#[test]
fn who_opens_it_again_in_the_same_boot_finds_those_who_ended_meanwhile() {
    let disk = Disk::new();
    let worker = disk.worker(7);
    push(&worker, b"job", &retries(1));
    pop(&worker).expect("it is there");
    let supervisor = Supervisor::open_durable(&disk.path(), &disk.options, NOW).expect("a store");
    assert_eq!(supervisor.not_among(&[worker.owner()]), []);
    assert_eq!(supervisor.not_among(&[]), [worker.owner()]);
    supervisor.worker_ended(worker.owner(), NOW).expect("given back");
    assert_eq!(pop(&disk.worker(8)).expect("it is ready again").attempt, 2);
}

#[test]
fn a_backup_has_durable_queues_and_tickets_stay_above_them_in_the_next_boot() {
    let (memory, disk) = (tempfile::tempdir_in("/dev/shm").expect("a folder"), Disk::new());
    let one = Supervisor::open(&memory.path().join("one"), &Options::default(), NOW).expect("a store");
    let worker = disk.worker(1);
    for _ in 0..20 {
        push(&worker, b"job", &PushOptions::default());
    }
    let file = disk.dir.path().join("backup");
    one.store().backup_with(worker.store(), &file, NOW).expect("saved");

    let other = Disk::new();
    let two = Supervisor::open(&memory.path().join("two"), &Options::default(), NOW).expect("a store");
    two.store().restore(&file, NOW).expect("loaded without durable queues");
    assert!(!other.path().exists());
    two.store().restore_with(&|| Ok(other.open()), &file, NOW).expect("loaded");
    let worker = other.reboot().worker(1);
    assert_eq!(worker.queue_view(QUEUE, NOW).expect("read").ready, 20);
    let old = worker.store().queue_peek(QUEUE, JobPart::Ready, 99, NOW).expect("read").expect("a queue");
    let new = push(&worker, b"new", &PushOptions::default());
    assert!(old.iter().all(|job| job.id < new), "{new} is given again");
}

#[test]
fn a_file_that_is_cut_short_or_foreign_and_a_folder_that_others_may_enter_are_refused() {
    let disk = Disk::new();
    let worker = disk.worker(1);
    for _ in 0..200 {
        push(&worker, &[7; 4000], &PushOptions::default());
    }
    let cut = disk.reboot();
    let whole = std::fs::read(cut.path().join("data.mdb")).expect("read");
    let refused = |bytes: &[u8]| {
        std::fs::write(cut.path().join("data.mdb"), bytes).expect("written");
        let error = cut.error();
        cut.forget_boot();
        error
    };
    for damaged in [&whole[..64 * 1024], &vec![b'x'; whole.len()]] {
        let error = refused(damaged);
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }
    std::fs::write(cut.path().join("data.mdb"), &whole).expect("written");
    let mode = |mode| {
        std::fs::set_permissions(cut.path(), std::fs::Permissions::from_mode(mode)).expect("changed");
    };
    mode(0o755);
    assert!(matches!(cut.error(), Error::NotOurs { .. }), "{}", cut.error());
    mode(0o700);
    assert_eq!(cut.worker(1).queue_view(QUEUE, NOW).expect("read").ready, 200, "nothing was changed");
}

#[test]
fn a_full_store_says_so_and_can_be_emptied() {
    let mut disk = Disk::new();
    disk.options.data_bytes_max = 512 * 1024;
    let worker = disk.worker(1);
    let full = loop {
        if let Err(error) = worker.push(QUEUE, &[1; 4000], &PushOptions::default(), NOW) {
            break error;
        }
    };
    assert!(matches!(full, Error::Full { .. }), "{full}");
    let before = worker.queue_view(QUEUE, NOW).expect("read").ready;
    assert_eq!(worker.store().queue_purge(QUEUE, JobPart::Ready, 10, NOW).expect("removed"), 10);
    worker.push(QUEUE, &[1; 4000], &PushOptions::default(), NOW).expect("there is room again");
    assert_eq!(worker.queue_view(QUEUE, NOW).expect("read").ready, before - 9);
}

// === The desk

/// Waits for what is done until `enough` says so.
fn wait(desk: &Desk, mut enough: impl FnMut(&[Done]) -> bool) -> Vec<Done> {
    let fifo = desk.wake_fd_clone().expect("a descriptor");
    let mut all = Vec::new();
    loop {
        all.extend(desk.poll());
        if enough(&all) {
            return all;
        }
        let limit = rustix::event::Timespec::try_from(LIMIT).expect("it fits");
        let ready = poll(&mut [PollFd::new(&fifo, PollFlags::IN)], Some(&limit)).expect("a FIFO");
        assert_eq!(ready, 1, "only {all:?}");
        let _ = rustix::io::read(&fifo, &mut [0; 64]);
    }
}

fn answers(done: Vec<Done>) -> Vec<(u32, Result<Answer, String>)> {
    let answered = done.into_iter().filter_map(|done| match done {
        Done::Answered { number, answer } => Some((number, answer.map_err(|error| error.to_string()))),
        Done::Told(_) => None,
    });
    answered.collect()
}

fn call_push(data: Vec<u8>) -> Call {
    Call::Push { queue: QUEUE.to_vec(), data, options: PushOptions::default() }
}

#[test]
fn calls_are_answered_in_order_and_one_that_fails_harms_no_other() {
    let mut disk = Disk::new();
    disk.options.value_bytes_max = 1000;
    let desk = disk.desk(1);
    for number in 0..300 {
        let bytes = if number % 50 == 7 { 1001 } else { 10 };
        desk.call(number, call_push(vec![1; bytes]), NOW).expect("in line");
    }
    desk.call(300, Call::Counts { queue: QUEUE.to_vec() }, NOW).expect("in line");
    let done = answers(wait(&desk, |done| done.len() == 301));
    assert!(done.iter().enumerate().all(|(place, (number, _))| place == *number as usize));
    let refused =
        done.iter().filter(|(_, answer)| answer.as_ref().is_err_and(|error| error.contains("1001")));
    assert_eq!(refused.count(), 6);
    let Ok(Answer::Counts(view)) = &done[300].1 else { panic!("{:?}", done[300]) };
    assert_eq!(view.ready, 294);
}

#[test]
fn a_consumer_that_waits_is_told_by_itself_and_by_others() {
    let disk = Disk::new();
    let (desk, other) = (disk.desk(1), disk.desk(2));
    let told =
        |done: &[Done]| done.iter().any(|done| matches!(done, Done::Told(Event::QueueReady { request: 9 })));
    let ask = || desk.call(1, Call::Pop { queue: QUEUE.to_vec(), request: 9, visibility_ms: 1000 }, NOW);
    for who in [&desk, &other] {
        ask().expect("in line");
        let empty = answers(wait(&desk, |done| !done.is_empty()));
        assert_eq!(empty, [(1, Ok(Answer::Popped(Popped::Empty { due: None })))]);
        who.call(2, call_push(vec![1]), NOW).expect("in line");
        wait(&desk, told);
        ask().expect("in line");
        let got = answers(wait(&desk, |done| {
            let popped = |done: &Done| matches!(done, Done::Answered { number: 1, .. });
            done.iter().any(popped)
        }));
        let Some((_, Ok(Answer::Popped(Popped::Job(job))))) = got.last() else { panic!("{got:?}") };
        desk.call(3, Call::Done { queue: QUEUE.to_vec(), job: job.id, attempt: job.attempt }, NOW)
            .expect("in line");
        assert_eq!(answers(wait(&desk, |done| !done.is_empty())), [(3, Ok(Answer::Settled(true)))]);
        wait(&other, |_| true);
    }
}

#[test]
fn more_than_a_disk_can_write_is_refused_and_what_was_taken_is_written() {
    let disk = Disk::new();
    let desk = disk.desk(1);
    let mut taken = 0;
    let refused = loop {
        match desk.call(taken, call_push(vec![0; 100_000]), NOW) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        // 64 MiB is all that there is: the rest is refused by the store.
        assert!(taken < 10_000, "it takes all");
    };
    assert!(matches!(refused, Error::Behind { .. }), "{refused}");
    assert_eq!(wait(&desk, |done| done.len() == taken as usize).len(), taken as usize);
}

// === SIGKILL

/// In the child's environment: the store. It then pushes, works and writes down what was acknowledged.
const ENV_CHILD: &str = "SKEP_TEST_DURABLE_CHILD";
/// `SKEP_TEST_KILLS=1000` for a soak.
const KILLS: u64 = 40;

#[test]
fn no_acknowledged_push_is_lost_and_nothing_done_comes_again_however_often_workers_are_killed() {
    if let Some(dir) = std::env::var_os(ENV_CHILD) {
        return child(Path::new(&dir));
    }
    let kills = std::env::var("SKEP_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let disk = Disk::new();
    let mut pushed = BTreeSet::new();
    let mut done = BTreeSet::new();
    let mut dice = 0x9e37_79b9_u64;
    for round in 0..kills {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let lines = lines_until_killed(&disk.path(), dice >> 60);
        for line in &lines {
            let (what, number) = line.split_once(' ').expect("a word and a number");
            let number: u64 = number.parse().expect("a number");
            assert!(
                if what == "pushed" { pushed.insert(number) } else { done.insert(number) },
                "{line} twice"
            );
        }
        if round % 4 == 3 {
            disk.forget_boot();
        }
    }
    disk.forget_boot();
    let left =
        disk.open().queue_peek(QUEUE, JobPart::Ready, usize::MAX, NOW).expect("read").expect("a queue");
    let left: BTreeSet<u64> = left.iter().map(|job| job.id).collect();
    let lost: Vec<_> = pushed.difference(&done).filter(|job| !left.contains(job)).collect();
    // One a kill may be done and not written down.
    assert!(lost.len() as u64 <= kills, "{lost:?}");
    let again: Vec<_> = left.intersection(&done).collect();
    assert!(again.is_empty(), "{again:?} were done");
    let settled = disk.path().join("settled");
    let settled = std::fs::read_to_string(settled).unwrap_or_default();
    let settled: BTreeSet<u64> = settled.lines().filter_map(|line| line.parse().ok()).collect();
    let lost: Vec<_> = lost.into_iter().filter(|job| !settled.contains(job)).collect();
    assert!(lost.is_empty(), "{lost:?} were acknowledged and are gone ({} pushed)", pushed.len());
}

/// What a child wrote down before it was killed.
fn lines_until_killed(dir: &Path, after: u64) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "--nocapture"])
        .arg("no_acknowledged_push_is_lost_and_nothing_done_comes_again_however_often_workers_are_killed")
        .env(ENV_CHILD, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut seen: Vec<String> =
        lines.by_ref().take(1 + usize::try_from(after).expect("small")).flatten().collect();
    child.kill().expect("killed");
    child.wait().expect("ended");
    seen.extend(lines.map_while(Result::ok));
    seen
}

/// Pushes two and works off one, for ever. Before it settles a job it says so in a file, so that a job whose settlement
/// was cut off before it could be told is known.
fn child(dir: &Path) {
    let desk = Desk::open(dir, Identity::Unnumbered, &Options::default(), NOW).expect("a store");
    let mut settled =
        std::fs::File::options().append(true).create(true).open(dir.join("settled")).expect("a file");
    let mut err = std::io::stderr().lock();
    loop {
        for (number, bytes) in [(1, 100), (2, 5000)] {
            let options = PushOptions { retries: 1_000_000, ..PushOptions::default() };
            let push = Call::Push { queue: QUEUE.to_vec(), data: vec![1; bytes], options };
            desk.call(number, push, NOW).expect("in line");
        }
        desk.call(3, Call::Pop { queue: QUEUE.to_vec(), request: 1, visibility_ms: 1000 }, NOW)
            .expect("in line");
        let done = answers(wait(&desk, |done| done.len() >= 3));
        let mut mine = None;
        for (_, answer) in done {
            match answer.expect("done") {
                Answer::Job(job) => writeln!(err, "pushed {job}").expect("written"),
                Answer::Popped(Popped::Job(job)) => mine = Some(job),
                _ => {}
            }
        }
        let Some(job) = mine else { continue };
        writeln!(settled, "{}", job.id).expect("written");
        desk.call(4, Call::Done { queue: QUEUE.to_vec(), job: job.id, attempt: job.attempt }, NOW)
            .expect("in line");
        let done = answers(wait(&desk, |done| !done.is_empty()));
        if done.iter().any(|(_, answer)| *answer == Ok(Answer::Settled(true))) {
            writeln!(err, "done {}", job.id).expect("written");
        }
    }
}
