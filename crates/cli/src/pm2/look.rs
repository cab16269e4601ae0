//! Commands that print something for scripts.

use super::Front;
use super::act::all;
use super::list::{processes, word};
use super::say::Trouble;
use super::select::ids;
use super::talk::operand;
use crate::verbs::inspect::inspect;
use serde_json::Value;

pub(super) async fn jlist(front: &Front) -> Result<(), Trouble> {
    let all = every(front).await?;
    front.say.always(&Value::Array(all).to_string());
    Ok(())
}

pub(super) async fn prettylist(front: &Front) -> Result<(), Trouble> {
    let all = every(front).await?;
    front.say.always(&inspect(&Value::Array(all)));
    Ok(())
}

async fn every(front: &Front) -> Result<Vec<Value>, Trouble> {
    let mut client = front.context.connect_or_start().await?;
    processes(&mut client).await
}

/// `env <id>`: the environment of one process.
pub(super) async fn env(front: &Front) -> Result<(), Trouble> {
    let id = operand(front, 0, "env <id>")?;
    let number = id.parse::<u64>().ok();
    let all = every(front).await?;
    let Some(process) = all.iter().find(|process| number.is_some() && process["pm_id"].as_u64() == number)
    else {
        return Err(Trouble::Error(format!("Modules with id {id} not found")));
    };
    let fields = process["pm2_env"].as_object().into_iter().flatten();
    for (name, value) in
        fields.filter(|(_, value)| !value.is_object() && !value.is_array() && !value.is_null())
    {
        front.say.line(&format!("{name}: {}", word(value)));
    }
    Ok(())
}

pub(super) async fn id(front: &Front) -> Result<(), Trouble> {
    let name = operand(front, 0, "id <name>")?;
    let mut client = front.context.connect_or_start().await?;
    let apps = all(&mut client).await?;
    let found = apps.iter().filter(|app| app.name == name).flat_map(|app| &app.slots).map(|slot| slot.id);
    front.say.line(&ids(found));
    Ok(())
}

/// `pid [app]`: 0 for those that do not run, an empty line when there is nothing.
pub(super) async fn pid(front: &Front) -> Result<(), Trouble> {
    let mut client = front.context.connect_or_start().await?;
    let apps = all(&mut client).await?;
    // As in PM2 neither namespaces nor ids count: a script may send a signal to what is printed here.
    let meant = apps.iter().filter(|app| front.line.operand(0).is_none_or(|name| app.name == name));
    let slots = meant.flat_map(|app| &app.slots);
    let pids: Vec<String> = slots.map(|slot| slot.pid.unwrap_or_default().to_string()).collect();
    front.say.line(&pids.join("\n"));
    Ok(())
}

pub(super) async fn ping(front: &Front) -> Result<(), Trouble> {
    front.context.connect_or_start().await?.daemon().await?;
    front.say.line("{ msg: 'pong' }");
    Ok(())
}

/// `slist`: this machine in numbers.
pub(super) fn sysinfos(front: &Front) -> Result<(), Trouble> {
    front.say.always(&format!("{}\n", machine()));
    Ok(())
}

/// What the kernel says of the machine.
pub(crate) fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory = read("/proc/meminfo");
    let of = |name: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        number.unwrap_or_default() * 1024
    };
    let load: Vec<f64> =
        read("/proc/loadavg").split(' ').take(3).filter_map(|word| word.parse().ok()).collect();
    let uptime = read("/proc/uptime").split(' ').next().and_then(|word| word.parse::<f64>().ok());
    serde_json::json!({
        "hostname": read("/proc/sys/kernel/hostname").trim(),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "cpus": skep_sys::cpus::available(),
        "load_average": load,
        "memory_total_bytes": of("MemTotal"),
        "memory_available_bytes": of("MemAvailable"),
        "uptime_seconds": uptime,
    })
}

/// `report`: what a bug report needs.
pub(super) async fn report(front: &Front) -> Result<(), Trouble> {
    let mut client = front.context.connect_or_start().await?;
    let daemon = client.daemon().await?;
    let host = machine();
    let line = || front.say.line(&"-".repeat(80));
    front.say.line("--- PM2 report (skep) ---");
    line();
    front.say.line(&format!("skep                 : {}", daemon.version));
    front.say.line(&format!("speaks PM2           : {}", super::PM2_VERSION));
    front.say.line(&format!("daemon               : {}", daemon.pid));
    front.say.line(&format!("keeper               : {}", daemon.keeper_pid));
    front.say.line(&format!("home                 : {}", daemon.home));
    front.say.line(&format!("uptime               : {}", crate::human::uptime(daemon.uptime_ms)));
    front.say.line(&format!("apps / workers       : {} / {}", daemon.apps, daemon.workers));
    for note in &daemon.degraded {
        front.say.line(&format!("note                 : {note}"));
    }
    line();
    for (name, value) in host.as_object().into_iter().flatten() {
        front.say.line(&format!("{name:<21}: {}", word(value)));
    }
    line();
    super::list::show(front).await
}
