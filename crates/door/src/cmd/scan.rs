//! KEYS and the SCAN family.

use skep_state::{hashes, keys, sets, zsets};

use crate::call::{Call, integer, is};
use crate::fault::{Done, Fault, SYNTAX, text};
use crate::glob;
use crate::numbers;

/// Keys looked at by default (Redis: the same).
const COUNT: usize = 10;
/// Small collections come at once, as Redis's compact ones do.
const AT_ONCE: usize = 128;

pub(crate) fn keys(c: &mut Call<'_, '_>) -> Done {
    let (pattern, space) = (c.args[1], c.space);
    let view = c.access.view();
    c.out.counted(crate::resp::Reply::array, |out| -> Result<usize, Fault> {
        let mut count = 0;
        let mut from = Vec::new();
        loop {
            let page = keys::scan(&view, space, &from, 4096)?;
            for (key, _) in &page.keys {
                if glob::matches(pattern, key) {
                    out.bulk(key);
                    count += 1;
                }
            }
            match page.next {
                Some(next) => from = next,
                None => return Ok(count),
            }
        }
    })
}

struct Wish {
    from: Vec<u8>,
    count: usize,
    pattern: Option<Vec<u8>>,
    kind: Option<Vec<u8>>,
}

impl Wish {
    fn wants(&self, name: &[u8]) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, name))
    }
}

fn wish(c: &Call<'_, '_>, cursor: usize, with_type: bool) -> Result<Wish, Fault> {
    let number = numbers::integer(c.args[cursor]).and_then(|number| u64::try_from(number).ok());
    let number = number.ok_or(text("ERR invalid cursor"))?;
    let from = if number == 0 { Vec::new() } else { c.door.cursors.place(number) };
    let mut wish = Wish { from, count: COUNT, pattern: None, kind: None };
    let mut options = c.args[cursor + 1..].chunks_exact(2);
    for option in options.by_ref() {
        if is(option[0], "count") {
            let count = integer(option[1])?;
            wish.count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(SYNTAX)?;
        } else if is(option[0], "match") {
            wish.pattern = Some(option[1].to_vec());
        } else if is(option[0], "type") && with_type {
            wish.kind = Some(option[1].to_ascii_lowercase());
        } else {
            return Err(SYNTAX);
        }
    }
    if options.remainder().is_empty() { Ok(wish) } else { Err(SYNTAX) }
}

fn head(c: &mut Call<'_, '_>, next: Option<Vec<u8>>) {
    let number = next.map_or(0, |place| c.door.cursors.remember(place));
    c.out.array(2);
    c.out.text(&number.to_string());
}

pub(crate) fn scan(c: &mut Call<'_, '_>) -> Done {
    let wish = wish(c, 1, true)?;
    let page = keys::scan(&c.access.view(), c.space, &wish.from, wish.count)?;
    head(c, page.next);
    let wanted = |(key, kind): &&(Vec<u8>, skep_state::Kind)| {
        wish.wants(key) && wish.kind.as_ref().is_none_or(|wanted| wanted == kind.name().as_bytes())
    };
    let keys: Vec<_> = page.keys.iter().filter(wanted).collect();
    c.out.array(keys.len());
    for (key, _) in keys {
        c.out.bulk(key);
    }
    Ok(())
}

/// A page of one more than was wished: that one is where the next page begins.
fn cut<T>(page: &mut Vec<T>, most: usize, name: impl Fn(&T) -> Vec<u8>) -> Option<Vec<u8>> {
    (page.len() > most).then(|| page.pop().map(|last| name(&last))).flatten()
}

pub(crate) fn sscan(c: &mut Call<'_, '_>) -> Done {
    let wish = wish(c, 2, false)?;
    let most = wish.count.max(AT_ONCE);
    let mut page = sets::page(&c.access.view(), c.space, c.args[1], &wish.from, most.saturating_add(1))?;
    let next = cut(&mut page, most, Clone::clone);
    head(c, next);
    let members: Vec<_> = page.iter().filter(|member| wish.wants(member)).collect();
    c.out.array(members.len());
    for member in members {
        c.out.bulk(member);
    }
    Ok(())
}

pub(crate) fn hscan(c: &mut Call<'_, '_>) -> Done {
    let wish = wish(c, 2, false)?;
    let most = wish.count.max(AT_ONCE);
    let mut page = hashes::page(&c.access.view(), c.space, c.args[1], &wish.from, most.saturating_add(1))?;
    let next = cut(&mut page, most, |(field, _)| field.clone());
    head(c, next);
    let fields: Vec<_> = page.iter().filter(|(field, _)| wish.wants(field)).collect();
    c.out.array(fields.len() * 2);
    for (field, value) in fields {
        c.out.bulk(field);
        c.out.bulk(value);
    }
    Ok(())
}

pub(crate) fn zscan(c: &mut Call<'_, '_>) -> Done {
    let wish = wish(c, 2, false)?;
    let most = wish.count.max(AT_ONCE);
    let mut page = zsets::page(&c.access.view(), c.space, c.args[1], &wish.from, most.saturating_add(1))?;
    let next = cut(&mut page, most, |scored| scored.member.clone());
    head(c, next);
    let members: Vec<_> = page.iter().filter(|scored| wish.wants(&scored.member)).collect();
    c.out.array(members.len() * 2);
    for scored in members {
        c.out.bulk(&scored.member);
        c.out.text(&numbers::double(scored.score));
    }
    Ok(())
}
