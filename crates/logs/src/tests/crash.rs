//! A daemon that dies between any two system calls, and then once more while it recovers.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::rig::{Rig, by_worker, lines, time_format};
use crate::crash::{Died, arm};
use crate::{FileSpec, Format, Framing, Rotation};

/// What happens in a run, in this order.
#[derive(Clone, Debug)]
enum Act {
    Write(usize, Vec<u8>),
    Pump(usize),
    Exit(usize),
    Pass(u64),
}

fn line(worker: usize, number: usize, filler: usize) -> Vec<u8> {
    let mut line = format!("w{worker}:{number}:").into_bytes();
    line.extend((0..filler).map(|at| b'a' + u8::try_from((at + number) % 26).expect("small")));
    line.push(b'\n');
    line
}

/// Two workers with short lines, lines in pieces, and lines too long to rest in a pipe.
fn history(last_newline: bool) -> Vec<Act> {
    let mut acts = Vec::new();
    let long = line(0, 2, 40_000);
    let (head, rest) = long.split_at(30_000);
    let (middle, end) = rest.split_at(5_000);
    let mut last = line(1, 3, 20);
    if !last_newline {
        last.pop();
    }
    for (worker, bytes) in [
        (0, line(0, 1, 10)),
        (1, line(1, 1, 5_000)),
        (1, line(1, 2, 3)[..4].to_vec()),
        (0, head.to_vec()),
        (1, line(1, 2, 3)[4..].to_vec()),
        (0, middle.to_vec()),
        (0, [end, &line(0, 3, 0), &line(0, 4, 70)].concat()),
        (1, last),
    ] {
        acts.push(Act::Write(worker, bytes));
        acts.push(Act::Pump(worker));
    }
    acts.extend([Act::Exit(0), Act::Pump(0), Act::Exit(1), Act::Pass(1), Act::Pump(1)]);
    acts
}

fn expected(acts: &[Act]) -> Vec<Vec<Vec<u8>>> {
    (0..2)
        .map(|worker| {
            let bytes: Vec<u8> = acts
                .iter()
                .filter_map(|act| match act {
                    Act::Write(of, bytes) if *of == worker => Some(bytes.clone()),
                    Act::Write(..) | Act::Pump(_) | Act::Exit(_) | Act::Pass(_) => None,
                })
                .flatten()
                .collect();
            bytes.strip_suffix(b"\n").unwrap_or(&bytes).split(|&b| b == b'\n').map(<[u8]>::to_vec).collect()
        })
        .collect()
}

fn perform(rig: &mut Rig, act: &Act) {
    match act {
        // The worker's own doing, which no crash of ours interrupts.
        Act::Write(..) => {}
        Act::Pump(worker) => {
            if !rig.ended(*worker) {
                rig.pump(*worker);
            }
        }
        Act::Exit(worker) => rig.exit(*worker),
        Act::Pass(nanoseconds) => rig.pass(*nanoseconds),
    }
}

/// Performs `acts`, dying after each number of `crashes` system calls. Answers how many were made after the last.
fn run(rig: &mut Rig, acts: &[Act], crashes: &[u32]) -> u32 {
    let mut crashes = crashes.iter().copied();
    arm(Some(crashes.next().unwrap_or(u32::MAX)));
    for act in acts {
        if let Act::Write(worker, bytes) = act {
            // Small enough for the pipe.
            assert_eq!(rig.write_some(*worker, bytes), bytes.len());
        }
        let mut recovering = false;
        loop {
            let result = catch_unwind(AssertUnwindSafe(|| {
                if recovering {
                    rig.restart();
                    rig.settle();
                }
                perform(rig, act);
            }));
            match result {
                Ok(()) => break,
                Err(payload) if payload.is::<Died>() => {
                    recovering = true;
                    arm(Some(crashes.next().unwrap_or(u32::MAX)));
                }
                Err(payload) => resume_unwind(payload),
            }
        }
    }
    let left = arm(None).expect("armed");
    for _ in 0..3 {
        rig.pass(20_000_000_000);
    }
    u32::MAX - left
}

/// Every single crash, and pairs of crashes, must leave what no crash leaves.
fn check(acts: &[Act], specs: &[Vec<FileSpec>], names: &[(&str, &Format, &[usize])], rig: impl Fn() -> Rig) {
    let prepare = || {
        let mut rig = rig();
        for files in specs {
            let files: Vec<FileSpec> = files
                .iter()
                .map(|spec| FileSpec { path: rig.path(spec.path.to_str().expect("utf-8")), ..spec.clone() })
                .collect();
            rig.worker(&files);
        }
        rig
    };
    let expected = expected(acts);
    let verify = |rig: &Rig, crashes: &[u32]| {
        for (name, format, workers) in names {
            let found = by_worker(&lines(&rig.read_all(name), format));
            assert!(
                found.keys().eq(*workers),
                "{name} has lines of {:?} after crashes at {crashes:?}",
                found.keys()
            );
            for (worker, own) in found {
                let brief = |lines: &[Vec<u8>]| -> Vec<(String, usize)> {
                    lines.iter().map(|l| (l[..l.len().min(8)].escape_ascii().to_string(), l.len())).collect()
                };
                assert!(
                    own == expected[worker],
                    "{name} after crashes at {crashes:?}: {:?} instead of {:?}",
                    brief(&own),
                    brief(&expected[worker])
                );
            }
        }
        assert!((0..specs.len()).all(|worker| rig.ended(worker)), "all ended after crashes at {crashes:?}");
    };
    let mut calm = prepare();
    let calls = run(&mut calm, acts, &[]);
    verify(&calm, &[]);
    assert!(calls > 10, "{calls} calls are too few to test anything");
    for crash in 0..calls {
        let mut rig = prepare();
        run(&mut rig, acts, &[crash]);
        verify(&rig, &[crash]);
        for second in (crash % 3..15).step_by(3) {
            let mut rig = prepare();
            run(&mut rig, acts, &[crash, second]);
            verify(&rig, &[crash, second]);
        }
    }
}

fn spec(name: &str, format: &Format) -> FileSpec {
    FileSpec {
        path: name.into(),
        format: format.clone(),
        framing: Framing::Lines,
        rotation: None,
        ..Rig::new().spec(name)
    }
}

#[test]
fn a_raw_file_of_its_own_survives_any_crash_byte_for_byte() {
    let exact = |name| FileSpec { framing: Framing::Exact, ..spec(name, &Format::Raw) };
    check(
        &history(true),
        &[vec![exact("a.log")], vec![exact("b.log")]],
        &[("a.log", &Format::Raw, &[0]), ("b.log", &Format::Raw, &[1])],
        Rig::new,
    );
}

#[test]
fn a_merged_raw_file_survives_any_crash_line_for_line() {
    let file = spec("all.log", &Format::Raw);
    check(
        &history(false),
        &[vec![file.clone()], vec![file]],
        &[("all.log", &Format::Raw, &[0, 1])],
        Rig::new,
    );
}

#[test]
fn prefixed_lines_survive_any_crash() {
    let file = spec("all.log", &time_format());
    check(
        &history(false),
        &[vec![file.clone()], vec![file]],
        &[("all.log", &time_format(), &[0, 1])],
        Rig::new,
    );
}

#[test]
fn json_lines_survive_any_crash() {
    let json = Format::Json(None);
    let file = spec("all.log", &json);
    check(&history(false), &[vec![file.clone()], vec![file]], &[("all.log", &json, &[0, 1])], Rig::new);
}

#[test]
fn a_file_and_a_combined_file_both_survive_any_crash() {
    let json = Format::Json(None);
    let combined = spec("all.log", &json);
    check(
        &history(false),
        &[vec![spec("a.log", &Format::Raw), combined.clone()], vec![spec("b.log", &time_format()), combined]],
        &[("a.log", &Format::Raw, &[0]), ("b.log", &time_format(), &[1]), ("all.log", &json, &[0, 1])],
        Rig::new,
    );
}

#[test]
fn rotation_survives_any_crash() {
    let rotation = Rotation { max_bytes: 3_000, ..Rotation::default() };
    let file = FileSpec { rotation: Some(rotation), ..spec("all.log", &Format::Raw) };
    check(
        &history(false),
        &[vec![file.clone()], vec![file]],
        &[("all.log", &Format::Raw, &[0, 1])],
        Rig::new,
    );
}

#[test]
fn a_stage_smaller_than_a_batch_survives_any_crash() {
    let file = spec("all.log", &time_format());
    check(
        &history(false),
        &[vec![file.clone()], vec![file]],
        &[("all.log", &time_format(), &[0, 1])],
        Rig::with_small_stage,
    );
}
