//! `max_memory_restart` at the edge: ready workers of apps that have a limit are measured once a second. Without such an
//! app there is no timer.

use std::rc::Rc;
use std::time::Duration;

use skep_core::{
    AppId, Cause, MemorySample, MemoryVerdict, MemoryWatch, PhaseName, SlotId, SlotView, Target, WorkerView,
};
use skep_spec::AppSpec;

use crate::driver::{Driver, Shared, now};

/// How often memory is measured: a program that leaks 100 MB a second is caught within three times that.
const PERIOD: Duration = Duration::from_secs(1);

/// Measures as long as the daemon lives.
pub(crate) async fn serve(driver: Shared) {
    let wake = Rc::clone(&driver.borrow().triggers.memory_wake);
    loop {
        let limited = driver.borrow_mut().measure_memory();
        if limited {
            tokio::time::sleep(PERIOD).await;
        } else {
            wake.notified().await;
        }
    }
}

impl Driver {
    /// Measures everybody who has a limit and replaces whom the rule says. False when nobody has one.
    fn measure_memory(&mut self) -> bool {
        let limited: Vec<(AppId, Rc<AppSpec>, u64)> = self
            .present_specs()
            .filter_map(|(app, spec)| {
                let limit = spec.max_memory_restart?;
                Some((app, spec, limit.0))
            })
            .collect();
        let mut watches = std::mem::take(&mut self.triggers.memory);
        let mut next = std::collections::BTreeMap::new();
        for (app, spec, limit) in &limited {
            let Some(view) = self.fleet.app(*app).filter(|view| view.rollout.is_none()) else {
                // Whoever is being replaced already is not measured; what is known of its slot stays.
                next.extend(self.slots_of(*app).filter_map(|slot| watches.remove_entry(&slot)));
                continue;
            };
            for slot in view.slots {
                let mut watch = watches.remove(&slot.id).unwrap_or_default();
                self.measure_slot(*app, &slot, spec, *limit, &mut watch);
                next.insert(slot.id, watch);
            }
        }
        self.triggers.memory = next;
        // Apps without a running worker come back by a command, which wakes us.
        limited.iter().any(|(app, ..)| self.has_workers(*app))
    }

    fn slots_of(&self, app: AppId) -> impl Iterator<Item = SlotId> + use<> {
        self.fleet.app(app).into_iter().flat_map(|view| view.slots).map(|slot| slot.id)
    }

    fn has_workers(&self, app: AppId) -> bool {
        self.workers.values().any(|worker| worker.app == app && !worker.exited)
    }

    fn measure_slot(
        &mut self,
        app: AppId,
        slot: &SlotView,
        spec: &AppSpec,
        limit: u64,
        watch: &mut MemoryWatch,
    ) {
        let ready = |worker: &&WorkerView| worker.phase == PhaseName::Ready;
        let Some((worker, pid)) = slot.worker.as_ref().filter(ready).and_then(|w| Some((w, w.pid?))) else {
            return;
        };
        let Some(bytes) = used(pid, spec.max_memory_tree) else { return };
        let sample = MemorySample { worker: worker.id, started: worker.started, bytes, limit };
        let (has, may) = (mebibytes(bytes), mebibytes(limit));
        match watch.judge(now(), sample) {
            MemoryVerdict::Fine => {}
            MemoryVerdict::Replace => {
                let why = format!("it uses {has}, more than max_memory_restart ({may})");
                self.renew(app, Target::from(slot.id), Cause::Memory, &why);
            }
            MemoryVerdict::TooLow { wait } => self.trouble(app, Some(slot.id), |place| {
                format!(
                    "{place} uses {has} soon after its start: max_memory_restart ({may}) looks too low for it; it is \
                     replaced when it is {wait} old at the earliest"
                )
            }),
        }
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.0}M", bytes as f64 / f64::from(1 << 20))
}

/// The resident set of the worker, or of all that it has started too.
fn used(pid: u32, tree: bool) -> Option<u64> {
    let pid = i32::try_from(pid).ok()?;
    let own = skep_sys::proc::rss_bytes(pid).ok()?;
    let rest =
        || skep_sys::proc::descendants(pid).into_iter().filter_map(|pid| skep_sys::proc::rss_bytes(pid).ok());
    Some(if tree { rest().fold(own, u64::saturating_add) } else { own })
}
