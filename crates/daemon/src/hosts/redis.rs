//! The store in Redis or Valkey. Each question is one script, so that the token and what it stands for cannot be told
//! apart by whatever happens in between. All names of a prefix share a hash tag: a cluster keeps them on one node.

use std::cell::RefCell;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue};

use super::address::Place;
use super::store::{ANSWER_TIMEOUT, Answer, Asker, Lease, LeaseRequest, Question, millis};

/// The next token: above all before it and above `above`. The first is the time in microseconds, so that a store that has
/// forgotten everything goes on above what it gave. Doubles hold these exactly until the year 2255.
macro_rules! next_token {
    () => {
        "local function next_token(key, above)
           local last = tonumber(redis.call('GET', key) or '0')
           if last == 0 then
             local time = redis.call('TIME')
             last = time[1] * 1000000 + time[2]
           end
           local token = string.format('%.0f', math.max(last, tonumber(above)) + 1)
           redis.call('SET', key, token)
           return token
         end
        "
    };
}

/// `SET name host NX PX kept`, and the token. What is ours already is ours again.
const CLAIM: &str = concat!(
    next_token!(),
    "local time = redis.call('TIME')
     if time[1] * 1000 + time[2] / 1000 > tonumber(ARGV[4]) then return 'late' end
     if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and redis.call('GET', KEYS[1]) ~= ARGV[1] then
       return false
     end
     return next_token(KEYS[2], ARGV[3])"
);

/// A lease is a hash of its holder and token.
const LEASE: &str = concat!(
    next_token!(),
    "local held = redis.call('HMGET', KEYS[1], 'host', 'token')
     if held[1] and held[1] ~= ARGV[1] then
       return {'theirs', held[1]}
     end
     local token = held[2]
     if not token or token ~= ARGV[3] then
       token = next_token(KEYS[2], '0')
       redis.call('HSET', KEYS[1], 'host', ARGV[1], 'token', token)
     end
     redis.call('PEXPIRE', KEYS[1], ARGV[2])
     return {'ours', token}"
);

const RELEASE: &str = "local held = redis.call('HMGET', KEYS[1], 'host', 'token')
     if held[1] == ARGV[1] and held[2] == ARGV[2] then return redis.call('DEL', KEYS[1]) end
     return 0";

/// One connection, made anew after a failure.
pub(crate) struct Redis {
    place: Place,
    connection: RefCell<Option<MultiplexedConnection>>,
}

fn key(asker: &Asker, kind: &str, name: &str) -> String {
    format!("{{{}}}:{kind}:{name}", asker.prefix)
}

impl Redis {
    pub(super) fn new(place: Place) -> Self {
        Self { place, connection: RefCell::new(None) }
    }

    pub(super) async fn ping(&self) -> Result<(), String> {
        self.ask::<String>(&redis::cmd("PING")).await.map(drop)
    }

    pub(super) async fn claim(&self, asker: &Asker, question: &Question) -> Result<Answer, String> {
        let keys = [key(asker, "claim", &question.name), key(asker, "token", "last")];
        let mut script = script(CLAIM, &keys);
        script.arg(&asker.host).arg(millis(question.kept)).arg(question.above).arg(question.until_unix_ms);
        let answer: Option<String> = self.ask(&script).await?;
        Ok(match answer.as_deref() {
            None => Answer::Theirs,
            Some("late") => Answer::TooLate,
            Some(token) => Answer::Ours { token: number(token)? },
        })
    }

    pub(super) async fn lease(&self, asker: &Asker, request: &LeaseRequest<'_>) -> Result<Lease, String> {
        let keys = [key(asker, "lease", request.name), key(asker, "token", "last")];
        let mut script = script(LEASE, &keys);
        script.arg(&asker.host).arg(millis(request.time)).arg(request.renew.unwrap_or(0));
        let (whose, what): (String, String) = self.ask(&script).await?;
        Ok(match whose.as_str() {
            "ours" => Lease::Ours { token: number(&what)? },
            _ => Lease::Theirs { holder: what },
        })
    }

    pub(super) async fn release(&self, asker: &Asker, name: &str, token: u64) -> Result<(), String> {
        let mut script = script(RELEASE, &[key(asker, "lease", name)]);
        script.arg(&asker.host).arg(token);
        self.ask::<u64>(&script).await.map(drop)
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, String> {
        let known = self.connection.borrow().clone();
        let mut connection = match known {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        match command.query_async(&mut connection).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                // An answer that is not understood leaves the connection whole; all else does not.
                if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
                    self.connection.replace(None);
                }
                Err(error.to_string())
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let text = |error: redis::RedisError| error.to_string();
        let client = redis::Client::open(self.place.info().map_err(text)?).map_err(text)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT));
        let connection = client.get_multiplexed_async_connection_with_config(&config).await.map_err(text)?;
        self.connection.replace(Some(connection.clone()));
        Ok(connection)
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("place", &self.place.to_string()).finish_non_exhaustive()
    }
}

fn script(text: &str, keys: &[String]) -> Cmd {
    let mut script = redis::cmd("EVAL");
    script.arg(text).arg(keys.len()).arg(keys);
    script
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("the store answered {text:?} where a number was asked for"))
}
