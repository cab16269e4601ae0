//! What the API shows: the core's view, with what only the edge knows beside it.

use skep_api as api;
use skep_core::{self as core, ExitStatus, Now};
use skep_logs::Stream;
use skep_spec::AppSpec;

use crate::driver::{Driver, now};
use crate::usage;

impl Driver {
    /// Every app, or those with these numbers.
    pub(crate) fn app_views(&mut self, only: Option<&[u32]>, detail: api::Detail) -> Vec<api::AppView> {
        let apps = self.fleet.apps();
        apps.iter()
            .filter(|app| only.is_none_or(|only| only.contains(&app.id.0)))
            .map(|app| self.app_view(app, detail))
            .collect()
    }

    fn app_view(&mut self, app: &core::AppView, detail: api::Detail) -> api::AppView {
        let spec = self.specs.get(&(app.id, app.revision)).cloned().unwrap_or_default();
        let choice = spec.runtime_choice();
        api::AppView {
            id: app.id.0,
            name: app.name.clone(),
            namespace: app.namespace.clone(),
            status: status(app.status),
            instances: spec.instances,
            instances_wanted: app.slots.iter().filter(|slot| !slot.leaving).count() as u32,
            argv: spec.argv(),
            script: spec.script.clone().or_else(|| spec.command.clone()).unwrap_or_default(),
            cwd: spec.cwd.clone(),
            runtime: choice.runtime,
            runtime_reason: choice.reason,
            created_unix_ms: app.slots.iter().map(|slot| unix_ms_of(slot.created)).min().unwrap_or_default(),
            slots: app.slots.iter().map(|slot| self.slot_view(&spec, slot)).collect(),
            listeners: self.listener_views(app.id),
            singleton: spec.singleton.then(|| self.singleton_view(app.id)).flatten(),
            cannot_listen: self.ports.troubles.get(&app.id).cloned(),
            rollout: app.rollout.as_ref().map(rollout),
            spec: (detail == api::Detail::Full).then(|| Box::new(AppSpec::clone(&spec))),
        }
    }

    pub(crate) fn slot_view(&mut self, spec: &AppSpec, slot: &core::SlotView) -> api::SlotView {
        let at = now();
        let seen = slot.worker.as_ref();
        let pid = seen.and_then(|worker| worker.pid);
        let used = pid.and_then(|pid| usage::of(pid, at));
        let file = |stream| {
            (!spec.disable_logs)
                .then(|| crate::logging::path(spec, &self.site.home, slot.id, stream).display().to_string())
        };
        let (out_file, error_file) = (file(Stream::Out), file(Stream::Err));
        let cpu_percent = seen.and_then(|worker| self.cpu_percent(worker, used.map(|used| used.cpu)));
        let told = seen.and_then(|worker| self.workers.get(&worker.id)).map(|worker| &worker.told);
        let (actions, metrics) =
            told.map(|told| (told.action_names(), told.monitor.clone())).unwrap_or_default();
        api::SlotView {
            id: slot.id.0,
            index: slot.index,
            status: status(slot.status),
            worker: seen.map(|worker| worker.id.0),
            pid,
            successor_pid: slot.successor.as_ref().and_then(|worker| worker.pid),
            restarts: slot.restarts.total(),
            unstable_restarts: slot.unstable,
            uptime_ms: seen.map(|worker| at.since(worker.started).as_millis()),
            restart_in_ms: slot.restart_at.map(|then| then.since(at).as_millis()),
            memory_bytes: used.map(|used| used.memory_bytes),
            cpu_percent,
            vitals: seen.and_then(|worker| self.vitals_view(worker.id)),
            last_exit: slot.last_exit.map(exit),
            actions,
            metrics,
            out_file,
            error_file,
        }
    }

    /// Since the last look; since the worker began, for the first.
    fn cpu_percent(&mut self, seen: &core::WorkerView, sample: Option<usage::CpuSample>) -> Option<f32> {
        let (worker, sample) = (self.workers.get_mut(&seen.id)?, sample?);
        let before = worker.cpu_seen.unwrap_or(usage::CpuSample { at: seen.started, busy_ns: 0 });
        worker.cpu_seen = Some(sample);
        usage::percent(before, sample)
    }

    fn listener_views(&mut self, app: core::AppId) -> Vec<api::ListenerView> {
        self.ports
            .of(app)
            .map(|(_, entry)| {
                let selection = entry.group.selection();
                let queues = entry.group.queues();
                api::ListenerView {
                    address: entry.group.address().to_string(),
                    balance: entry.balance,
                    selection: selection.selector.to_string(),
                    reason: selection.why,
                    queues: queues
                        .into_iter()
                        .filter_map(|(slot, queue)| {
                            let queue = queue?;
                            Some(api::QueueView { slot: slot.0, waiting: queue.waiting, limit: queue.limit })
                        })
                        .collect(),
                }
            })
            .collect()
    }

    pub(crate) fn daemon_view(&self) -> api::DaemonView {
        api::DaemonView {
            pid: std::process::id(),
            keeper_pid: self.site.keeper_pid as u32,
            program: self.site.skep.to_string_lossy().into_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            home: self.site.home.display().to_string(),
            uptime_ms: now().since(self.site.started).as_millis(),
            apps: self.fleet.apps().len() as u32,
            workers: self.workers.values().filter(|worker| !worker.exited).count() as u32,
            degraded: self.degraded(),
        }
    }

    fn degraded(&self) -> Vec<String> {
        let mut degraded: Vec<String> =
            self.store_refusal.iter().map(|error| error.message.clone()).collect();
        for entry in self.ports.entries.values() {
            let selection = entry.group.selection();
            let line = format!("{}: {} ({})", entry.group.address(), selection.selector, selection.why);
            if entry.balance == skep_spec::Balance::Auto
                && selection.selector == skep_listeners::Selector::KernelHash
            {
                degraded.push(line);
            }
        }
        degraded.extend(self.shared_state.refusal().map(|why| format!("no shared state: {why}")));
        degraded
    }
}

fn status(status: core::Status) -> api::Status {
    match status {
        core::Status::Online => api::Status::Online,
        core::Status::Launching => api::Status::Launching,
        core::Status::Stopping => api::Status::Stopping,
        core::Status::Stopped => api::Status::Stopped,
        core::Status::Errored => api::Status::Errored,
        core::Status::WaitingRestart => api::Status::WaitingRestart,
    }
}

fn exit(exit: core::ExitView) -> api::ExitView {
    let (code, signal) = match exit.status {
        ExitStatus::Code(code) => (Some(code), None),
        ExitStatus::Signal(signal) => (None, Some(signal)),
        ExitStatus::Unknown => (None, None),
    };
    api::ExitView { code, signal, message: format!("{} after {}", exit.status, exit.uptime) }
}

fn rollout(rollout: &core::RolloutView) -> api::RolloutView {
    api::RolloutView {
        done: rollout.done,
        total: rollout.total,
        waiting_for: format!("{} of {} slots to be renewed", rollout.total - rollout.done, rollout.total),
    }
}

/// The time of day of a moment of the boot clock, as the two clocks stand now.
pub(crate) fn unix_ms_of(then: Now) -> u64 {
    crate::driver::unix_ms().saturating_sub(now().since(then).as_millis())
}
