//! A million requests across reloads, scales, upgrades and SIGKILLs of workers, daemon and keeper, one after another: what the
//! other figures of `drops` show in small. Only what was inside a SIGKILLed worker may be lost, and it is known what that was.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use skep_tests::strict::{self, Mode, Plan, Running as Load, Think};
use skep_tests::{Deadline, Port, Skep, Start, fixture, process};

use crate::subject::usual;

/// Between two events so many answers on every load.
const ANSWERS: u64 = 10;
/// A load that gets no answer for so long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

type Act = fn(&Skep, &mut BTreeSet<u16>) -> Result<()>;

/// What happens, in turn.
const EVENTS: [(&str, Act); 9] = [
    ("reloads", |skep, _| command(skep, &["reload", "bench"])),
    ("daemon SIGKILLed", |skep, _| {
        kill_daemon(skep);
        Ok(())
    }),
    ("scales up", |skep, _| command(skep, &["scale", "bench", "4"])),
    ("workers SIGKILLed", kill_worker),
    ("reloads with the daemon SIGKILLed in the middle", |skep, _| {
        let mut reload = skep
            .command(["reload", "bench"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("skep runs")?;
        kill_daemon(skep);
        if !reload.wait()?.success() {
            bail!("a reload failed because the daemon was killed");
        }
        Ok(())
    }),
    ("scales down", |skep, _| command(skep, &["scale", "bench", "2"])),
    ("keeper SIGKILLed", |skep, _| {
        let old = skep.daemon().keeper_pid;
        process::kill(old);
        Deadline::until("the next keeper is there", || (skep.try_daemon()?.keeper_pid != old).then_some(()));
        Ok(())
    }),
    ("restarts", |skep, _| command(skep, &["restart", "bench"])),
    ("upgrades", |skep, _| command(skep, &["upgrade"])),
];

/// Until so many requests were answered; an error if one was lost that was in no SIGKILLed worker.
pub(crate) fn run(requests: u64) -> Result<()> {
    let (skep, port) = (Skep::with_node(&usual()), Port::free());
    let start = Start::program("bench", fixture("http.cjs")).port(port.number()).instances(2);
    skep.start(&start.flags(["--kill-timeout", "30s"]));
    let plan = |mode, clients| Plan::get(port.address(), mode, clients);
    let loads = [
        ("keep-alive, at full speed", plan(Mode::KeepAlive(Think::NONE), 4)),
        ("keep-alive, thinking", plan(Mode::KeepAlive(Think::up_to_ms(5)), 16)),
        ("short", plan(Mode::Short(Think::up_to_ms(2)), 4)),
        ("pipelined", plan(Mode::Pipelined(4), 1)),
        ("slow", plan(Mode::KeepAlive(Think::up_to_ms(5)), 4).slow(30)),
        ("uploads", plan(Mode::KeepAlive(Think::up_to_ms(20)), 1).upload(100_000)),
        ("downloads", plan(Mode::Short(Think::up_to_ms(50)), 1).download(2_000_000)),
    ]
    .map(|(name, plan)| strict::start(plan).map(|load| (name, load)));
    let loads = loads.into_iter().collect::<std::io::Result<Vec<_>>>()?;

    let mut times = [0_u64; EVENTS.len()];
    let mut inside = BTreeSet::new();
    for turn in (0..EVENTS.len()).cycle() {
        for (name, load) in &loads {
            let before = load.report().ok;
            let after = load.wait_for_more(ANSWERS, PATIENCE).ok;
            if after == before {
                bail!("{name} is not answered any more");
            }
        }
        if loads.iter().map(|(_, load)| load.report().ok).sum::<u64>() >= requests {
            break;
        }
        let (name, act) = EVENTS[turn];
        act(&skep, &mut inside).with_context(|| name.to_owned())?;
        times[turn] += 1;
    }
    tell(loads, &times, &inside)
}

fn tell(loads: Vec<(&'static str, Load)>, times: &[u64], inside: &BTreeSet<u16>) -> Result<()> {
    for ((name, _), times) in EVENTS.iter().zip(times) {
        println!("  {times:>6} {name}");
    }
    let (mut lost, mut unexplained) = (0, 0);
    for (name, load) in loads {
        let counts = load.stop();
        println!("{name}: {counts}");
        lost += counts.failures();
        let is_known = |port: &Option<u16>| port.is_some_and(|port| inside.contains(&port));
        unexplained += counts.lost_on.iter().filter(|port| !is_known(port)).count();
    }
    println!("  {lost} requests were lost, {unexplained} of them outside of a SIGKILLed worker");
    if unexplained > 0 {
        bail!("requests were lost that should not have been");
    }
    Ok(())
}

fn command(skep: &Skep, words: &[&str]) -> Result<()> {
    let said = skep.run(words);
    if said.code != Some(0) {
        bail!("skep {words:?}: {}{}", said.stdout, said.stderr);
    }
    Ok(())
}

fn kill_daemon(skep: &Skep) {
    let old = skep.daemon().pid;
    process::kill(old);
    Deadline::until("the next daemon is there", || (skep.try_daemon()?.pid != old).then_some(()));
}

fn kill_worker(skep: &Skep, inside: &mut BTreeSet<u16>) -> Result<()> {
    let app = skep.app("bench");
    let victim = *app.pids().first().context("it has a worker")?;
    inside.extend(process::kill_with_inventory(victim));
    skep.wait("bench", "a successor", |now| now.is_settled(app.slots.len()) && !now.pids().contains(&victim));
    Ok(())
}
