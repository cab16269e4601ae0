//! `ping`, `daemon status`, `daemon stop` and `kill`.

mod guard;
pub(crate) mod service;

pub(crate) use guard::unit_stop;

use crate::args::WaitArgs;
use crate::failure::Failure;
use crate::human;
use crate::session::{Context, unusable};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use skep_api::client::Client;
use skep_api::{DaemonView, ErrorCode};
use std::os::fd::OwnedFd;

/// How long a stop may take when nobody says: longer than any sensible `kill_timeout`.
const STOP_WAIT_MS: u64 = 60_000;

/// Says whether skep is running; starts nothing.
pub(crate) async fn ping(context: &Context) -> Result<(), Failure> {
    let view = running(context).await?.daemon().await?;
    if context.output.json {
        context.output.print_json(&view)
    } else {
        context.output.print("{ msg: 'pong' }\n")
    }
}

/// Shows the daemon.
pub(crate) async fn status(context: &Context) -> Result<(), Failure> {
    let view = running(context).await?.daemon().await?;
    if context.output.json {
        return context.output.print_json(&view);
    }
    context.output.print(&describe(&view))
}

async fn running(context: &Context) -> Result<Client, Failure> {
    context.look().await?.ok_or_else(Failure::not_running)
}

fn describe(view: &DaemonView) -> String {
    let mut text = format!(
        "skep {version}, up {uptime}\n\
         daemon  {pid}\n\
         keeper  {keeper}\n\
         home    {home}\n\
         apps    {apps}\n\
         workers {workers}\n",
        version = view.version,
        uptime = human::uptime(view.uptime_ms),
        pid = view.pid,
        keeper = view.keeper_pid,
        home = view.home,
        apps = view.apps,
        workers = view.workers,
    );
    for note in &view.degraded {
        text.push_str(&format!("note    {note}\n"));
    }
    text
}

/// Stops everything; waits until the keeper, which is last, has gone.
pub(crate) async fn stop(args: &WaitArgs, context: &Context) -> Result<(), Failure> {
    let Some(mut client) = context.look().await? else {
        return end_left_behind(context).await;
    };
    let view = client.daemon().await?;
    let keeper = watch(view.keeper_pid);
    client.stop_daemon().await?;
    if args.no_wait {
        return Ok(());
    }
    let timeout_ms = args.timeout.map_or(STOP_WAIT_MS, |timeout| timeout.0);
    match keeper {
        Some(keeper) if !ends_within(&keeper, timeout_ms) => Err(Failure::new(
            ErrorCode::TimedOut,
            "skep is still stopping",
            format!("a worker may be slow to end; the keeper is process {}", view.keeper_pid),
        )),
        Some(_) | None => {
            let stopped = human::count(usize::try_from(view.workers).unwrap_or_default(), "worker");
            context
                .output
                .say(&format!("skep has stopped, and {stopped} with it; `skep resurrect` starts them again"));
            Ok(())
        }
    }
}

/// Keeper and daemon are not there. If they were killed, what they ran may be.
async fn end_left_behind(context: &Context) -> Result<(), Failure> {
    let home = context.home()?;
    if !skep_daemon::was_killed(home.path()) {
        context.output.say("skep is not running");
        return Ok(());
    }
    // Nobody starts it meanwhile.
    let Some(claim) = home.claim().map_err(unusable)? else {
        return Err(Failure::new(ErrorCode::Unavailable, "skep is just being started", "try again"));
    };
    let ended = human::count(skep_daemon::end_left_behind(home.path()).await.len(), "worker");
    // Gone before the lock is.
    let _ = std::fs::remove_file(home.socket());
    drop(claim);
    context.output.say(&format!("skep had been killed; {ended} that it left behind {} ended", was(&ended)));
    Ok(())
}

fn was(count: &str) -> &'static str {
    if count.starts_with("1 ") { "was" } else { "were" }
}

/// A descriptor that becomes readable when the process ends; `None` when it has ended already.
fn watch(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

fn ends_within(process: &OwnedFd, timeout_ms: u64) -> bool {
    let seconds = i64::try_from(timeout_ms / 1_000).unwrap_or(i64::MAX);
    let nanoseconds = i64::try_from(timeout_ms % 1_000 * 1_000_000).expect("below a thousand million");
    let timeout = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn the_end_of_a_process_is_noticed_and_its_life_too() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let watched = watch(child.id()).unwrap();
        assert!(!ends_within(&watched, 0));
        drop(child.stdin.take());
        assert!(ends_within(&watched, 60_000));
        child.wait().unwrap();
    }

    #[test]
    fn what_the_kernel_does_not_allow_is_told() {
        let view = DaemonView {
            pid: 2,
            keeper_pid: 1,
            program: "/bin/skep".into(),
            version: "1.0.0".into(),
            home: "/h".into(),
            uptime_ms: 61_000,
            apps: 0,
            workers: 0,
            degraded: vec!["no BPF: connections are spread by the kernel's hash".into()],
        };
        let text = describe(&view);
        assert!(text.starts_with("skep 1.0.0, up 1m\ndaemon  2\nkeeper  1\n"), "{text}");
        assert!(text.ends_with("note    no BPF: connections are spread by the kernel's hash\n"), "{text}");
    }
}
