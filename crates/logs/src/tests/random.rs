//! Random workers, random pieces, random restarts: the bytes must be those that were written.

use proptest::prelude::*;

use super::rig::{Rig, lines, time_format};
use crate::{FileSpec, Format, Framing, Rotation};

#[derive(Clone, Debug)]
enum Act {
    Write(usize, usize),
    Pump(usize),
    Pass(u64),
    Restart,
    Rotate,
    Reopen,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        12 => (0..3_usize, prop_oneof![1_usize..200, 1_000_usize..70_000]).prop_map(|(w, n)| Act::Write(w, n)),
        12 => (0..3_usize).prop_map(Act::Pump),
        1 => (1_u64..10_000_000).prop_map(Act::Pass),
        1 => Just(Act::Restart),
        1 => Just(Act::Rotate),
        1 => Just(Act::Reopen),
    ];
    proptest::collection::vec(act, 1..60)
}

/// What worker `worker` prints: lines of these lengths, over and over.
fn text(worker: usize, lengths: &[usize]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0.. {
        if bytes.len() > 600_000 {
            break;
        }
        bytes.extend([b'A' + u8::try_from(worker).expect("few")]);
        bytes.extend(format!(":{number}:").into_bytes());
        bytes.extend(std::iter::repeat_n("é".as_bytes(), lengths[number % lengths.len()] / 2).flatten());
        bytes.push(b'\n');
    }
    bytes
}

/// A line that its worker never finished may end in half a character, which JSON cannot hold.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn formats() -> impl Strategy<Value = Format> {
    prop_oneof![Just(Format::Raw), Just(time_format()), Just(Format::Json(None))]
}

fn perform(rig: &mut Rig, acts: &[Act], texts: &[Vec<u8>]) -> Vec<usize> {
    let mut sent = vec![0; texts.len()];
    for act in acts {
        match *act {
            Act::Write(worker, bytes) => {
                let end = texts[worker].len().min(sent[worker] + bytes);
                sent[worker] += rig.write_some(worker, &texts[worker][sent[worker]..end]);
            }
            Act::Pump(worker) => {
                rig.pump(worker);
            }
            Act::Pass(nanoseconds) => rig.pass(nanoseconds),
            Act::Restart => {
                rig.restart();
                rig.settle();
            }
            Act::Rotate => rig.capture().rotate(None),
            Act::Reopen => rig.capture().reopen(),
        }
    }
    for worker in 0..texts.len() {
        rig.exit(worker);
    }
    rig.settle();
    assert!((0..texts.len()).all(|worker| rig.ended(worker)));
    sent
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn merged_files_hold_every_workers_lines_in_order(
        acts in acts(),
        format in formats(),
        lengths in proptest::collection::vec(prop_oneof![0_usize..120, 0_usize..40_000], 1..6),
        max_bytes in prop_oneof![Just(u64::MAX), 1_u64..100_000],
    ) {
        let mut rig = Rig::new();
        let rotation = Some(Rotation { max_bytes, count: u32::MAX, compress: (max_bytes % 2 == 0).then_some(if max_bytes % 4 == 0 { crate::Codec::Zstd } else { crate::Codec::Gzip }), total_bytes: u64::MAX, ..Rotation::default() });
        let spec = FileSpec { format: format.clone(), framing: Framing::Lines, rotation, ..rig.spec("all.log") };
        let texts: Vec<Vec<u8>> = (0..3).map(|worker| text(worker, &lengths)).collect();
        for _ in 0..3 {
            rig.worker(std::slice::from_ref(&spec));
        }
        let sent = perform(&mut rig, &acts, &texts);
        let all = rig.read_all("all.log");
        let mut own: Vec<Vec<u8>> = vec![Vec::new(); 3];
        for line in lines(&all, &format) {
            let worker = line.first().map(|tag| usize::from(tag - b'A'));
            prop_assert!(worker.is_some_and(|worker| worker < 3), "{}", line.escape_ascii());
            own[worker.expect("just seen")].extend([&line[..], b"\n"].concat());
        }
        for worker in 0..3 {
            let mut expected = texts[worker][..sent[worker]].to_vec();
            if !expected.is_empty() && expected.last() != Some(&b'\n') {
                expected.push(b'\n');
            }
            prop_assert!(lossy(&own[worker]) == lossy(&expected), "worker {} of {:?}", worker, format);
        }
    }

    #[test]
    fn a_file_of_its_own_holds_exactly_the_bytes(
        acts in acts(),
        lengths in proptest::collection::vec(prop_oneof![0_usize..120, 0_usize..40_000], 1..6),
        max_bytes in prop_oneof![Just(u64::MAX), 1_u64..100_000],
    ) {
        let mut rig = Rig::new();
        let rotation = Some(Rotation { max_bytes, count: u32::MAX, compress: (max_bytes % 2 == 0).then_some(if max_bytes % 4 == 0 { crate::Codec::Zstd } else { crate::Codec::Gzip }), total_bytes: u64::MAX, ..Rotation::default() });
        let texts: Vec<Vec<u8>> = (0..3).map(|worker| text(worker, &lengths)).collect();
        for worker in 0..3 {
            let spec = FileSpec { rotation: rotation.clone(), ..rig.spec(&format!("{worker}.log")) };
            rig.worker(&[spec]);
        }
        let sent = perform(&mut rig, &acts, &texts);
        for worker in 0..3 {
            prop_assert!(rig.read_all(&format!("{worker}.log")) == texts[worker][..sent[worker]], "worker {}", worker);
        }
    }
}
