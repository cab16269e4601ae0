//! `state locks`, `queues` and `stats`.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use skep_api::client::Client;
use skep_api::{Route, StateHolder, StateLock, StateQueue, StateStats};

use crate::failure::Failure;
use crate::human;
use crate::session::Context;
use crate::table::{Cell, Column, draw};

/// `12:34:56`, in local time; with the date when it is another day's.
pub(crate) fn time(unix_ms: u64) -> String {
    let zone = TimeZone::system();
    let at = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let Some(at) = at.map(|at| at.to_zoned_datetime(zone.clone())) else { return unix_ms.to_string() };
    let today = Timestamp::now().to_zoned_datetime(zone).strftime("%Y-%m-%d").to_string();
    let time = at.strftime("%H:%M:%S").to_string();
    let day = at.strftime("%Y-%m-%d").to_string();
    if day == today { time } else { format!("{day} {time}") }
}

const LOCK_COLUMNS: &[Column] = &[
    Column { title: "lock", rank: 0, right: false },
    Column { title: "state", rank: 0, right: false },
    Column { title: "worker", rank: 0, right: false },
    Column { title: "pid", rank: 1, right: true },
    Column { title: "since", rank: 0, right: false },
    Column { title: "mode", rank: 2, right: false },
    Column { title: "token", rank: 3, right: true },
];

/// Who holds which lock, who waits for it, and since when.
pub(super) async fn locks(client: &mut Client, context: &Context) -> Result<(), Failure> {
    let locks: Vec<StateLock> = client.read(Route::StateLocks, "", &()).await?;
    if context.output.json {
        return context.output.print_json(&locks);
    }
    if locks.is_empty() {
        context.output.say("no lock is held");
        return Ok(());
    }
    let row = |lock: &StateLock, state: &str, who: &StateHolder| -> Vec<Cell> {
        let worker = who.app.clone().unwrap_or_else(|| format!("worker {}", who.worker));
        let mode = if who.shared { "shared" } else { "exclusive" };
        let since = time(who.since_unix_ms);
        vec![
            lock.name.as_str().into(),
            state.into(),
            worker.into(),
            who.pid.into(),
            since.into(),
            mode.into(),
            who.token.into(),
        ]
    };
    let mut rows = Vec::new();
    for lock in &locks {
        rows.extend(lock.held.iter().map(|who| row(lock, "held", who)));
        rows.extend(lock.waiting.iter().map(|who| row(lock, "waits", who)));
    }
    context.output.print(&draw(LOCK_COLUMNS, &rows, context.output.width, context.output.color))
}

const QUEUE_COLUMNS: &[Column] = &[
    Column { title: "queue", rank: 0, right: false },
    Column { title: "ready", rank: 0, right: true },
    Column { title: "delayed", rank: 0, right: true },
    Column { title: "active", rank: 0, right: true },
    Column { title: "dead", rank: 0, right: true },
    Column { title: "state", rank: 0, right: false },
];

/// Queues, and how many jobs are in them.
pub(crate) async fn queues(client: &mut Client, context: &Context) -> Result<(), Failure> {
    let queues: Vec<StateQueue> = client.read(Route::StateQueues, "", &()).await?;
    if context.output.json {
        return context.output.print_json(&queues);
    }
    if queues.is_empty() {
        context.output.say("there is no queue: the first push of queue() in the package skep makes one");
        return Ok(());
    }
    let row = |queue: &StateQueue| -> Vec<Cell> {
        let numbers = [queue.ready, queue.delayed, queue.active, queue.dead];
        let state = [(queue.durable, "durable"), (queue.paused, "paused")];
        let state: Vec<&str> = state.into_iter().filter_map(|(is, word)| is.then_some(word)).collect();
        let state = Some(state.join(", ")).filter(|state| !state.is_empty());
        let name = std::iter::once(queue.name.as_str().into());
        name.chain(numbers.map(|n| Some(n).into())).chain([state.into()]).collect()
    };
    let rows: Vec<Vec<Cell>> = queues.iter().map(row).collect();
    context.output.print(&draw(QUEUE_COLUMNS, &rows, context.output.width, context.output.color))
}

/// Figures.
pub(super) async fn stats(client: &mut Client, context: &Context) -> Result<(), Failure> {
    let stats: StateStats = client.read(Route::StateStats, "", &()).await?;
    if context.output.json {
        return context.output.print_json(&stats);
    }
    let size = size(&stats);
    let waits = format!(
        "{} in all, {} us added up, {} us the longest",
        stats.waits, stats.wait_us, stats.wait_us_max
    );
    let deaths = format!("{} writers killed in the middle; nothing was lost by it", stats.owner_deaths);
    let fields = [
        ("in", stats.dir.clone()),
        ("size", size),
        ("rows", stats.rows.to_string()),
        ("counters", stats.counters.to_string()),
        ("attached", format!("{} (workers and their threads)", stats.attached)),
        ("writes", stats.writes.to_string()),
        ("waits", waits),
        ("deaths", deaths),
        ("growths", stats.growths.to_string()),
        ("grants", format!("{} locks", stats.grants)),
        ("messages", format!("{}, {} wake-ups", stats.messages, stats.wakes)),
    ];
    let mut text: String = fields.iter().map(|(title, value)| format!("{title:<10}{value}\n")).collect();
    if let Some(durable) = &stats.durable {
        let fields = [
            ("in", durable.dir.clone()),
            ("size", self::size(durable)),
            ("rows", durable.rows.to_string()),
            ("attached", durable.attached.to_string()),
            ("writes", format!("{}, each flushed to the disk", durable.writes)),
        ];
        text += "\ndurable queues\n";
        text.extend(fields.iter().map(|(title, value)| format!("{title:<10}{value}\n")));
    }
    context.output.print(&text)
}

fn size(stats: &StateStats) -> String {
    format!(
        "{} used of {}, {} at most",
        human::memory(stats.used_bytes),
        human::memory(stats.data_bytes),
        human::memory(stats.data_bytes_max)
    )
}
