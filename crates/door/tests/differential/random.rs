//! Commands by chance, over few keys and values, so that they meet.

/// A seeded generator: a failure can be repeated.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[usize::try_from(self.below(words.len() as u64)).expect("small")]
    }
}

/// `K` a key, `M` a member, `V` a value, `I` a whole number, `F` a number, `S` a bound of scores, `L` one of names,
/// `P` a count, `D` an id of a stream; `a|b` one of both; the rest is itself.
const SHAPES: &[&str] = &[
    "set K V",
    "set K I",
    "set K V nx|xx",
    "set K V get",
    "set K V ex 100",
    "set K V keepttl",
    "get K",
    "getset K V",
    "append K V",
    "strlen K",
    "setrange K P V",
    "getrange K I I",
    "incr K",
    "incrby K I",
    "decrby K I",
    "incrbyfloat K F",
    "mget K K K",
    "mset K V K V",
    "msetnx K V K V",
    "getdel K",
    "setnx K V",
    "del K",
    "exists K K",
    "type K",
    "rename K K",
    "renamenx K K",
    "copy K K",
    "copy K K replace",
    "expire K 100 nx|xx",
    "pexpireat K 4102444800000|4102444800001 nx|xx|gt|lt",
    "persist K",
    "setbit K P 0|1",
    "getbit K P",
    "bitcount K",
    "bitcount K I I",
    "bitpos K 0|1",
    "bitop and|or|xor K K K",
    "bitfield K incrby i8|u8|u4 P I",
    "hset K M V",
    "hset K M V M V",
    "hget K M",
    "hgetall K",
    "hdel K M M",
    "hlen K",
    "hincrby K M I",
    "hincrbyfloat K M F",
    "hmget K M M",
    "hexists K M",
    "hsetnx K M V",
    "hkeys K",
    "hvals K",
    "hstrlen K M",
    "lpush K V",
    "rpush K V V V",
    "lpushx K V",
    "lpop K",
    "rpop K",
    "lpop K P",
    "lrange K I I",
    "lrange K 0 -1",
    "llen K",
    "lindex K I",
    "lset K I V",
    "linsert K before|after V V",
    "lrem K I V",
    "ltrim K I I",
    "lpos K V",
    "lpos K V rank I",
    "lpos K V count P rank 1|2|-1|-2",
    "rpoplpush K K",
    "lmove K K left|right left|right",
    "lmpop 2 K K left|right count P",
    "sadd K M",
    "sadd K M M M",
    "srem K M M",
    "smembers K",
    "scard K",
    "sismember K M",
    "smismember K M M",
    "smove K K M",
    "sunion K K",
    "sinter K K",
    "sdiff K K",
    "sunionstore K K K",
    "sinterstore K K K",
    "sdiffstore K K K",
    "sintercard 2 K K limit P",
    "zadd K F M",
    "zadd K F M F M F M",
    "zadd K nx|xx|gt|lt F M",
    "zadd K ch F M",
    "zadd K incr F M",
    "zadd K gt|lt incr F M",
    "zincrby K F M",
    "zscore K M",
    "zmscore K M M",
    "zrank|zrevrank K M",
    "zcard K",
    "zcount K S S",
    "zrange K I I",
    "zrange K I I withscores",
    "zrange K I I rev",
    "zrange K S S byscore",
    "zrange K S S byscore rev limit P I",
    "zrevrange K I I withscores",
    "zrangebyscore K S S",
    "zrangebyscore K S S limit P P",
    "zrevrangebyscore K S S withscores",
    "zrem K M M",
    "zremrangebyrank K I I",
    "zremrangebyscore K S S",
    "zpopmin|zpopmax K",
    "zpopmin|zpopmax K P",
    "zunionstore K 2 K K",
    "zunionstore K 2 K K weights F F",
    "zinterstore K 2 K K aggregate min|max|sum",
    "zdiffstore K 2 K K",
    "zunion 2 K K withscores",
    "zinter 2 K K",
    "zdiff 2 K K withscores",
    "zintercard 2 K K",
    "zrangestore K K I I",
    "zmpop 2 K K min|max count P",
    "zadd lex 0 M",
    "zadd lex 0 M 0 M",
    "zrem lex M",
    "zrangebylex lex L L",
    "zrevrangebylex lex L L",
    "zlexcount lex L L",
    "zremrangebylex lex L L",
    "xadd K D M V",
    "xadd K maxlen P D M V",
    "xlen K",
    "xrange K - +",
    "xrange K D D",
    "xrevrange K + - count P",
    "xdel K D",
    "xtrim K maxlen P",
    "xread count P streams K D",
    "xgroup create K g D",
    "xgroup create K g 0 mkstream",
    "xreadgroup group g M count P streams K >",
    "xreadgroup group g M streams K 0",
    "xack K g D",
    "xpending K g",
    "xinfo groups K",
    "xautoclaim K g M 0 0 count 2 justid",
    "xclaim K g M 0 D justid",
    "pfadd hll1|hll2 M M",
    "pfcount hll1 hll2",
    "pfmerge hll1|hll2 hll2",
    "sort K alpha",
    "sort K",
    "sort K alpha desc limit P P",
    "dbsize",
    "keys *",
    "touch K K",
];

/// Commands that put off what they write, and some that look: `persist` tells whether a key would have expired.
const PUT_OFF: &[&str] = &[
    "set K V",
    "set K V",
    "mset K V K V",
    "mset K V K V K V",
    "lpush K V",
    "rpush K V V",
    "lpop K",
    "lpop K",
    "rpop K",
    "lpop K P",
    "zadd K F M",
    "sadd K M",
    "incr K",
    "expire K 100",
    "persist K",
    "get K",
    "lrange K 0 -1",
    "type K",
    "set K V get",
    "set K V nx",
    "del K",
];

pub(crate) fn command(chance: &mut Chance) -> Vec<Vec<u8>> {
    one_of(chance, SHAPES)
}

pub(crate) fn put_off(chance: &mut Chance) -> Vec<Vec<u8>> {
    one_of(chance, PUT_OFF)
}

fn one_of(chance: &mut Chance, shapes: &[&str]) -> Vec<Vec<u8>> {
    let shape = chance.one_of(shapes);
    shape.split(' ').map(|word| fill(chance, word).into_bytes()).collect()
}

fn fill(chance: &mut Chance, word: &str) -> String {
    match word {
        // Some keys keep to one type, so that more than errors come out; one has any.
        "K" => chance.one_of(&["any", "k1", "k2", "k3", "k4", "k5", "k6", "k7"]).to_owned(),
        "M" => chance.one_of(&["a", "b", "c", "d", "e", "f", "g", ""]).to_owned(),
        "V" => chance.one_of(&["v", "w", "10", "3.5", "", "hello", "-7", "x y"]).to_owned(),
        "I" => chance.one_of(&["0", "1", "2", "-1", "-2", "5", "100", "-100"]).to_owned(),
        "F" => chance.one_of(&["0", "1", "2.5", "-1.25", "3", "1e3", "10"]).to_owned(),
        "S" => chance.one_of(&["-inf", "+inf", "0", "(1", "2.5", "(3", "-1.25"]).to_owned(),
        "L" => chance.one_of(&["-", "+", "[a", "(b", "[c", "(e", "[f"]).to_owned(),
        "P" => chance.one_of(&["0", "1", "2", "3", "7"]).to_owned(),
        "D" => format!("{}-{}", chance.below(40), chance.below(3)),
        other => chance.one_of(&other.split('|').collect::<Vec<_>>()).to_owned(),
    }
}

/// How often a command is given: mostly once.
pub(crate) fn times(chance: &mut Chance) -> usize {
    if chance.below(3) == 0 { 1 + usize::try_from(chance.below(5)).expect("small") } else { 1 }
}
