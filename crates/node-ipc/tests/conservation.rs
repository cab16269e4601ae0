//! Whatever happens on the channel, no connection is lost and none is served twice.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use skep_node_ipc::{ConnId, ConnectionKind, Event, Generation, Session};

const KEY: &str = "null:3000:4:undefined";

/// A worker as Node behaves: it answers in order, and an ACK comes before the cluster's answer.
#[derive(Debug, Default)]
struct FakeWorker {
    to_us: Vec<u8>,
    /// Lines under way to it.
    inbox: VecDeque<(String, Option<u32>)>,
    /// Connections that it reads from.
    serving: Vec<u32>,
}

#[derive(Debug, Clone)]
enum Step {
    /// A connection is given to the session.
    Give,
    /// The oldest unwritten line is written.
    Write,
    /// The worker takes the oldest line: accepts, refuses, or has no descriptor free.
    Take(Mood),
    /// We read what the worker wrote, up to this share of it (of 255).
    Read(u8),
    /// The daemon is killed. What was not written is lost with it; the rest goes on.
    Crash,
}

#[derive(Debug, Clone, Copy)]
enum Mood {
    Accept,
    Refuse,
    NoDescriptor,
}

fn steps(with_crashes: bool) -> impl Strategy<Value = Vec<Step>> {
    let mood = prop_oneof![4 => Just(Mood::Accept), 1 => Just(Mood::Refuse), 1 => Just(Mood::NoDescriptor)];
    let step = prop_oneof![
        3 => Just(Step::Give),
        4 => Just(Step::Write),
        4 => mood.prop_map(Step::Take),
        3 => any::<u8>().prop_map(Step::Read),
        u32::from(with_crashes) => Just(Step::Crash),
    ];
    prop::collection::vec(step, 0..120)
}

struct World {
    session: Session<u32>,
    worker: FakeWorker,
    generation: u32,
    given: u32,
    /// Came back to us, by descriptor.
    back: BTreeMap<u32, usize>,
    accepted: BTreeMap<u32, usize>,
    /// Unwritten when a daemon was killed.
    lost: usize,
}

impl World {
    fn new() -> Self {
        let mut session = Session::new(Generation(1));
        let asks = concat!(
            r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":null,"#,
            r#""port":3000,"addressType":4,"flags":0,"backlog":0,"seq":1}"#,
            "\n"
        );
        session.receive(asks.as_bytes(), []);
        session.reply_round_robin(1, None, None);
        session.frame_written();
        Self {
            session,
            worker: FakeWorker::default(),
            generation: 1,
            given: 0,
            back: BTreeMap::new(),
            accepted: BTreeMap::new(),
            lost: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Give => {
                let fd = self.given;
                self.given += 1;
                let sent =
                    self.session.send_connection(KEY, ConnId(u64::from(fd)), fd, ConnectionKind::Fresh);
                assert!(sent.is_ok());
            }
            Step::Write => {
                let Some(frame) = self.session.next_frame() else { return };
                let line = String::from_utf8(frame.line.to_vec()).expect("text");
                self.worker.inbox.push_back((line, frame.fd.copied()));
                self.session.frame_written();
            }
            Step::Take(mood) => self.take(*mood),
            Step::Read(share) => {
                let upto = self.worker.to_us.len() * usize::from(*share) / 255;
                let window = self.worker.to_us[..upto].to_vec();
                let received = self.session.receive(&window, []);
                self.worker.to_us.drain(..received.consumed);
                self.hear(received.events);
            }
            Step::Crash => {
                while self.session.next_frame().is_some() {
                    self.lost += 1;
                    self.session.frame_written();
                }
                self.generation += 1;
                let stored = serde_json::to_string(self.session.state()).expect("plain data");
                let state = serde_json::from_str(&stored).expect("written by us");
                self.session = Session::restore(state, Generation(self.generation));
            }
        }
    }

    fn take(&mut self, mood: Mood) {
        let Some((line, fd)) = self.worker.inbox.pop_front() else { return };
        let fd = fd.expect("only connections are sent here");
        let seq = line.split("\"seq\":").nth(1).and_then(|rest| rest.split('}').next()).expect("a seq");
        let (ack, accepted) = match mood {
            Mood::NoDescriptor => ("NODE_HANDLE_NACK", None),
            Mood::Accept => ("NODE_HANDLE_ACK", Some(true)),
            Mood::Refuse => ("NODE_HANDLE_ACK", Some(false)),
        };
        self.worker.to_us.extend_from_slice(format!("{{\"cmd\":\"{ack}\"}}\n").as_bytes());
        if let Some(accepted) = accepted {
            let answer =
                format!("{{\"cmd\":\"NODE_CLUSTER\",\"ack\":{seq},\"accepted\":{accepted},\"seq\":5}}\n");
            self.worker.to_us.extend_from_slice(answer.as_bytes());
            if accepted {
                self.worker.serving.push(fd);
            }
        }
    }

    fn hear(&mut self, events: Vec<Event<u32>>) {
        for event in events {
            match event {
                Event::Accepted(conn, _) => {
                    *self.accepted.entry(u32::try_from(conn.0).expect("small")).or_default() += 1;
                }
                Event::Returned(returned) => {
                    assert_eq!(u64::from(returned.fd), returned.conn.0);
                    *self.back.entry(returned.fd).or_default() += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// The worker reads everything and dies.
    fn end(&mut self) {
        while self.session.next_frame().is_some() {
            self.step(&Step::Write);
        }
        while !self.worker.inbox.is_empty() {
            self.step(&Step::Take(Mood::Accept));
        }
        self.step(&Step::Read(255));
        for returned in self.session.reclaim() {
            *self.back.entry(returned.fd).or_default() += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_connection_is_served_by_the_worker_or_comes_back_and_never_both(steps in steps(false)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.end();
        for fd in 0..world.given {
            let served = world.worker.serving.iter().filter(|served| **served == fd).count();
            let back = world.back.get(&fd).copied().unwrap_or(0);
            prop_assert_eq!(served + back, 1, "connection {} of {}", fd, world.given);
            prop_assert_eq!(world.accepted.get(&fd).copied().unwrap_or(0), served);
        }
    }

    #[test]
    fn even_with_daemons_killed_at_any_time_no_connection_is_served_and_given_again(steps in steps(true)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.end();
        for fd in 0..world.given {
            let served = world.worker.serving.iter().filter(|served| **served == fd).count();
            let back = world.back.get(&fd).copied().unwrap_or(0);
            prop_assert!(served + back <= 1, "connection {} served {} and back {}", fd, served, back);
        }
    }
}
