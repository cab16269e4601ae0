//! The same commands to a real redis-server and to the door: the same answers.

mod common;
#[path = "differential/random.rs"]
mod random;

use common::{Answer, Door, Plain, Redis};

/// Answers whose order means nothing: what Redis gives in the order of its hash tables.
const UNORDERED: [&str; 15] = [
    "smembers", "sunion", "sinter", "sdiff", "keys", "hkeys", "hvals", "hgetall", "scan", "sscan", "hscan",
    "zscan", "pubsub", "spop", "command",
];

/// The same thing said in another way: doubles by their value, unordered answers sorted.
fn plain(command: &str, answer: Answer) -> Answer {
    match answer {
        Answer::List(kind, items) => {
            let mut items: Vec<Answer> = items.into_iter().map(|item| plain(command, item)).collect();
            if matches!(command, "hgetall" | "hscan" | "zscan")
                && kind == '*'
                && items.len().is_multiple_of(2)
            {
                let mut pairs: Vec<String> =
                    items.chunks(2).map(|pair| format!("{:?} {:?}", pair[0], pair[1])).collect();
                pairs.sort();
                return Answer::Other(pairs.join(","));
            }
            if UNORDERED.contains(&command) {
                items.sort_by_key(|item| format!("{item:?}"));
            }
            Answer::List(kind, items)
        }
        Answer::Bulk(bytes) => match number(&bytes) {
            // 7.0 writes 17 digits of a double, 7.2 and the door as few as mean it.
            Some(number) => Answer::Other(format!("number {number:?}")),
            None => Answer::Bulk(bytes),
        },
        Answer::Other(text) => match text.strip_prefix(',').and_then(|text| text.parse::<f64>().ok()) {
            Some(number) => Answer::Other(format!(",{number:?}")),
            None => Answer::Other(text),
        },
        other => other,
    }
}

fn number(bytes: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(bytes).ok()?;
    if !text.contains(['.', 'e']) || !text.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
        return None;
    }
    text.parse().ok()
}

struct Pair {
    redis: Plain,
    door: Plain,
    faults: Vec<String>,
    count: usize,
}

impl Pair {
    fn ask(&mut self, words: &[&[u8]]) {
        self.send(words);
        self.compare(words);
    }

    fn send(&mut self, words: &[&[u8]]) {
        self.redis.send(words);
        self.door.send(words);
    }

    fn compare(&mut self, words: &[&[u8]]) {
        let command = String::from_utf8_lossy(words[0]).to_lowercase();
        let redis = plain(&command, self.redis.answer());
        let door = plain(&command, self.door.answer());
        self.count += 1;
        if redis != door {
            let line: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
            self.faults.push(format!("{}\n    redis: {redis:?}\n    door:  {door:?}", line.join(" ")));
        }
    }

    fn finish(self) {
        let count = self.count;
        assert!(count > 0, "nothing was asked");
        assert!(
            self.faults.is_empty(),
            "{} of {count} answers differ:\n{}",
            self.faults.len(),
            self.faults.iter().take(60).cloned().collect::<Vec<_>>().join("\n")
        );
    }
}

fn pair(redis: &Redis, door: &Door) -> Pair {
    Pair { redis: redis.client(), door: door.client(), faults: Vec::new(), count: 0 }
}

/// A line of words; quoted as for redis-cli.
fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, more) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').expect("a closing quote"),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word.replace("\\n", "\n").replace("\\q", "\"").into_bytes());
        rest = more.trim_start();
    }
    words
}

/// Every `#` line begins anew with an empty database; all other lines are commands.
fn script(text: &str) {
    let (redis, door) = (Redis::start(), Door::open());
    let mut both = pair(&redis, &door);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if line.starts_with('#') {
            both.ask(&[b"flushall"]);
            continue;
        }
        let words = words(line);
        both.ask(&words.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
    both.finish();
}

#[test]
fn strings_and_keys_answer_as_redis_does() {
    script(include_str!("differential/strings.txt"));
}

#[test]
fn hashes_lists_and_sets_answer_as_redis_does() {
    script(include_str!("differential/collections.txt"));
}

#[test]
fn sorted_sets_answer_as_redis_does() {
    script(include_str!("differential/zsets.txt"));
}

#[test]
fn streams_answer_as_redis_does() {
    script(include_str!("differential/streams.txt"));
}

#[test]
fn scripts_answer_as_redis_does() {
    script(include_str!("differential/scripts.txt"));
}

#[test]
fn connections_and_transactions_answer_as_redis_does() {
    script(include_str!("differential/connection.txt"));
}

#[test]
fn random_commands_get_the_same_answers() {
    let (redis, door) = (Redis::start(), Door::open());
    for seed in 1..=4 {
        let mut both = pair(&redis, &door);
        both.ask(&[b"flushall"]);
        if seed % 2 == 0 {
            // The same in RESP3; the greeting itself tells numbers of connections.
            both.redis.say("hello 3");
            both.door.say("hello 3");
        }
        let mut chance = random::Chance(seed);
        for _ in 0..4_000 {
            let words = random::command(&mut chance);
            both.ask(&words.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
        both.finish();
    }
}

/// One transaction does a whole pipeline, and puts off what the next command may make needless.
#[test]
fn pipelines_get_the_same_answers_as_one_command_after_the_other() {
    let (redis, door) = (Redis::start(), Door::open());
    for seed in 11..=18 {
        let mut both = pair(&redis, &door);
        both.ask(&[b"flushall"]);
        let mut chance = random::Chance(seed);
        for _ in 0..200 {
            let mut pipeline: Vec<Vec<Vec<u8>>> = Vec::new();
            for _ in 0..16 {
                let words =
                    if seed < 15 { random::command(&mut chance) } else { random::put_off(&mut chance) };
                // Some come again and again, as those do that fill a list or a board.
                pipeline.extend(std::iter::repeat_n(words, random::times(&mut chance)));
            }
            let lines: Vec<Vec<&[u8]>> =
                pipeline.iter().map(|words| words.iter().map(Vec::as_slice).collect()).collect();
            for words in &lines {
                both.send(words);
            }
            for words in &lines {
                both.compare(words);
            }
        }
        both.finish();
    }
}
