//! What those who follow see.

use std::cell::RefCell;
use std::rc::Rc;

use super::rig::{Rig, time_format};
use crate::{FileSpec, Framing, Keep};

type Seen = Rc<RefCell<Vec<(u32, Vec<u8>, bool)>>>;

fn follow(rig: &mut Rig, slot: Option<u32>) -> (Seen, crate::SubscriptionId) {
    let seen = Seen::default();
    let sink = Rc::clone(&seen);
    let id = rig.capture().subscribe(
        move |source| slot.is_none_or(|slot| slot == source.slot),
        move |chunk| {
            sink.borrow_mut().push((chunk.source.slot, chunk.bytes.to_vec(), chunk.ends_line));
            if chunk.bytes == b"stop\n" { Keep::Stop } else { Keep::Going }
        },
    );
    (seen, id)
}

fn bytes(seen: &Seen) -> Vec<u8> {
    seen.borrow().iter().flat_map(|(_, bytes, _)| bytes.clone()).collect()
}

#[test]
fn followers_see_the_workers_own_whole_lines_whatever_the_file_looks_like() {
    let mut rig = Rig::new();
    let specs = [
        vec![FileSpec { format: time_format(), framing: Framing::Lines, ..rig.spec("time.log") }],
        vec![rig.spec("raw.log")],
        vec![],
    ];
    for files in specs {
        let worker = rig.worker(&files);
        let (seen, _) = follow(&mut rig, Some(u32::try_from(worker).expect("few")));
        rig.write(worker, b"one\ntwo\nunfinished");
        rig.pump(worker);
        assert_eq!(bytes(&seen), b"one\ntwo\n");
        rig.exit(worker);
        rig.pump(worker);
        assert_eq!(bytes(&seen), b"one\ntwo\nunfinished");
        let slot = u32::try_from(worker).expect("few");
        assert_eq!(*seen.borrow().last().expect("some"), (slot, b"unfinished".to_vec(), false));
    }
}

#[test]
fn following_goes_on_across_rotation_and_loses_nothing() {
    let mut rig = Rig::new();
    let mut spec = rig.spec("raw.log");
    spec.rotation.as_mut().expect("default").max_bytes = 10_000;
    let worker = rig.worker(&[spec]);
    let (seen, _) = follow(&mut rig, None);
    let mut all = Vec::new();
    for number in 0..5_000 {
        let line = format!("line number {number}\n").into_bytes();
        rig.write(worker, &line);
        all.extend(line);
        if number % 97 == 0 {
            rig.settle();
        }
    }
    rig.settle();
    assert!(bytes(&seen) == all);
    assert!(rig.read_all("raw.log") == all);
    assert!(rig.read("raw.log").len() < 20_000);
}

#[test]
fn who_stops_or_unsubscribes_gets_no_more() {
    let mut rig = Rig::new();
    let worker = rig.worker(&[]);
    let (stopping, _) = follow(&mut rig, None);
    let (unsubscribing, id) = follow(&mut rig, None);
    rig.write(worker, b"stop\n");
    rig.pump(worker);
    rig.capture().unsubscribe(id);
    rig.write(worker, b"more\n");
    rig.pump(worker);
    assert_eq!(bytes(&stopping), b"stop\n");
    assert_eq!(bytes(&unsubscribing), b"stop\n");
}
