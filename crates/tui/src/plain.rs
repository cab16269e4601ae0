//! Text that somebody else wrote, made harmless: a terminal must not obey it.

/// Where an escape sequence stands (ECMA-48).
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Text,
    /// After ESC.
    Escape,
    /// In a control sequence (`ESC [`), up to its final letter.
    Control,
    /// In a string (`ESC ]`, `ESC P` and so on), up to BEL or `ESC \`.
    String,
    /// After ESC within a string.
    StringEscape,
}

/// The text without escape sequences and control characters; tabs are spaces.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = At::Text;
    for c in text.chars() {
        at = match (at, c) {
            (At::Text, '\u{1b}') => At::Escape,
            (At::Text, '\u{9b}') => At::Control,
            (At::Text, '\t') => {
                out.push_str("    ");
                At::Text
            }
            (At::Text, c) if c.is_control() => At::Text,
            (At::Text, c) => {
                out.push(c);
                At::Text
            }
            (At::Escape, '[') => At::Control,
            (At::Escape, ']' | 'P' | 'X' | '^' | '_') => At::String,
            (At::Escape, '\u{1b}') => At::Escape,
            // Intermediates (`ESC ( B`) are followed by one more.
            (At::Escape, ' '..='/') => At::Escape,
            (At::Escape, _) => At::Text,
            (At::Control, '\u{40}'..='\u{7e}') => At::Text,
            (At::Control, '\u{1b}') => At::Escape,
            (At::Control, _) => At::Control,
            (At::String, '\u{7}') => At::Text,
            (At::String, '\u{1b}') => At::StringEscape,
            (At::String, _) => At::String,
            (At::StringEscape, '\\') => At::Text,
            (At::StringEscape, _) => At::String,
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_titles_are_taken_out_and_words_stay() {
        for (raw, clean) in [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("a\tb\rc\u{7}", "a    bc"),
            ("\u{1b}(Bplain", "plain"),
            ("Grüße 漢字", "Grüße 漢字"),
            ("\u{1b}[", ""),
        ] {
            assert_eq!(plain(raw), clean, "{raw:?}");
        }
    }
}
