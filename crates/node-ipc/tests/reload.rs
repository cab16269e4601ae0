//! The preload: an old worker hands over to a new one under load, and no client notices.

mod primary;

use std::path::Path;
use std::sync::atomic::Ordering;

use primary::channel::{fixture, nodes};
use primary::client::{Connection, Load, Manner, Score};
use primary::{Balance, Primary};
use skep_node_ipc::skep::DrainMode;

/// Enough hand-overs to meet every state of a connection; each takes as long as a Node needs to start.
const RELOADS: usize = 6;

fn with_preload(node: &Path) -> Primary {
    let mut primary = Primary::new(node.to_path_buf());
    primary.preload = true;
    primary
}

/// Starts a successor in every mode, lets the old worker go and waits for its end.
fn reload(primary: &mut Primary, old: u32, app: &[&str], mode: DrainMode) -> u32 {
    let new = primary.spawn(app);
    primary.until_told(new, "listening");
    primary.successor = Some(new);
    assert!(primary.worker(old).session.drain(mode, 200), "the preload has said hello");
    assert!(primary.until_gone(old).success(), "an old worker ends by itself");
    new
}

/// Two workers, `RELOADS` reloads under `clients`.
fn reload_under_load(
    primary: &mut Primary,
    app: &[&str],
    mode: DrainMode,
    clients: &[(Manner, &'static str)],
) -> std::sync::Arc<Score> {
    let mut workers = [primary.spawn(app), primary.spawn(app)];
    for worker in workers {
        primary.until_told(worker, "listening");
    }
    let load = Load::start(primary.port(), clients);
    for round in 0..RELOADS {
        let enough = load.answered() + 50;
        primary.run_until("the clients", |_| load.answered() >= enough);
        let slot = round % workers.len();
        workers[slot] = reload(primary, workers[slot], app, mode);
    }
    let enough = load.answered() + 50;
    primary.run_until("the clients", |_| load.answered() >= enough);
    let stopping = std::thread::spawn(move || load.stop());
    primary.run_until_thread(&stopping);
    stopping.join().expect("no panic")
}

fn assert_unnoticed(score: &Score, primary: &Primary, what: &str) {
    eprintln!("{what}: {score:?}, {} handed over", primary.handovers);
    assert_eq!(score.failed.load(Ordering::Relaxed), 0, "{what}: {score:?}");
    assert_eq!(score.reconnects.load(Ordering::Relaxed), 0, "{what}: {score:?}");
    assert!(primary.handovers > 0, "{what}: connections migrated");
}

const PLAIN: &[(Manner, &str)] = &[
    (Manner::KeepAlive, "/"),
    (Manner::KeepAlive, "/?after=0"),
    (Manner::KeepAlive, "/?after=7"),
    (Manner::KeepAlive, "/?after=30"),
    (Manner::KeepAlive, "/big"),
    (Manner::Short, "/"),
    (Manner::Short, "/?after=5"),
    (Manner::Pipelined(4), "/"),
    (Manner::Pipelined(5), "/?after=3"),
    (Manner::Upload, "/"),
];

#[test]
fn plain_http_connections_of_every_kind_migrate_unnoticed() {
    for node in nodes() {
        for balance in [Balance::Shared, Balance::Ipc] {
            let mut primary = with_preload(&node);
            primary.balance = balance;
            let app = fixture("app.cjs");
            let score = reload_under_load(&mut primary, &[&app, "http"], DrainMode::Migrate, PLAIN);
            assert_unnoticed(&score, &primary, &format!("{} {balance:?}", node.display()));
        }
    }
}
