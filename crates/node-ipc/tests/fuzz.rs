//! Garbage and near-garbage: a worker can write anything, and must never bring the primary down.

use skep_node_ipc::{Address, ConnId, ConnectionKind, Event, Generation, Session, UvErrno};

const SEEDS: &[&str] = &[
    r#"{"cmd":"NODE_CLUSTER","act":"online","seq":0}"#,
    r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":null,"port":0,"addressType":4,"flags":0,"backlog":0,"seq":1}"#,
    r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":{"ticketKeys":"00"},"address":"::1","port":3000,"addressType":6,"fd":null,"flags":1,"backlog":false,"seq":2}"#,
    r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":1,"data":null,"address":"/a/b.sock","port":-1,"addressType":-1,"readableAll":true,"seq":3}"#,
    r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":"0.0.0.0","port":0,"addressType":"udp4","fd":-1,"flags":4,"seq":4}"#,
    r#"{"cmd":"NODE_CLUSTER","act":"listening","index":0,"data":null,"address":null,"port":40123,"addressType":4,"flags":0,"backlog":0,"seq":5}"#,
    r#"{"cmd":"NODE_CLUSTER","act":"close","key":"null:0:4:undefined:0","seq":6}"#,
    r#"{"cmd":"NODE_CLUSTER","ack":4294967296,"accepted":true,"seq":7}"#,
    r#"{"cmd":"NODE_CLUSTER","ack":4294967297,"accepted":false,"seq":8}"#,
    r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":9}"#,
    r#"{"cmd":"NODE_HANDLE_ACK"}"#,
    r#"{"cmd":"NODE_HANDLE_NACK"}"#,
    r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"a":1},"key":"6::::3000"}"#,
    r#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_SKEP","act":"conn","server":{"address":"::","port":40123}}}"#,
    r#"{"cmd":"NODE_SKEP","act":"hello","v":1,"pid":4711,"node":"22.23.3","cluster":true}"#,
    r#"{"cmd":"NODE_SKEP","act":"listening","server":{"path":"/a"}}"#,
    r#"{"cmd":"NODE_SKEP","act":"accepted","ack":1,"accepted":true}"#,
    r#"{"cmd":"NODE_FUTURE","x":[1,2,{"y":null}]}"#,
    "\u{2}{\"cmd\":\"NODE_CLUSTER\",\"act\":\"online\",\"seq\":0}",
    r#"[1,"zwei",{"drei":3.5e300}]"#,
    r#""ready""#,
];

/// How many mutated inputs; a release of a fuzzing campaign into everyone's `cargo test`.
const INPUTS: u64 = 1_000_000;
/// Inputs that one session sees before a fresh one is taken.
const INPUTS_A_SESSION: u64 = 64;

/// xorshift64*: repeatable, and fast enough in a debug build.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() >> 33).expect("31 bits") % bound
    }
}

fn mutate(line: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..dice.below(4) {
        if line.is_empty() {
            return;
        }
        let at = dice.below(line.len());
        match dice.below(7) {
            0 => line[at] = dice.roll().to_le_bytes()[0],
            1 => {
                line.remove(at);
            }
            2 => line.insert(at, b"\"{}[],:\\\n0-e\x02\xff"[dice.below(14)]),
            3 => line.truncate(at),
            4 => {
                let piece: Vec<u8> = line[at..line.len().min(at + 9)].to_vec();
                let to = dice.below(line.len());
                line.splice(to..to, piece);
            }
            5 => line[at] ^= 1 << dice.below(8),
            _ => {
                let other = SEEDS[dice.below(SEEDS.len())].as_bytes();
                let from = dice.below(other.len());
                line.splice(at.., other[from..].iter().copied());
            }
        }
    }
}

fn answer(session: &mut Session<u32>, events: Vec<Event<u32>>, dice: &mut Dice) {
    for event in events {
        let Event::Query(query) = event else { continue };
        assert!(query.backlog > 0);
        match (&query.address, dice.below(3)) {
            (Address::Fd(_), _) | (_, 0) => session.reply_error(query.seq, UvErrno::BAD_DESCRIPTOR, None),
            (_, 1) => session.reply_round_robin(query.seq, None, query.data.as_deref()),
            (_, _) => drop(session.reply_shared(query.seq, 7, query.data.as_deref())),
        }
        let _ = session.send_connection(&query.key, ConnId(query.seq), 8, ConnectionKind::Fresh);
    }
}

#[test]
fn a_million_mutated_lines_never_panic_and_every_answer_is_a_line() {
    let mut dice = Dice(0x5EED);
    let mut line = Vec::new();
    let mut stored = String::new();
    for _ in 0..INPUTS / INPUTS_A_SESSION {
        let mut session: Session<u32> = if stored.is_empty() {
            Session::new(Generation(1))
        } else {
            let state = serde_json::from_str(&stored).expect("what was stored can be read");
            Session::restore(state, Generation(2))
        };
        for _ in 0..INPUTS_A_SESSION {
            line.clear();
            line.extend_from_slice(SEEDS[dice.below(SEEDS.len())].as_bytes());
            mutate(&mut line, &mut dice);
            line.push(b'\n');
            let received = session.receive(&line, (dice.below(3) == 0).then_some(9));
            assert_eq!(received.consumed, line.len());
            answer(&mut session, received.events, &mut dice);
            while let Some(frame) = session.next_frame() {
                assert_eq!(memchr::memchr(b'\n', frame.line), Some(frame.line.len() - 1), "one line, whole");
                session.frame_written();
            }
        }
        stored.clear();
        if dice.below(4) == 0 {
            stored = serde_json::to_string(session.state()).expect("plain data");
        }
    }
}

#[test]
fn pure_noise_never_panics() {
    let mut dice = Dice(42);
    for _ in 0..20_000 {
        let mut session: Session<u32> = Session::new(Generation(1));
        let noise: Vec<u8> = (0..dice.below(300)).map(|_| dice.roll().to_le_bytes()[0]).collect();
        let received = session.receive(&noise, [1, 2, 3]);
        assert!(received.consumed <= noise.len());
    }
}
