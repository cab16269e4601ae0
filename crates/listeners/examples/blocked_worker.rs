//! The experiment of docs/decisions/0002-stealing.md with real sockets: four workers, one of which is blocked for
//! 300 ms about half of the time, eight clients on short connections. Prints one row a mode.
//!
//! `cargo run --release -p skep-listeners --example blocked_worker [SECONDS] [THINK_MS]`

#![expect(clippy::disallowed_methods, reason = "an experiment measures time and lets it pass")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use skep_core::{Now, SlotId};
use skep_listeners::{Address, Balance, Group, GroupKey, Host, Options, Transfer, Watcher};
use skep_sys::fdpass::{Receive, receive, send};
use skep_sys::net::{Accepted, accept};

const WORKERS: u32 = 4;
const CLIENTS: usize = 8;
const SERVICE: Duration = Duration::from_micros(200);
const BLOCK: Duration = Duration::from_millis(300);

/// Reads one byte, works (`b`: blocks), answers one byte.
fn serve(connection: OwnedFd) {
    let mut stream = TcpStream::from(connection);
    let _ = stream.set_nonblocking(false);
    let mut byte = [0];
    if stream.read_exact(&mut byte).is_err() {
        return;
    }
    if byte == *b"b" {
        std::thread::sleep(BLOCK);
    } else {
        let until = Instant::now() + SERVICE;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }
    let _ = stream.write_all(b"a");
}

fn worker(listener: &OwnedFd, channel: &UnixStream) {
    loop {
        let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(channel, PollFlags::IN)];
        poll(&mut fds, None).expect("poll");
        let [mine, given] = [fds[0].revents(), fds[1].revents()].map(|ready| !ready.is_empty());
        if given {
            let Ok(got) = receive(channel, &mut [0], Receive::Take) else { continue };
            if got.bytes == 0 {
                return;
            }
            let _ = send(channel, b"a", &[]);
            got.descriptors.into_iter().for_each(serve);
        } else if mine && let Ok(Accepted::Connection(connection)) = accept(listener.as_fd()) {
            serve(connection);
        }
    }
}

/// One request on its own connection.
fn request(to: SocketAddr, what: u8) -> Duration {
    let start = Instant::now();
    let mut stream = TcpStream::connect(to).expect("listening");
    stream.write_all(&[what]).expect("written");
    stream.read_exact(&mut [0]).expect("answered");
    start.elapsed()
}

/// Patrols until the clients are done. Returns wake-ups, connections moved.
fn daemon(group: &mut Group, channels: &[UnixStream], done: &UnixStream) -> (u64, u64) {
    let watcher = Watcher::new().expect("descriptors");
    group.watch(&watcher, GroupKey(0)).expect("watched");
    let mut pending = vec![0u32; channels.len()];
    let (mut wakes, mut moved) = (0, 0);
    loop {
        let mut fds = vec![PollFd::new(&watcher, PollFlags::IN), PollFd::new(done, PollFlags::IN)];
        fds.extend(channels.iter().map(|channel| PollFd::new(channel, PollFlags::IN)));
        poll(&mut fds, None).expect("poll");
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready[1] {
            return (wakes, moved);
        }
        for (at, mut channel) in channels.iter().enumerate().filter(|(at, _)| ready[2 + at]) {
            pending[at] -= channel.read(&mut [0; 64]).expect("acknowledgements") as u32;
            group.set_pending(SlotId(at as u32), pending[at]);
        }
        if !ready[0] {
            continue;
        }
        wakes += 1;
        watcher.fired().expect("events");
        let round = group.patrol(Now(skep_sys::clock::boottime_ns()));
        for m in round.moves {
            let at = m.to.0 as usize;
            let Some(connection) = m.connection.take().expect("accept") else { continue };
            send(&channels[at], b"c", &[connection.as_fd()]).expect("handed over");
            pending[at] += 1;
            group.set_pending(m.to, pending[at]);
            moved += 1;
        }
        watcher.set_alarm(round.again).expect("set");
    }
}

fn run(name: &str, balance: Balance, watched: bool, time: Duration, think: Duration) {
    let address = Address::Tcp { host: Host::Ip(Ipv4Addr::LOCALHOST.into()), port: 0, v6only: false };
    let options = Options { balance, backlog: 0, transfer: Transfer::Connections };
    let mut group = Group::open(&address, &options).expect("a free port");
    let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), group.address().port().expect("a port"));
    let (mut channels, mut workers) = (Vec::new(), Vec::new());
    for slot in (0..WORKERS).map(SlotId) {
        let listener = group.socket(slot).expect("a socket").try_clone_to_owned().expect("dup");
        group.set_live(slot, true);
        let (ours, theirs) = UnixStream::pair().expect("pair");
        channels.push(ours);
        workers.push(std::thread::spawn(move || worker(&listener, &theirs)));
    }
    let stop = AtomicBool::new(false);
    let (end, done) = UnixStream::pair().expect("pair");
    let (mut latencies, wakes, moved) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut latencies = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        latencies.push(request(to, b'r'));
                        std::thread::sleep(think);
                    }
                    latencies
                })
            })
            .collect();
        let blocker = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                request(to, b'b');
                std::thread::sleep(BLOCK);
            }
        });
        let closer = scope.spawn(|| {
            std::thread::sleep(time);
            stop.store(true, Ordering::Relaxed);
            let latencies: Vec<Duration> =
                clients.into_iter().flat_map(|client| client.join().expect("client")).collect();
            blocker.join().expect("blocker");
            drop(end); // ends the patrols
            latencies
        });
        let (wakes, moved) = if watched { daemon(&mut group, &channels, &done) } else { (0, 0) };
        (closer.join().expect("clients"), wakes, moved)
    });
    for channel in &channels {
        channel.shutdown(std::net::Shutdown::Write).expect("open");
    }
    drop(workers);
    latencies.sort_unstable();
    let at = |part: f64| latencies[((latencies.len() as f64 * part) as usize).min(latencies.len() - 1)];
    let ms = |part| at(part).as_secs_f64() * 1e3;
    println!(
        "{name:<28} {:<14} {:>7} ok  p50 {:>6.2}  p99 {:>7.2}  p99.9 {:>7.2}  max {:>7.2} ms  {:>4} wake-ups/s  {:>5} moved",
        group.selection().selector.to_string(),
        latencies.len(),
        ms(0.5),
        ms(0.99),
        ms(0.999),
        ms(1.0),
        wakes / time.as_secs().max(1),
        moved,
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<u64>().expect("a number"));
    let time = Duration::from_secs(arguments.next().unwrap_or(6));
    let think = Duration::from_millis(arguments.next().unwrap_or(5));
    println!("{WORKERS} workers, {CLIENTS} clients thinking {think:?}, {time:?} a row");
    run("shared, no patrol", Balance::Shared, false, time, think);
    run("random, no patrol", Balance::Random, false, time, think);
    run("round robin, no patrol", Balance::Rr, false, time, think);
    run("shortest queue, no patrol", Balance::Auto, false, time, think);
    run("random, patrolled", Balance::Random, true, time, think);
    run("round robin, patrolled", Balance::Rr, true, time, think);
    run("shortest queue, patrolled", Balance::Auto, true, time, think);
}
