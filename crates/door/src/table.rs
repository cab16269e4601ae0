//! The table of commands: name, number of arguments, what each needs, where its keys are, what does it.

use std::cell::Cell;
use std::collections::HashMap;

use crate::call::Handler;
use crate::cmd::{
    bits, claims, clients, config, connection, expiry, generic, groups, hashes, hll, incr, info, lists, pops,
    pubsub, reads, replies, scan, scripts, sets, sort, streams, strings, transaction, xinfo, zalgebra,
    zranges, zsets,
};

/// Facts about a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags(u16);

impl Flags {
    /// It looks at the store, in a transaction.
    pub(crate) const STORE: Self = Self(1);
    /// It may change it.
    pub(crate) const WRITE: Self = Self(1 << 1);
    /// It may wait.
    pub(crate) const BLOCKING: Self = Self(1 << 2);
    /// Not from scripts.
    pub(crate) const NO_SCRIPT: Self = Self(1 << 3);
    /// Before the password is given, too.
    pub(crate) const BEFORE_AUTH: Self = Self(1 << 4);
    /// After MULTI it is done at once.
    pub(crate) const NOT_QUEUED: Self = Self(1 << 5);
    /// A subscriber in RESP2 may do it.
    pub(crate) const WHILE_LISTENING: Self = Self(1 << 6);
    /// It makes room: it works in a full store.
    pub(crate) const FREES: Self = Self(1 << 7);
    pub(crate) const ADMIN: Self = Self(1 << 8);
    pub(crate) const PUBSUB: Self = Self(1 << 9);
    /// It looks at a whole database.
    pub(crate) const SLOW: Self = Self(1 << 10);
    /// It puts off what it writes of a collection, for the next one of its kind ([`skep_state::Tx::settle`]), and looks at
    /// nothing else.
    pub(crate) const PUTS_OFF: Self = Self(1 << 11);

    /// It takes no longer than the change of a row for each of its arguments: it may be done while others wait to read, in a group
    /// of transactions ([`skep_state::Store::write_in_group`]).
    pub(crate) const SHORT: Self = Self(1 << 12);

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// It neither waits nor runs long by its nature: it may share a transaction with other clients' commands.
    pub(crate) const fn is_plain(self) -> bool {
        !self.has(Self::BLOCKING.with(Self::NO_SCRIPT).with(Self::SLOW))
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

const READ: Flags = Flags::STORE;
const LOOK: Flags = READ.with(Flags::SHORT);
const WRITE: Flags = Flags::STORE.with(Flags::WRITE);
const EDIT: Flags = WRITE.with(Flags::SHORT);
const AGAIN: Flags = EDIT.with(Flags::PUTS_OFF);
const FREES: Flags = WRITE.with(Flags::FREES);
const DROP: Flags = FREES.with(Flags::SHORT);
const BLOCK: Flags = WRITE.with(Flags::BLOCKING).with(Flags::FREES).with(Flags::NO_SCRIPT);
const ALONE: Flags = Flags(0);
const NOSCRIPT: Flags = Flags::NO_SCRIPT;
const LISTEN: Flags = Flags::NO_SCRIPT.with(Flags::WHILE_LISTENING).with(Flags::PUBSUB);
const GREET: Flags = Flags::NO_SCRIPT.with(Flags::BEFORE_AUTH);
const ADMIN: Flags = Flags::NO_SCRIPT.with(Flags::ADMIN);
const NOW: Flags = Flags::NO_SCRIPT.with(Flags::NOT_QUEUED);

/// Where a command's keys are: first, last (negative: from the end), step. 0: none, or told by arguments.
pub(crate) type Keys = (i8, i8, i8);
const NONE: Keys = (0, 0, 0);
const ONE: Keys = (1, 1, 1);
const TWO: Keys = (1, 2, 1);
const ALL: Keys = (1, -1, 1);
const PAIRS: Keys = (1, -1, 2);

/// A command.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// Its number of words, itself included; negative: at least so many.
    pub(crate) arity: i16,
    pub(crate) flags: Flags,
    pub(crate) keys: Keys,
    pub(crate) run: Handler,
}

impl Command {
    pub(crate) fn takes(&self, words: usize) -> bool {
        let least = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { words >= least } else { words == least }
    }
}

const fn row(name: &'static str, arity: i16, flags: Flags, keys: Keys, run: Handler) -> Command {
    Command { name, arity, flags, keys, run }
}

/// Names are short; hashing them costs as much as comparing two.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Fnv(u64);

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The longest name of a command.
const NAME_BYTES_MAX: usize = 24;

/// Commands found lately, by what their names' bytes come to.
const RECENT: usize = 16;

/// Commands by name.
#[derive(Debug)]
pub(crate) struct Table {
    all: HashMap<&'static [u8], &'static Command, std::hash::BuildHasherDefault<Fnv>>,
    /// A pipeline asks for a few names again and again, always written in the same way.
    recent: [Cell<Option<(u64, &'static Command)>>; RECENT],
}

impl Table {
    pub(crate) fn new() -> Self {
        let all = COMMANDS.iter().map(|command| (command.name.as_bytes(), command)).collect();
        Self { all, recent: Default::default() }
    }

    /// A command by its name in any case.
    pub(crate) fn find(&self, name: &[u8]) -> Option<&'static Command> {
        let Some(number) = number(name) else { return self.look_up(name) };
        let place = &self.recent[(number.wrapping_mul(SPREAD) >> (64 - RECENT.ilog2())) as usize];
        if let Some((of, command)) = place.get()
            && of == number
        {
            return Some(command);
        }
        let found = self.look_up(name)?;
        place.set(Some((number, found)));
        Some(found)
    }

    fn look_up(&self, name: &[u8]) -> Option<&'static Command> {
        let mut lower = [0; NAME_BYTES_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.all.get(&*lower).copied()
    }
}

/// Spreads names over the places of recent ones (the golden ratio, as in Knuth's multiplicative hashing).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A short name as a number, a different one for each.
fn number(name: &[u8]) -> Option<u64> {
    // A byte is left for the length: a name with zeros in it is not the one without.
    if name.len() >= size_of::<u64>() {
        return None;
    }
    Some(name.iter().fold(name.len() as u64, |number, byte| number << 8 | u64::from(*byte)))
}

#[rustfmt::skip]
pub(crate) static COMMANDS: &[Command] = &[
    // Connection
    row("auth", -2, GREET.with(Flags::NOT_QUEUED), NONE, connection::auth),
    row("client", -2, NOSCRIPT, NONE, clients::client),
    row("echo", 2, ALONE, NONE, connection::echo),
    row("hello", -1, GREET, NONE, connection::hello),
    row("ping", -1, ALONE.with(Flags::WHILE_LISTENING), NONE, connection::ping),
    row("quit", -1, GREET.with(Flags::NOT_QUEUED).with(Flags::WHILE_LISTENING), NONE, connection::quit),
    row("reset", 1, GREET.with(Flags::NOT_QUEUED).with(Flags::WHILE_LISTENING), NONE, connection::reset),
    row("select", 2, ALONE, NONE, connection::select),
    // Server
    row("command", -1, ALONE, NONE, replies::command),
    row("config", -2, ADMIN, NONE, config::config),
    row("dbsize", 1, READ.with(Flags::SLOW), NONE, generic::dbsize),
    row("debug", -2, ADMIN, NONE, config::debug),
    row("flushall", -1, FREES.with(Flags::SLOW), NONE, generic::flushall),
    row("flushdb", -1, FREES.with(Flags::SLOW), NONE, generic::flushdb),
    row("info", -1, READ.with(Flags::SLOW), NONE, info::info),
    row("lastsave", 1, ALONE, NONE, info::lastsave),
    row("latency", -2, ADMIN, NONE, config::latency),
    row("lolwut", -1, READ, NONE, info::lolwut),
    row("memory", -2, READ, NONE, info::memory),
    row("role", 1, NOSCRIPT, NONE, info::role),
    row("slowlog", -2, ADMIN, NONE, config::slowlog),
    row("swapdb", 3, WRITE.with(Flags::SLOW), NONE, generic::swapdb),
    row("time", 1, ALONE, NONE, info::time),
    row("wait", 3, NOSCRIPT, NONE, info::wait),
    row("cluster", -2, ALONE, NONE, info::cluster),
    row("readonly", 1, ALONE, NONE, info::cluster),
    row("readwrite", 1, ALONE, NONE, info::cluster),
    // Keys
    row("copy", -3, WRITE, TWO, generic::copy),
    row("del", -2, DROP, ALL, generic::del),
    row("exists", -2, LOOK, ALL, generic::exists),
    row("expire", -3, EDIT, ONE, expiry::expire),
    row("expireat", -3, EDIT, ONE, expiry::expireat),
    row("expiretime", 2, LOOK, ONE, expiry::expiretime),
    row("keys", 2, READ.with(Flags::SLOW), NONE, scan::keys),
    row("move", 3, WRITE, ONE, generic::mv),
    row("object", -2, READ, NONE, generic::object),
    row("persist", 2, EDIT, ONE, expiry::persist),
    row("pexpire", -3, EDIT, ONE, expiry::pexpire),
    row("pexpireat", -3, EDIT, ONE, expiry::pexpireat),
    row("pexpiretime", 2, LOOK, ONE, expiry::pexpiretime),
    row("pttl", 2, LOOK, ONE, expiry::pttl),
    row("randomkey", 1, READ, NONE, generic::randomkey),
    row("rename", 3, WRITE, TWO, generic::rename),
    row("renamenx", 3, WRITE, TWO, generic::renamenx),
    row("scan", -2, READ, NONE, scan::scan),
    row("sort", -2, WRITE, ONE, sort::sort),
    row("sort_ro", -2, READ, ONE, sort::sort_ro),
    row("touch", -2, LOOK, ALL, generic::exists),
    row("ttl", 2, LOOK, ONE, expiry::ttl),
    row("type", 2, LOOK, ONE, generic::kind),
    row("unlink", -2, DROP, ALL, generic::del),
    // Strings
    row("append", 3, EDIT, ONE, strings::append),
    row("decr", 2, AGAIN, ONE, incr::decr),
    row("decrby", 3, AGAIN, ONE, incr::decrby),
    row("get", 2, LOOK, ONE, strings::get),
    row("getdel", 2, DROP, ONE, strings::getdel),
    row("getex", -2, EDIT, ONE, strings::getex),
    row("getrange", 4, LOOK, ONE, strings::getrange),
    row("getset", 3, EDIT, ONE, strings::getset),
    row("incr", 2, AGAIN, ONE, incr::incr),
    row("incrby", 3, AGAIN, ONE, incr::incrby),
    row("incrbyfloat", 3, EDIT, ONE, incr::incrbyfloat),
    row("lcs", -3, READ, TWO, strings::lcs),
    row("mget", -2, LOOK, ALL, strings::mget),
    row("mset", -3, AGAIN, PAIRS, strings::mset),
    row("msetnx", -3, EDIT, PAIRS, strings::msetnx),
    row("psetex", 4, EDIT, ONE, strings::psetex),
    row("set", -3, AGAIN, ONE, strings::set),
    row("setex", 4, EDIT, ONE, strings::setex),
    row("setnx", 3, EDIT, ONE, strings::setnx),
    row("setrange", 4, EDIT, ONE, strings::setrange),
    row("strlen", 2, LOOK, ONE, strings::strlen),
    row("substr", 4, LOOK, ONE, strings::getrange),
    // Bits
    row("bitcount", -2, READ, ONE, bits::bitcount),
    row("bitfield", -2, WRITE, ONE, bits::bitfield),
    row("bitfield_ro", -2, READ, ONE, bits::bitfield_ro),
    row("bitop", -4, WRITE, (2, -1, 1), bits::bitop),
    row("bitpos", -3, READ, ONE, bits::bitpos),
    row("getbit", 3, LOOK, ONE, bits::getbit),
    row("setbit", 4, EDIT, ONE, bits::setbit),
    // HyperLogLog
    row("pfadd", -2, EDIT, ONE, hll::pfadd),
    row("pfcount", -2, READ, ALL, hll::pfcount),
    row("pfmerge", -2, WRITE, ALL, hll::pfmerge),
    // Hashes
    row("hdel", -3, DROP, ONE, hashes::hdel),
    row("hexists", 3, LOOK, ONE, hashes::hexists),
    row("hget", 3, LOOK, ONE, hashes::hget),
    row("hgetall", 2, READ, ONE, hashes::hgetall),
    row("hincrby", 4, EDIT, ONE, hashes::hincrby),
    row("hincrbyfloat", 4, EDIT, ONE, hashes::hincrbyfloat),
    row("hkeys", 2, READ, ONE, hashes::hkeys),
    row("hlen", 2, LOOK, ONE, hashes::hlen),
    row("hmget", -3, LOOK, ONE, hashes::hmget),
    row("hmset", -4, AGAIN, ONE, hashes::hmset),
    row("hrandfield", -2, READ, ONE, hashes::hrandfield),
    row("hscan", -3, READ, ONE, scan::hscan),
    row("hset", -4, AGAIN, ONE, hashes::hset),
    row("hsetnx", 4, EDIT, ONE, hashes::hsetnx),
    row("hstrlen", 3, LOOK, ONE, hashes::hstrlen),
    row("hvals", 2, READ, ONE, hashes::hvals),
    // Lists
    row("blmove", 6, BLOCK, TWO, pops::blmove),
    row("blmpop", -5, BLOCK, NONE, pops::blmpop),
    row("blpop", -3, BLOCK, (1, -2, 1), pops::blpop),
    row("brpop", -3, BLOCK, (1, -2, 1), pops::brpop),
    row("brpoplpush", 4, BLOCK, TWO, pops::brpoplpush),
    row("lindex", 3, READ, ONE, lists::lindex),
    row("linsert", 5, WRITE, ONE, lists::linsert),
    row("llen", 2, LOOK, ONE, lists::llen),
    row("lmove", 5, WRITE, TWO, pops::lmove),
    row("lmpop", -4, FREES, NONE, pops::lmpop),
    row("lpop", -2, AGAIN.with(Flags::FREES), ONE, lists::lpop),
    row("lpos", -3, READ, ONE, lists::lpos),
    row("lpush", -3, AGAIN, ONE, lists::lpush),
    row("lpushx", -3, WRITE, ONE, lists::lpushx),
    row("lrange", 4, READ, ONE, lists::lrange),
    row("lrem", 4, FREES, ONE, lists::lrem),
    row("lset", 4, WRITE, ONE, lists::lset),
    row("ltrim", 4, FREES, ONE, lists::ltrim),
    row("rpop", -2, AGAIN.with(Flags::FREES), ONE, lists::rpop),
    row("rpoplpush", 3, WRITE, TWO, pops::rpoplpush),
    row("rpush", -3, AGAIN, ONE, lists::rpush),
    row("rpushx", -3, WRITE, ONE, lists::rpushx),
    // Sets
    row("sadd", -3, AGAIN, ONE, sets::sadd),
    row("scard", 2, LOOK, ONE, sets::scard),
    row("sdiff", -2, READ, ALL, sets::sdiff),
    row("sdiffstore", -3, WRITE, ALL, sets::sdiffstore),
    row("sinter", -2, READ, ALL, sets::sinter),
    row("sintercard", -3, READ, NONE, sets::sintercard),
    row("sinterstore", -3, WRITE, ALL, sets::sinterstore),
    row("sismember", 3, LOOK, ONE, sets::sismember),
    row("smembers", 2, READ, ONE, sets::smembers),
    row("smismember", -3, LOOK, ONE, sets::smismember),
    row("smove", 4, EDIT, TWO, sets::smove),
    row("spop", -2, DROP, ONE, sets::spop),
    row("srandmember", -2, READ, ONE, sets::srandmember),
    row("srem", -3, DROP, ONE, sets::srem),
    row("sscan", -3, READ, ONE, scan::sscan),
    row("sunion", -2, READ, ALL, sets::sunion),
    row("sunionstore", -3, WRITE, ALL, sets::sunionstore),
    // Sorted sets
    row("bzmpop", -5, BLOCK, NONE, pops::bzmpop),
    row("bzpopmax", -3, BLOCK, (1, -2, 1), pops::bzpopmax),
    row("bzpopmin", -3, BLOCK, (1, -2, 1), pops::bzpopmin),
    row("zadd", -4, AGAIN, ONE, zsets::zadd),
    row("zcard", 2, LOOK, ONE, zsets::zcard),
    row("zcount", 4, READ, ONE, zranges::zcount),
    row("zdiff", -3, READ, NONE, zalgebra::zdiff),
    row("zdiffstore", -4, WRITE, NONE, zalgebra::zdiffstore),
    row("zincrby", 4, AGAIN, ONE, zsets::zincrby),
    row("zinter", -3, READ, NONE, zalgebra::zinter),
    row("zintercard", -3, READ, NONE, zalgebra::zintercard),
    row("zinterstore", -4, WRITE, NONE, zalgebra::zinterstore),
    row("zlexcount", 4, READ, ONE, zranges::zlexcount),
    row("zmpop", -4, FREES, NONE, pops::zmpop),
    row("zmscore", -3, LOOK, ONE, zsets::zmscore),
    row("zpopmax", -2, AGAIN.with(Flags::FREES), ONE, zsets::zpopmax),
    row("zpopmin", -2, AGAIN.with(Flags::FREES), ONE, zsets::zpopmin),
    row("zrandmember", -2, READ, ONE, zsets::zrandmember),
    row("zrange", -4, READ, ONE, zranges::zrange),
    row("zrangebylex", -4, READ, ONE, zranges::zrangebylex),
    row("zrangebyscore", -4, READ, ONE, zranges::zrangebyscore),
    row("zrangestore", -5, WRITE, TWO, zranges::zrangestore),
    row("zrank", 3, READ, ONE, zsets::zrank),
    row("zrem", -3, DROP, ONE, zsets::zrem),
    row("zremrangebylex", 4, FREES, ONE, zranges::zremrangebylex),
    row("zremrangebyrank", 4, FREES, ONE, zranges::zremrangebyrank),
    row("zremrangebyscore", 4, FREES, ONE, zranges::zremrangebyscore),
    row("zrevrange", -4, READ, ONE, zranges::zrevrange),
    row("zrevrangebylex", -4, READ, ONE, zranges::zrevrangebylex),
    row("zrevrangebyscore", -4, READ, ONE, zranges::zrevrangebyscore),
    row("zrevrank", 3, READ, ONE, zsets::zrevrank),
    row("zscan", -3, READ, ONE, scan::zscan),
    row("zscore", 3, LOOK, ONE, zsets::zscore),
    row("zunion", -3, READ, NONE, zalgebra::zunion),
    row("zunionstore", -4, WRITE, NONE, zalgebra::zunionstore),
    // Streams
    row("xack", -4, FREES, ONE, groups::xack),
    row("xadd", -5, WRITE, ONE, streams::xadd),
    row("xautoclaim", -6, WRITE, ONE, claims::xautoclaim),
    row("xclaim", -6, WRITE, ONE, claims::xclaim),
    row("xdel", -3, FREES, ONE, streams::xdel),
    row("xgroup", -2, WRITE, NONE, groups::xgroup),
    row("xinfo", -2, READ, NONE, xinfo::xinfo),
    row("xlen", 2, READ, ONE, streams::xlen),
    row("xpending", -3, READ, ONE, claims::xpending),
    row("xrange", -4, READ, ONE, streams::xrange),
    row("xread", -4, READ.with(Flags::BLOCKING), NONE, reads::xread),
    row("xreadgroup", -7, WRITE.with(Flags::BLOCKING), NONE, reads::xreadgroup),
    row("xrevrange", -4, READ, ONE, streams::xrevrange),
    row("xsetid", -3, WRITE, ONE, streams::xsetid),
    row("xtrim", -4, FREES, ONE, streams::xtrim),
    // Messages
    row("psubscribe", -2, LISTEN, NONE, pubsub::psubscribe),
    row("publish", 3, Flags::PUBSUB, NONE, pubsub::publish),
    row("pubsub", -2, Flags::PUBSUB, NONE, pubsub::pubsub),
    row("punsubscribe", -1, LISTEN, NONE, pubsub::punsubscribe),
    row("spublish", 3, Flags::PUBSUB, ONE, pubsub::spublish),
    row("ssubscribe", -2, LISTEN, ALL, pubsub::ssubscribe),
    row("subscribe", -2, LISTEN, NONE, pubsub::subscribe),
    row("sunsubscribe", -1, LISTEN, ALL, pubsub::sunsubscribe),
    row("unsubscribe", -1, LISTEN, NONE, pubsub::unsubscribe),
    // Transactions
    row("discard", 1, NOW, NONE, transaction::discard),
    row("exec", 1, NOW.with(WRITE), NONE, transaction::exec),
    row("multi", 1, NOW, NONE, transaction::multi),
    row("unwatch", 1, NOSCRIPT, NONE, transaction::unwatch),
    row("watch", -2, NOW.with(READ), ALL, transaction::watch),
    // Scripts
    row("eval", -3, NOSCRIPT.with(WRITE), NONE, scripts::eval),
    row("eval_ro", -3, NOSCRIPT.with(READ), NONE, scripts::eval),
    row("evalsha", -3, NOSCRIPT.with(WRITE), NONE, scripts::evalsha),
    row("evalsha_ro", -3, NOSCRIPT.with(READ), NONE, scripts::evalsha),
    row("script", -2, NOSCRIPT, NONE, scripts::script),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_done_while_readers_wait_neither_waits_nor_takes_long_itself() {
        for command in COMMANDS.iter().filter(|command| command.flags.has(Flags::SHORT)) {
            assert!(command.flags.has(Flags::STORE) && command.flags.is_plain(), "{}", command.name);
        }
        for long in ["smembers", "lrange", "sinterstore", "sort", "exec", "eval", "blpop", "scan", "watch"] {
            let command = COMMANDS.iter().find(|command| command.name == long).expect("it is known");
            assert!(!command.flags.has(Flags::SHORT), "{long}");
        }
    }
}
