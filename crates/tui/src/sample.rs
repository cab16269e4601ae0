//! A fleet for tests.

use serde_json::json;
use skep_api::{AppView, DaemonView, JobView, LogLine, SlotView, Stream};

use crate::event::Seen;

/// When tests look.
pub(crate) const NOW: u64 = 1_700_000_000_000;

fn slot(id: u32, index: u32, status: &str) -> SlotView {
    let runs = status == "online";
    let vitals = json!({
        "reply_ms": 0.4, "event_loop_delay_ms": 0.2, "event_loop_delay_p99_ms": 1.25 * f64::from(id + 1),
        "event_loop_delay_max_ms": 9.0, "event_loop_utilization": 0.125,
        "heap_used_bytes": 12_582_912, "heap_total_bytes": 25_165_824,
        "http_requests": 1_200, "http_errors": 3, "http_requests_per_second": 250.4,
        "http_error_share": 0.0, "http_latency_ms": 2.5,
    });
    serde_json::from_value(json!({
        "id": id, "index": index, "status": status, "restarts": id, "unstable_restarts": 0,
        "pid": runs.then_some(4_200 + id), "worker": runs.then_some(id + 1),
        "uptime_ms": runs.then_some(125_000), "memory_bytes": runs.then_some(47_500_000),
        "cpu_percent": runs.then_some(1.25), "vitals": runs.then_some(vitals),
    }))
    .expect("a slot")
}

fn app(name: &str, slots: Vec<SlotView>) -> AppView {
    let mut app: AppView = serde_json::from_value(json!({
        "id": 1, "name": name, "namespace": "default", "status": "online", "instances": slots.len(),
        "instances_wanted": slots.len(), "argv": ["node", "/srv/app.js"], "script": "/srv/app.js", "cwd": "/srv",
        "runtime": "node", "runtime_reason": "it is a Node.js script", "created_unix_ms": 0, "slots": [],
        "listeners": [{
            "address": "0.0.0.0:8080", "balance": "auto", "selection": "ebpf-rr", "reason": "BPF is allowed",
            "queues": [{ "slot": 0, "waiting": 3, "limit": 511 }],
        }],
    }))
    .expect("an app");
    app.slots = slots;
    app
}

fn job(name: &str, state: &str, next_in_ms: Option<i64>, last: Option<(&str, i64)>) -> JobView {
    let now = NOW as i64;
    let last = last.map(|(status, ago)| {
        json!({
            "id": "x", "scheduled_unix_ms": now - ago, "attempt": 1, "status": status, "why": null, "manual": false,
            "token": 1, "worker": null, "started_unix_ms": now - ago, "ended_unix_ms": now - ago, "took_ms": 1_500,
            "result": null, "count": 1, "since_unix_ms": null, "output_file": null,
        })
    });
    serde_json::from_value(json!({
        "id": format!("shop/{name}"), "app": "shop", "name": name, "state": state, "schedule": "0 3 * * *",
        "timezone": null, "kind": "command", "next_unix_ms": next_in_ms.map(|ms| now + ms), "running": 0, "waiting": 0,
        "last": last, "started": 5, "succeeded": 4, "failed": 1, "lost": 0, "cancelled": 0, "skipped": 0,
        "busy_ms": 5_000, "late_ms": 3, "late_most_ms": 2,
    }))
    .expect("a job")
}

/// One look: an app of two workers, of which the first has metrics and actions; one that is waiting; one that gave up.
pub(crate) fn seen() -> Seen {
    let mut first = slot(0, 0, "online");
    first.actions = vec!["db:clean".into(), "hello".into()];
    first.metrics = json!({ "Realtime Users": { "value": 12, "unit": "users" }, "load": 0.5 })
        .as_object()
        .cloned()
        .expect("an object");
    let daemon: DaemonView = serde_json::from_value(json!({
        "pid": 99, "keeper_pid": 98, "version": "0.1.0", "home": "/home/me/.skep", "uptime_ms": 7_200_000,
        "apps": 3, "workers": 2,
    }))
    .expect("a daemon");
    Seen {
        unix_ms: NOW,
        apps: vec![
            app("shop", vec![first, slot(1, 1, "online")]),
            app("mailer", vec![slot(2, 0, "waiting restart")]),
            app("old", vec![slot(3, 0, "errored")]),
        ],
        jobs: vec![
            job("report", "waiting", Some(3_600_000), Some(("succeeded", 60_000))),
            job("backup", "paused", None, Some(("failed", 7_200_000))),
            job("never", "stopped", None, None),
        ],
        daemon,
    }
}

/// A line of log of slot 0.
pub(crate) fn line(text: &str, stream: Stream) -> LogLine {
    LogLine {
        app: "shop".into(),
        slot: Some(0),
        worker: Some(1),
        stream,
        time_unix_ms: Some(NOW),
        text: Some(text.into()),
        base64: None,
    }
}
