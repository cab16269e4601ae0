//! The rule's behaviour, one sentence a test.

use skep_core::{Now, Span};

use super::{
    AVOID_BLIND, AVOID_MAX, AVOID_MIN, Again, Arm, LINGER, LOOK, LOOK_BLIND, Observation, Occupant, Orders,
    PACE, PlaceId, Power, Rule,
};

/// A group under the rule, with the time and the last orders.
struct Bench {
    rule: Rule,
    now: Now,
    orders: Orders,
    /// Arrivals at the first place, where they are counted.
    arrivals: Option<u64>,
}

impl Bench {
    fn new(power: Power) -> Self {
        let again = Again { arm: Arm::All, at: None };
        let orders = Orders { steal: vec![], to: vec![], avoid: vec![], close: vec![], again };
        Self { rule: Rule::new(power), now: Now(1_000_000_000), orders, arrivals: None }
    }

    /// A sample of these queues, all with live workers.
    fn see(&mut self, queues: &[u32]) -> &Orders {
        let seen: Vec<_> = queues.iter().map(|queue| (Occupant::Live, *queue)).collect();
        self.see_all(&seen)
    }

    fn see_all(&mut self, seen: &[(Occupant, u32)]) -> &Orders {
        let seen: Vec<Observation> = (0..)
            .zip(seen)
            .map(|(place, (occupant, queue))| Observation {
                place: PlaceId(place),
                occupant: *occupant,
                queue: *queue,
                arrivals: self.arrivals.map(|first| if place == 0 { first } else { 0 }),
                pending: 0,
                ordered: 0,
            })
            .collect();
        self.orders = self.rule.observe(self.now, &seen);
        &self.orders
    }

    /// Lets the time pass that the rule asked for.
    fn wait(&mut self) -> Span {
        let at = self.orders.again.at.expect("the rule named a time");
        let span = at.since(self.now);
        self.now = at;
        span
    }

    fn pass(&mut self, span: Span) -> &mut Self {
        self.now = self.now + span;
        self
    }
}

fn place(n: u32) -> PlaceId {
    PlaceId(n)
}

#[test]
fn a_quiet_group_waits_for_a_connection_and_for_no_time() {
    let mut bench = Bench::new(Power::Move);
    assert_eq!(bench.see(&[0, 0]).again, Again { arm: Arm::All, at: None });
}

#[test]
fn a_fresh_connection_is_looked_at_once_more_and_then_forgotten() {
    let mut bench = Bench::new(Power::Move);
    bench.see(&[0, 0]);
    bench.see(&[1, 0]);
    assert_eq!(bench.orders.steal, []);
    assert_eq!(bench.wait(), LOOK_BLIND);
    bench.see(&[0, 0]);
    assert_eq!(bench.orders.again, Again { arm: Arm::All, at: None });
}

#[test]
fn a_connection_that_is_still_there_at_the_second_look_moves_and_its_place_is_avoided() {
    let mut bench = Bench::new(Power::Move);
    bench.see(&[0, 0, 0]);
    bench.see(&[1, 0, 0]);
    bench.wait();
    bench.see(&[1, 0, 0]);
    assert_eq!(bench.orders.steal, [(place(0), 1)]);
    assert_eq!(bench.orders.to, [place(1), place(2)]);
    assert_eq!(bench.orders.avoid, [place(0)]);
    // Meanwhile connections to the others are watched for, and the avoidance ends by itself.
    assert_eq!(bench.orders.again, Again { arm: Arm::All, at: Some(bench.now + AVOID_BLIND) });
    bench.wait();
    assert_eq!(bench.see(&[0, 0, 0]).avoid, []);
}

#[test]
fn a_burst_that_woke_us_up_is_given_time() {
    let mut bench = Bench::new(Power::Move);
    bench.see(&[0, 0]);
    assert_eq!(bench.see(&[9, 0]).steal, []);
}

#[test]
fn half_of_a_queue_moves_at_the_first_sight_of_a_timed_sample() {
    let mut bench = Bench::new(Power::Move);
    bench.see(&[0, 0]);
    bench.see(&[0, 1]);
    bench.wait();
    assert_eq!(bench.see(&[7, 0]).steal, [(place(0), 4)]);
    assert_eq!(bench.orders.avoid, []);
}

#[test]
fn nothing_moves_from_one_crowd_to_another() {
    let mut bench = Bench::new(Power::Move);
    bench.see(&[10, 8]);
    for _ in 0..5 {
        bench.pass(PACE);
        bench.see(&[10, 8]);
        assert_eq!((bench.orders.steal.as_slice(), bench.orders.avoid.as_slice()), (&[][..], &[][..]));
    }
}

#[test]
fn a_busy_worker_that_gets_on_shares_but_is_not_avoided() {
    let mut bench = Bench::new(Power::Move);
    bench.see(&[0, 0]);
    bench.see(&[40, 0]);
    for (queue, other) in [(30, 0), (14, 0), (6, 0)] {
        bench.pass(PACE);
        bench.see(&[queue, other]);
        assert_eq!(bench.orders.avoid, []);
        assert!(bench.orders.steal[0].1 < queue);
    }
}

#[test]
fn a_vacant_slots_queue_moves_at_once_and_stays_when_there_is_nobody() {
    use Occupant::{Live, Vacant};
    let mut bench = Bench::new(Power::Move);
    assert_eq!(bench.see_all(&[(Vacant, 5), (Live, 0)]).steal, [(place(0), 5)]);
    assert_eq!(bench.orders.to, [place(1)]);
    assert_eq!(bench.see_all(&[(Vacant, 5), (Vacant, 0)]).steal, []);
    assert_eq!(bench.orders.again, Again { arm: Arm::Nothing, at: None });
}

#[test]
fn the_queue_of_the_only_worker_is_its_own_business_that_of_a_dead_one_is_not() {
    use Occupant::{Live, Vacant};
    let mut bench = Bench::new(Power::Move);
    bench.see_all(&[(Live, 40), (Vacant, 0)]);
    assert_eq!(bench.orders.again, Again { arm: Arm::Only(vec![place(1)]), at: None });
    // A worker that stands still itself is no heir.
    assert_eq!(bench.pass(PACE).see_all(&[(Live, 40), (Vacant, 2)]).steal, []);
    assert_eq!(bench.see_all(&[(Live, 0), (Vacant, 2)]).steal, [(place(1), 2)]);
}

#[test]
fn what_waits_for_a_successor_and_cannot_be_moved_wakes_nobody() {
    use Occupant::{Live, Vacant};
    let mut bench = Bench::new(Power::Steer);
    bench.see_all(&[(Live, 0), (Live, 0), (Vacant, 7)]);
    assert_eq!(bench.orders.again, Again { arm: Arm::Only(vec![place(0), place(1)]), at: None });
}

#[test]
fn one_worker_alone_is_never_watched() {
    let mut bench = Bench::new(Power::Move);
    assert_eq!(bench.see(&[300]).again, Again { arm: Arm::Nothing, at: None });
}

/// How long the first place is avoided each time that a connection to it is left waiting.
fn avoidances(mut bench: Bench) -> Vec<u64> {
    bench.see(&[0, 0]);
    let mut lengths = Vec::new();
    for _ in 0..6 {
        bench.arrivals = bench.arrivals.map(|before| before + 1);
        bench.see(&[1, 0]);
        bench.wait();
        bench.see(&[1, 0]);
        assert_eq!(bench.orders.avoid, [place(0)]);
        lengths.push(bench.wait().as_millis());
        bench.see(&[0, 0]);
        assert_eq!(bench.orders.avoid, []);
    }
    lengths
}

#[test]
fn each_relapse_makes_the_avoidance_longer_up_to_its_limit() {
    let max = AVOID_MAX.as_millis();
    let counted = Bench { arrivals: Some(0), ..Bench::new(Power::Move) };
    assert_eq!(avoidances(counted), [AVOID_MIN.as_millis(), 10, 20, 40, 80, max]);
    assert_eq!(avoidances(Bench::new(Power::Move)), [AVOID_BLIND.as_millis(), 80, max, max, max, max]);
}

#[test]
fn what_comes_in_behind_the_avoidance_moves_without_delay() {
    let mut bench = Bench::new(Power::Move);
    bench.see(&[1, 0]);
    bench.wait();
    bench.see(&[1, 0]);
    bench.pass(Span::from_millis(1));
    assert_eq!(bench.see(&[1, 0]).steal, [(place(0), 1)]);
}

#[test]
fn when_all_others_are_busy_an_avoided_place_is_tried_again() {
    let mut bench = Bench::new(Power::Move);
    bench.see(&[1, 0]);
    bench.wait();
    bench.see(&[1, 0]);
    bench.pass(Span::from_millis(2));
    assert_eq!(bench.see(&[0, 3]).avoid, []);
}

#[test]
fn without_the_power_to_move_the_place_is_avoided_until_its_queue_is_empty() {
    let mut bench = Bench::new(Power::Steer);
    bench.see(&[1, 0]);
    bench.wait();
    for _ in 0..40 {
        bench.see(&[3, 0]);
        assert_eq!(
            (bench.orders.steal.as_slice(), bench.orders.avoid.as_slice()),
            (&[][..], &[place(0)][..])
        );
        bench.wait();
    }
    assert_eq!(bench.see(&[2, 0]).avoid, []);
}

#[test]
fn a_retired_place_is_emptied_and_closed_when_it_has_been_quiet() {
    use Occupant::{Leaving, Live};
    let mut bench = Bench::new(Power::Move);
    bench.see_all(&[(Live, 0), (Leaving, 0)]);
    assert_eq!(bench.orders.again.at, Some(bench.now + LINGER));
    bench.pass(Span::from_secs(2));
    assert_eq!(bench.see_all(&[(Live, 0), (Leaving, 1)]).steal, [(place(1), 1)]);
    bench.pass(Span::from_secs(2));
    assert_eq!(bench.see_all(&[(Live, 0), (Leaving, 0)]).close, []);
    bench.wait();
    assert_eq!(bench.see_all(&[(Live, 0), (Leaving, 0)]).close, [place(1)]);
}

#[test]
fn progress_is_told_from_standstill_by_counting_arrivals() {
    let seen = |queue, arrivals| {
        [(queue, arrivals), (0, 0)].map(|(queue, arrivals)| Observation {
            place: PlaceId(u32::from(queue == 0)),
            occupant: Occupant::Live,
            queue,
            arrivals: Some(arrivals),
            pending: 0,
            ordered: 0,
        })
    };
    let mut rule = Rule::new(Power::Move);
    rule.observe(Now(1_000_000_000), &seen(1, 10));
    // The queue is as long as before, but two came: two were accepted.
    assert_eq!(rule.observe(Now(1_005_000_000), &seen(1, 12)).steal, []);
    assert_eq!(rule.observe(Now(1_010_000_000), &seen(1, 12)).steal, [(place(0), 1)]);
}

#[test]
fn what_was_ordered_out_and_leaves_late_is_no_sign_of_life_and_is_not_ordered_twice() {
    let seen = |queue, arrivals, ordered| {
        [(queue, ordered), (0, 0)].map(|(queue, ordered)| Observation {
            place: PlaceId(u32::from(queue == 0)),
            occupant: Occupant::Live,
            queue,
            arrivals: Some(arrivals),
            pending: 0,
            ordered,
        })
    };
    let mut rule = Rule::new(Power::Move);
    let begin = Now(1_000_000_000);
    rule.observe(begin, &seen(3, 10, 0));
    let orders = rule.observe(begin + LOOK, &seen(3, 10, 0));
    assert_eq!((orders.steal.as_slice(), orders.avoid.as_slice()), (&[(place(0), 3)][..], &[place(0)][..]));
    // Two are gone, and one more has come: one of the queue is to be moved, and the place is avoided still.
    let orders = rule.observe(begin + Span(LOOK.0 + 500_000), &seen(2, 11, 3));
    assert_eq!((orders.steal.as_slice(), orders.avoid.as_slice()), (&[(place(0), 1)][..], &[place(0)][..]));
    // All that were ordered are there still: nothing is left to order, but another look is needed.
    let orders = rule.observe(begin + Span(LOOK.0 + 600_000), &seen(2, 11, 2));
    assert_eq!((orders.steal.as_slice(), orders.avoid.as_slice()), (&[][..], &[place(0)][..]));
    assert!(orders.again.at.is_some());
    // More are gone than were ordered: its worker has accepted them.
    let orders = rule.observe(begin + Span(LOOK.0 + 700_000), &seen(0, 13, 1));
    assert_eq!(orders.avoid, []);
}

#[test]
fn under_steady_load_the_rule_wakes_up_two_hundred_times_a_second() {
    let mut bench = Bench::new(Power::Move);
    bench.see(&[0, 0]);
    let end = bench.now + Span::from_secs(1);
    let mut woken = 0;
    let mut turn = 0;
    while bench.now < end {
        // A connection comes every 100 us; half of the samples find one that is not accepted yet.
        if bench.orders.again.arm == Arm::All {
            bench.pass(Span(100_000));
        } else {
            bench.wait();
        }
        turn += 1;
        bench.see(if turn % 2 == 0 { &[1, 0] } else { &[0, 0] });
        woken += 1;
    }
    assert!(woken <= 241, "{woken}");
}

#[test]
fn who_was_just_seen_accepting_is_given_first_and_who_has_not_acknowledged_last() {
    let seen = |queues: [(u32, u64, u32); 4]| {
        let mut place = 0;
        queues.map(|(queue, arrivals, pending)| {
            place += 1;
            Observation {
                place: PlaceId(place - 1),
                occupant: Occupant::Live,
                queue,
                arrivals: Some(arrivals),
                pending,
                ordered: 0,
            }
        })
    };
    let mut rule = Rule::new(Power::Move);
    rule.observe(Now(1_000_000_000), &seen([(1, 10, 0), (0, 10, 0), (0, 10, 0), (0, 10, 0)]));
    let orders =
        rule.observe(Now(1_000_000_000) + LOOK, &seen([(1, 10, 0), (0, 10, 0), (0, 11, 0), (0, 11, 1)]));
    assert_eq!((orders.steal.as_slice(), orders.to.as_slice()), (&[(place(0), 1)][..], &[place(2)][..]));
    // The one that was stuck has accepted nothing since, another has not acknowledged: neither is given anything.
    let later = 1_100_000_000;
    rule.observe(Now(later), &seen([(0, 10, 0), (1, 12, 0), (0, 12, 1), (0, 12, 1)]));
    let orders =
        rule.observe(Now(later + 5_000_000), &seen([(0, 10, 0), (1, 12, 0), (0, 12, 1), (0, 12, 0)]));
    assert_eq!((orders.steal.as_slice(), orders.to.as_slice()), (&[(place(1), 1)][..], &[place(3)][..]));
    let orders =
        rule.observe(Now(later + 8_000_000), &seen([(0, 10, 0), (1, 13, 0), (0, 12, 1), (0, 12, 1)]));
    assert_eq!(orders.steal, []);
}

#[test]
fn a_stuck_place_stays_avoided_while_its_heir_has_not_yet_acknowledged() {
    let one = |place, queue, pending| Observation {
        place: PlaceId(place),
        occupant: Occupant::Live,
        queue,
        arrivals: None,
        pending,
        ordered: 0,
    };
    let mut rule = Rule::new(Power::Move);
    let begin = Now(1_000_000_000);
    rule.observe(begin, &[one(0, 1, 0), one(1, 0, 0)]);
    let (stuck, later) = (begin + LOOK_BLIND, begin + LOOK_BLIND + LOOK_BLIND);
    assert_eq!(rule.observe(stuck, &[one(0, 1, 0), one(1, 0, 0)]).steal, [(place(0), 1)]);
    assert_eq!(rule.observe(later, &[one(0, 0, 0), one(1, 0, 1)]).avoid, [place(0)]);
}

#[test]
fn nobody_is_given_much_at_once() {
    let mut bench = Bench::new(Power::Move);
    bench.see(&[0, 0, 0]);
    bench.see(&[100, 0, 0]);
    bench.wait();
    assert_eq!(bench.see(&[100, 0, 0]).steal, [(place(0), 32)]);
}
