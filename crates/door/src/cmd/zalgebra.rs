//! Sorted sets (and plain sets, whose members count 1) put together.

use std::collections::BTreeMap;

use skep_state::zsets::{self, Order, Scored};
use skep_state::{Kind, keys, sets};

use crate::call::{Call, is};
use crate::cmd::sets::card_args;
use crate::cmd::zranges::store;
use crate::cmd::zsets::tell_scored;
use crate::fault::{Done, Fault, SYNTAX, say, text};
use crate::numbers;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algebra {
    Union,
    Inter,
    Diff,
}

/// What becomes of two scores of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn join(self, a: f64, b: f64) -> f64 {
        match self {
            // Infinity and its negative: Redis says 0.
            Self::Sum => Some(a + b).filter(|sum| !sum.is_nan()).unwrap_or(0.0),
            Self::Min => a.min(b),
            Self::Max => a.max(b),
        }
    }
}

fn members(c: &Call<'_, '_>, key: &[u8]) -> Result<BTreeMap<Vec<u8>, f64>, Fault> {
    let view = c.access.view();
    let Some(info) = keys::info(&view, c.space, key)? else { return Ok(BTreeMap::new()) };
    if info.kind == Kind::Set {
        let mut members = BTreeMap::new();
        sets::each(&view, c.space, key, |member| {
            members.insert(member.to_vec(), 1.0);
            Ok(())
        })?;
        return Ok(members);
    }
    let all = zsets::range(&view, c.space, key, 0, usize::MAX, Order::Ascending)?;
    Ok(all.into_iter().map(|scored| (scored.member, scored.score)).collect())
}

/// `numkeys key… [WEIGHTS …] [AGGREGATE …] [WITHSCORES]` from `at` on.
struct Wish<'a> {
    names: Vec<&'a [u8]>,
    weights: Vec<f64>,
    aggregate: Aggregate,
    scores: bool,
}

fn wish<'a>(c: &Call<'a, '_>, at: usize, how: Algebra, stored: bool) -> Result<Wish<'a>, Fault> {
    let name = String::from_utf8_lossy(c.args[0]).to_lowercase();
    let count = crate::call::integer(c.args[at])?;
    if count < 1 {
        return Err(say(format!("ERR at least 1 input key is needed for '{name}' command")));
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > c.args.len() - at - 1 {
        return Err(SYNTAX);
    }
    let names = c.args[at + 1..at + 1 + count].to_vec();
    let mut wish = Wish { names, weights: vec![1.0; count], aggregate: Aggregate::Sum, scores: false };
    let mut rest = &c.args[at + 1 + count..];
    while let Some((word, more)) = rest.split_first() {
        rest = more;
        if how != Algebra::Diff && is(word, "weights") && more.len() >= count {
            for (weight, given) in wish.weights.iter_mut().zip(more) {
                *weight = numbers::float(given).ok_or(text("ERR weight value is not a float"))?;
            }
            rest = &more[count..];
        } else if how != Algebra::Diff && is(word, "aggregate") && !more.is_empty() {
            wish.aggregate = match more[0] {
                word if is(word, "sum") => Aggregate::Sum,
                word if is(word, "min") => Aggregate::Min,
                word if is(word, "max") => Aggregate::Max,
                _ => return Err(SYNTAX),
            };
            rest = &more[1..];
        } else if !stored && is(word, "withscores") {
            wish.scores = true;
        } else {
            return Err(SYNTAX);
        }
    }
    Ok(wish)
}

fn combine(c: &Call<'_, '_>, wish: &Wish<'_>, how: Algebra) -> Result<Vec<Scored>, Fault> {
    let mut all: Vec<BTreeMap<Vec<u8>, f64>> = Vec::with_capacity(wish.names.len());
    for key in &wish.names {
        all.push(members(c, key)?);
    }
    let weighted =
        |score: f64, weight: f64| Some(score * weight).filter(|score| !score.is_nan()).unwrap_or(0.0);
    let mut sets = all.into_iter().zip(&wish.weights);
    let Some((first, weight)) = sets.next() else { return Ok(Vec::new()) };
    let weight = if how == Algebra::Diff { 1.0 } else { *weight };
    let mut result: BTreeMap<Vec<u8>, f64> =
        first.into_iter().map(|(member, score)| (member, weighted(score, weight))).collect();
    for (set, weight) in sets {
        match how {
            Algebra::Union => {
                for (member, score) in set {
                    let score = weighted(score, *weight);
                    result
                        .entry(member)
                        .and_modify(|before| *before = wish.aggregate.join(*before, score))
                        .or_insert(score);
                }
            }
            Algebra::Inter => result.retain(|member, before| match set.get(member) {
                Some(score) => {
                    *before = wish.aggregate.join(*before, weighted(*score, *weight));
                    true
                }
                None => false,
            }),
            Algebra::Diff => result.retain(|member, _| !set.contains_key(member)),
        }
    }
    let mut members: Vec<Scored> =
        result.into_iter().map(|(member, score)| Scored { member, score }).collect();
    members.sort_by(|a, b| a.score.total_cmp(&b.score).then_with(|| a.member.cmp(&b.member)));
    Ok(members)
}

fn tell(c: &mut Call<'_, '_>, how: Algebra) -> Done {
    let wish = wish(c, 1, how, false)?;
    let members = combine(c, &wish, how)?;
    tell_scored(c, &members, wish.scores, true);
    Ok(())
}

fn put(c: &mut Call<'_, '_>, how: Algebra, event: &str) -> Done {
    let wish = wish(c, 2, how, true)?;
    let members = combine(c, &wish, how)?;
    store(c, c.args[1], &members, event)
}

pub(crate) fn zunion(c: &mut Call<'_, '_>) -> Done {
    tell(c, Algebra::Union)
}

pub(crate) fn zinter(c: &mut Call<'_, '_>) -> Done {
    tell(c, Algebra::Inter)
}

pub(crate) fn zdiff(c: &mut Call<'_, '_>) -> Done {
    tell(c, Algebra::Diff)
}

pub(crate) fn zunionstore(c: &mut Call<'_, '_>) -> Done {
    put(c, Algebra::Union, "zunionstore")
}

pub(crate) fn zinterstore(c: &mut Call<'_, '_>) -> Done {
    put(c, Algebra::Inter, "zinterstore")
}

pub(crate) fn zdiffstore(c: &mut Call<'_, '_>) -> Done {
    put(c, Algebra::Diff, "zdiffstore")
}

pub(crate) fn zintercard(c: &mut Call<'_, '_>) -> Done {
    let (names, limit) = card_args(c.args, "zintercard")?;
    let count = names.len();
    let wish = Wish { names, weights: vec![1.0; count], aggregate: Aggregate::Sum, scores: false };
    let found = combine(c, &wish, Algebra::Inter)?.len();
    c.out.size(found.min(limit) as u64);
    Ok(())
}
