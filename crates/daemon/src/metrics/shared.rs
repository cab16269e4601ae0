//! Figures of queues, and of apps of which there may be only one.

use skep_api::StateQueue;

use super::exposition::{Exposition, Kind};
use crate::driver::Driver;

/// Two queues may have one name: one in memory, one on the disk.
fn labels(queue: &StateQueue) -> Vec<(&str, &str)> {
    let durable = if queue.durable { "true" } else { "false" };
    vec![("queue", queue.name.as_str()), ("durable", durable)]
}

impl Driver {
    /// Of the stores as they are; one that nobody has made is not made for this.
    pub(super) fn about_queues(&self, durable: Vec<StateQueue>, out: &mut Exposition) {
        let mut queues = self.queue_figures();
        queues.extend(durable);
        let jobs = queues.iter().flat_map(|queue| {
            let parts = [
                ("ready", queue.ready),
                ("delayed", queue.delayed),
                ("active", queue.active),
                ("dead", queue.dead),
            ];
            parts.map(|(part, count)| {
                let mut labels = labels(queue);
                labels.push(("part", part));
                (labels, count as f64)
            })
        });
        out.family("skep_queue_jobs", Kind::Gauge, "Jobs in each part of a queue.", jobs);
        let paused = queues.iter().map(|queue| (labels(queue), f64::from(u8::from(queue.paused))));
        out.family("skep_queue_paused", Kind::Gauge, "1 for a queue that is paused.", paused);
    }

    pub(super) fn about_hosts(&self, out: &mut Exposition) {
        let singletons = self.singleton_views();
        let held =
            singletons.iter().map(|one| (vec![("app", one.app.as_str())], f64::from(u8::from(one.ours))));
        let help = "1 for an app of which there may be only one, if it is this host's.";
        out.family("skep_singleton_held", Kind::Gauge, help, held);
        if let Some(reachable) = self.hosts.is_reachable() {
            let sample = [(vec![], f64::from(u8::from(reachable)))];
            let help = "1 if the store that hosts share answered the last question.";
            out.family("skep_hosts_store_reachable", Kind::Gauge, help, sample);
        }
    }
}
