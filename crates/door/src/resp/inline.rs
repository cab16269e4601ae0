//! Inline commands: a line of words, quoted as in redis-cli (`sdssplitargs` of Redis).

use std::ops::Range;

/// Tells where the words of a line are, if none needs a closer look; false: nothing was told.
pub(crate) fn plain(line: &[u8], mut tell: impl FnMut(Range<usize>)) -> bool {
    if line.iter().any(|byte| matches!(byte, 0 | 0x0b | 0x0c | b'"' | b'\'')) {
        return false;
    }
    let mut begin = None;
    for (at, byte) in line.iter().chain(b" ").enumerate() {
        match (ends_word(*byte), begin) {
            (true, Some(from)) => {
                tell(from..at);
                begin = None;
            }
            (false, None) => begin = Some(at),
            (true, None) | (false, Some(_)) => {}
        }
    }
    true
}

fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The words of a line; `None`: its quotes are not balanced.
pub(crate) fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    // A text of C's: it ends with its first zero.
    let mut rest = line.split(|byte| *byte == 0).next().unwrap_or_default();
    loop {
        while let Some((first, more)) = rest.split_first()
            && (first.is_ascii_whitespace() || *first == 0x0b)
        {
            rest = more;
        }
        if rest.is_empty() {
            return Some(words);
        }
        let (word, more) = word(rest)?;
        words.push(word);
        rest = more;
    }
}

fn word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    while let Some((first, more)) = rest.split_first() {
        match first {
            first if ends_word(*first) => break,
            b'"' => return quoted(word, more),
            b'\'' => return literal(word, more),
            other => word.push(*other),
        }
        rest = more;
    }
    Some((word, rest))
}

/// A closing quote must be followed by a space or the end.
fn closed(word: Vec<u8>, rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    rest.first().is_none_or(u8::is_ascii_whitespace).then_some((word, rest))
}

fn quoted(mut word: Vec<u8>, mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    loop {
        match rest {
            [b'\\', b'x', high, low, more @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
                word.push(digit(*high) * 16 + digit(*low));
                rest = more;
            }
            [b'\\', escaped, more @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = more;
            }
            [b'"', more @ ..] => return closed(word, more),
            [byte, more @ ..] => {
                word.push(*byte);
                rest = more;
            }
            [] => return None,
        }
    }
}

fn literal(mut word: Vec<u8>, mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    loop {
        match rest {
            [b'\\', b'\'', more @ ..] => {
                word.push(b'\'');
                rest = more;
            }
            [b'\'', more @ ..] => return closed(word, more),
            [byte, more @ ..] => {
                word.push(*byte);
                rest = more;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{plain, words};

    #[test]
    fn words_are_split_as_redis_cli_quotes_them() {
        let split = |line: &[u8]| {
            words(line).map(|words| {
                words.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect::<Vec<_>>()
            })
        };
        assert_eq!(split(b"set  k v"), Some(vec!["set".into(), "k".into(), "v".into()]));
        assert_eq!(split(br#"set "a\x41\n" 'b\'c'"#), Some(vec!["set".into(), "aA\n".into(), "b'c".into()]));
        assert_eq!(split(br#""a"b"#), None);
        assert_eq!(split(b"'open"), None);
        assert_eq!(split(b"   "), Some(vec![]));
        assert_eq!(split(b"a\0b"), Some(vec!["a".into()]));
        assert_eq!(split(b"\x0c\x0ba\x0cb"), Some(vec!["a\x0cb".into()]));
    }

    proptest! {
        #[test]
        fn a_plain_line_has_the_same_words(line in proptest::collection::vec(prop_oneof![
            Just(b' '), Just(b'\t'), Just(b'\r'), Just(b'a'), Just(b'b'), Just(0x0b), Just(0x0c), Just(0), Just(b'"')
        ], 0..12)) {
            let mut found = Vec::new();
            if plain(&line, |word| found.push(line[word].to_vec())) {
                prop_assert_eq!(Some(found), words(&line));
            } else {
                prop_assert!(found.is_empty());
            }
        }
    }
}
