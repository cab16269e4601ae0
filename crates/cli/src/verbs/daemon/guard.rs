//! `daemon run --keep-workers`: a process that a service manager may end and start as it likes, beside a keeper that
//! goes on.
//!
//! It starts the keeper when there is none, tells the manager how things are, and waits: for the keeper's end, or for
//! its own. A keeper that was killed has an heir within milliseconds (its daemon's doing); one that was stopped by
//! `skep kill` took its socket along, and then the guard ends too.

use crate::failure::Failure;
use crate::host_args::UnitStopCommand;
use crate::session::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use skep_api::client::Client;
use skep_api::{Act, ErrorCode, Route};
use skep_keeper::service::ServiceManager;
use skep_sys::clock;
use skep_sys::signal::SignalFd;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// How often to look for the heir of a keeper that was killed, and how long a pause is between; together longer than
/// the daemon may take to make one on a machine that swaps.
const HEIR_LOOKS: u32 = 100;
const HEIR_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Guards the home's keeper until it is stopped, or until we are.
pub(super) fn run(context: &Context) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::out_of_resources(&error);
    let signals = SignalFd::new(&[SIGINT, SIGTERM]).map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(failed)?;
    let mut manager = ServiceManager::from_environment(std::process::id());
    let mut keeper = runtime.block_on(find_or_start(context))?;
    manager.ready("guard of a keeper");
    loop {
        let left_ns = manager.due_ns().map(|at_ns| at_ns.saturating_sub(clock::boottime_ns()));
        let timeout = left_ns.map(|left| Timespec {
            tv_sec: i64::try_from(left / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(left % 1_000_000_000).unwrap_or(0),
        });
        let mut fds =
            [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN), PollFd::new(&keeper, PollFlags::IN)];
        // Interrupted or timed out: everything is looked at again.
        let _ = poll(&mut fds, timeout.as_ref());
        let [asked, ended] = fds.map(|fd| !fd.revents().is_empty());
        if asked && !signals.read().map_err(failed)?.is_empty() {
            manager.stopping();
            return Ok(());
        }
        if ended {
            match runtime.block_on(successor(context))? {
                Some(next) => keeper = next,
                None => return Ok(()),
            }
        }
        manager.tick(clock::boottime_ns());
    }
}

/// The keeper that lives here, or a new one with everything that ran before.
async fn find_or_start(context: &Context) -> Result<OwnedFd, Failure> {
    if let Some(keeper) = find(context).await? {
        return Ok(keeper);
    }
    let mut client = context.connect_or_start().await?;
    let keeper = handle(&mut client).await?;
    let lines = client.command::<serde_json::Value>(Route::Resurrect, "", &Act::default()).await?;
    // Nobody waits for the goal: that an app does not start is told by `skep list`.
    drop(lines);
    keeper.ok_or_else(ended_at_once)
}

/// Who keeps the home after a keeper has ended; `None` when that one was stopped.
async fn successor(context: &Context) -> Result<Option<OwnedFd>, Failure> {
    let socket = context.home()?.socket();
    for _ in 0..HEIR_LOOKS {
        if !socket.exists() {
            return Ok(None);
        }
        if let Some(keeper) = find(context).await? {
            return Ok(Some(keeper));
        }
        let _ = rustix::thread::nanosleep(&HEIR_PAUSE);
    }
    find_or_start(context).await.map(Some)
}

async fn find(context: &Context) -> Result<Option<OwnedFd>, Failure> {
    match context.look().await {
        Ok(Some(mut client)) => handle(&mut client).await,
        Ok(None) => Ok(None),
        Err(Failure::Unreachable(_)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A descriptor that becomes readable when the keeper ends.
async fn handle(client: &mut Client) -> Result<Option<OwnedFd>, Failure> {
    match client.daemon().await {
        Ok(view) => Ok(super::watch(view.keeper_pid)),
        // It is being restarted, or has just ended.
        Err(skep_api::client::ClientError::Lost(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn ended_at_once() -> Failure {
    Failure::new(
        ErrorCode::Internal,
        "the keeper ended as soon as it was started",
        "daemon.log in the home says why",
    )
}

/// `ExecStop` of a unit that keeps workers: ends everything, unless systemd is restarting the unit.
pub(crate) async fn unit_stop(args: &UnitStopCommand, context: &Context) -> Result<(), Failure> {
    let mut command = Command::new("systemctl");
    if args.user {
        command.arg("--user");
    }
    let jobs = command.args(["list-jobs", "--no-legend", "--no-pager", "--full"]).output();
    let jobs = jobs.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    if is_restarting(&args.unit, &jobs) {
        return Ok(());
    }
    super::stop(&crate::args::WaitArgs { no_wait: false, timeout: None }, context).await
}

/// Whether the unit is being restarted, by `systemctl list-jobs`: number, unit, type and state in each line.
fn is_restarting(unit: &str, jobs: &str) -> bool {
    jobs.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(unit) && words.next().is_some_and(|kind| kind.ends_with("restart"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_told_from_a_stop() {
        let jobs = "117 other.service restart waiting\n118 skep.service restart running\n";
        assert!(is_restarting("skep.service", jobs));
        assert!(is_restarting("skep.service", "9 skep.service try-restart running"));
        assert!(!is_restarting("skep.service", "118 skep.service stop running\n"));
        assert!(!is_restarting("skep.service", "1 other.service restart running\n"));
        assert!(!is_restarting("skep.service", ""));
    }
}
