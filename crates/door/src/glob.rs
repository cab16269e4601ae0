//! Patterns as in KEYS and PSUBSCRIBE (`stringmatchlen` of Redis): `*`, `?`, `[a-c]`, `[^a]`, `\x`.

/// Whether `text` matches. Time is bounded by the product of both lengths: a star only ever goes back to the last star.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
            continue;
        }
        if t == text.len() && p >= pattern.len() {
            return true;
        }
        let step = if t < text.len() { one(pattern, p, text[t]) } else { None };
        match (step, star) {
            (Some(next), _) => {
                p = next;
                t += 1;
            }
            (None, Some((after, from))) if from < text.len() => {
                p = after;
                t = from + 1;
                star = Some((after, t));
            }
            (None, _) => return false,
        }
    }
}

/// Matches one byte against what stands at `p`; where the pattern goes on.
fn one(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => class(pattern, p + 1, byte),
        b'\\' if p + 1 < pattern.len() => (pattern[p + 1] == byte).then_some(p + 2),
        literal => (literal == byte).then_some(p + 1),
    }
}

fn class(pattern: &[u8], mut p: usize, byte: u8) -> Option<usize> {
    let negated = pattern.get(p) == Some(&b'^');
    p += usize::from(negated);
    let mut found = false;
    loop {
        match pattern.get(p..).unwrap_or_default() {
            [] => break,
            [b']', ..] => {
                p += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                p += 2;
            }
            [low, b'-', high, ..] => {
                found |= (*low.min(high)..=*low.max(high)).contains(&byte);
                p += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                p += 1;
            }
        }
    }
    (found != negated).then_some(p)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, yes) in [
            ("*", "", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbbd", false),
            ("h?llo", "hello", true),
            ("h[^e]llo", "hello", false),
            ("h[a-e]llo", "hello", true),
            ("h[e-a]llo", "hello", true),
            ("h\\?llo", "h?llo", true),
            ("h\\?llo", "hello", false),
            ("[abc", "a", true),
            ("a[", "a", false),
            ("*a*b*c", "xxaxxbxxc", true),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("\\", "\\", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), yes, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!matches(
            "a*".repeat(64).as_bytes(),
            &[b"a".repeat(5000), b"b".to_vec()].concat()[..5000].iter().map(|_| b'c').collect::<Vec<_>>()
        ));
    }
}
