//! What the API shows of a worker's inside.

use skep_api::VitalsView;
use skep_core::{Now, WorkerId};
use skep_node_ipc::Measured;

use super::{Vitals, seconds};
use crate::driver::{Driver, now};

impl Driver {
    /// What a worker told lately; none when nobody has asked it.
    pub(crate) fn vitals_view(&self, id: WorkerId) -> Option<VitalsView> {
        view(&self.workers.get(&id)?.vitals, now())
    }
}

fn view(vitals: &Vitals, at: Now) -> Option<VitalsView> {
    let latest = vitals.fresh(at);
    // One that has never answered, or not for long, is shown as being late and nothing else.
    if latest.is_none() && vitals.asked.is_none() {
        return None;
    }
    let mut view = VitalsView {
        reply_ms: vitals.reply(at).map(|span| seconds(span) * 1e3),
        ..latest.map(levels).unwrap_or_default()
    };
    if let (Some(_), Some((before, latest, seconds))) = (latest, vitals.change()) {
        rates(&mut view, before, latest, seconds);
    }
    Some(view)
}

/// What one answer tells by itself.
fn levels(latest: &Measured) -> VitalsView {
    VitalsView {
        event_loop_delay_ms: latest.delay.map(|delay| delay[0]),
        event_loop_delay_p99_ms: latest.delay.map(|delay| delay[2]),
        event_loop_delay_max_ms: latest.delay.map(|delay| delay[3]),
        event_loop_utilization: utilization(latest.event_loop),
        heap_used_bytes: Some(latest.heap[0] as u64),
        heap_total_bytes: Some(latest.heap[1] as u64),
        http_requests: Some(latest.requests()),
        http_errors: Some(latest.codes[4]),
        ..VitalsView::default()
    }
}

/// What two answers tell.
fn rates(view: &mut VitalsView, before: &Measured, latest: &Measured, seconds: f64) {
    let loops = [0, 1].map(|at| (latest.event_loop[at] - before.event_loop[at]).max(0.0));
    view.event_loop_utilization = utilization(loops);
    let requests = latest.requests().saturating_sub(before.requests()) as f64;
    let errors = latest.codes[4].saturating_sub(before.codes[4]) as f64;
    view.http_requests_per_second = Some(requests / seconds);
    view.http_error_share = (requests > 0.0).then(|| errors / requests);
    view.http_latency_ms = (requests > 0.0).then(|| (latest.latency - before.latency).max(0.0) / requests);
}

fn utilization([idle, active]: [f64; 2]) -> Option<f64> {
    (idle + active > 0.0).then(|| active / (idle + active))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_core::Span;

    fn at(ms: u64) -> Now {
        Now(Span::from_millis(ms).0)
    }

    fn answer(event_loop: [f64; 2], codes: [u64; 5], latency: f64) -> Measured {
        Measured { event_loop, codes, latency, ..Measured::default() }
    }

    #[test]
    fn the_first_answer_tells_of_the_whole_life_and_the_second_of_the_time_between() {
        let mut vitals = Vitals::default();
        assert_eq!(view(&vitals, at(0)), None, "nobody has asked");
        assert!(vitals.wants_question(at(0)));
        vitals.answered(at(2), answer([300.0, 100.0], [0; 5], 0.0));
        let first = view(&vitals, at(3)).expect("it has answered");
        assert_eq!((first.event_loop_utilization, first.http_requests_per_second), (Some(0.25), None));
        assert_eq!(first.reply_ms, Some(2.0));
        assert!(vitals.wants_question(at(2_000)));
        vitals.answered(at(2_002), answer([1_300.0, 1_100.0], [0, 15, 0, 0, 5], 60.0));
        let second = view(&vitals, at(2_003)).expect("it has answered");
        assert_eq!(second.event_loop_utilization, Some(0.5));
        assert_eq!(second.http_requests_per_second, Some(10.0));
        assert_eq!((second.http_error_share, second.http_latency_ms), (Some(0.25), Some(3.0)));
    }

    #[test]
    fn a_worker_that_does_not_answer_is_late_and_nothing_else_is_known() {
        let mut vitals = Vitals::default();
        assert!(vitals.wants_question(at(0)));
        let late = view(&vitals, at(700)).expect("it was asked");
        assert_eq!(late, VitalsView { reply_ms: Some(700.0), ..VitalsView::default() });
    }
}
