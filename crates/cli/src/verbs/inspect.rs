//! JSON as a JavaScript literal, the way Node's `util.inspect` prints it: scripts search PM2's `prettylist` for
//! `name: 'web'`.

use serde_json::Value;

/// Columns that a value on one line may take, its indentation included.
const LINE_WIDTH: usize = 80;
/// Values that nest deeper than this are never on one line.
const COMPACT_DEPTH: usize = 3;

/// The literal.
pub(crate) fn inspect(value: &Value) -> String {
    render(value, 0).0
}

/// The text, and how deep it nests.
fn render(value: &Value, indent: usize) -> (String, usize) {
    let (open, close, entries): (_, _, Vec<(String, usize)>) = match value {
        Value::Array(items) => ('[', ']', items.iter().map(|item| render(item, indent + 2)).collect()),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                let (text, depth) = render(value, indent + 2);
                (format!("{}: {text}", key(name)), depth)
            };
            ('{', '}', fields.iter().map(field).collect())
        }
        Value::String(text) => return (quoted(text), 0),
        Value::Null | Value::Bool(_) | Value::Number(_) => return (value.to_string(), 0),
    };
    if entries.is_empty() {
        return (format!("{open}{close}"), 1);
    }
    let depth = 1 + entries.iter().map(|(_, depth)| *depth).max().unwrap_or_default();
    let texts: Vec<String> = entries.into_iter().map(|(text, _)| text).collect();
    // As in reduceToSingleString of lib/internal/util/inspect.js.
    let width: usize =
        texts.iter().map(|text| text.chars().count()).sum::<usize>() + 2 * texts.len() + indent + 11;
    if depth <= COMPACT_DEPTH && width <= LINE_WIDTH && !texts.iter().any(|text| text.contains('\n')) {
        return (format!("{open} {} {close}", texts.join(", ")), depth);
    }
    let inner = " ".repeat(indent + 2);
    (format!("{open}\n{inner}{}\n{}{close}", texts.join(&format!(",\n{inner}")), " ".repeat(indent)), depth)
}

/// So many numbers stand on one line; more are laid out as a table.
const ON_ONE_LINE: usize = 6;
/// The widest such table.
const COLUMNS_MAX: u32 = 12;

/// An array of numbers, as `console.log` prints it.
pub(crate) fn numbers(all: &[u32]) -> String {
    let words: Vec<String> = all.iter().map(u32::to_string).collect();
    match words.len() {
        0 => "[]".to_owned(),
        1..=ON_ONE_LINE => format!("[ {} ]", words.join(", ")),
        _ => table(&words),
    }
}

/// As in groupArrayElements of lib/internal/util/inspect.js: nearly a square.
fn table(words: &[String]) -> String {
    let longest = words.iter().map(String::len).max().unwrap_or_default() + 2;
    let whole: usize = words.iter().map(|word| word.len() + 2).sum();
    let (count, longest, whole) = (small(words.len()), small(longest), small(whole));
    let biased = (longest - 3.0 - (longest - whole / count).sqrt()).max(1.0);
    let wanted = ((2.5 * biased * count).sqrt() / biased).round();
    let columns =
        (1..COLUMNS_MAX).find(|columns| f64::from(*columns) >= wanted).unwrap_or(COLUMNS_MAX) as usize;
    let width =
        |column: usize| words.iter().skip(column).step_by(columns).map(String::len).max().unwrap_or_default();
    let row = |row: &[String]| {
        let cells = row.iter().enumerate().map(|(column, word)| format!("{word:>0$}", width(column)));
        cells.collect::<Vec<_>>().join(", ")
    };
    format!("[\n  {}\n]", words.chunks(columns).map(row).collect::<Vec<_>>().join(",\n  "))
}

fn small(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

fn key(name: &str) -> String {
    let mut chars = name.chars();
    let starts =
        chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_' || first == '$');
    if starts && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$') {
        name.to_owned()
    } else {
        quoted(name)
    }
}

fn quoted(text: &str) -> String {
    let quote = match (text.contains('\''), text.contains('"'), text.contains('`')) {
        (false, _, _) => '\'',
        (true, false, _) => '"',
        (true, true, false) => '`',
        (true, true, true) => '\'',
    };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\x{:02X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn small_values_stand_on_one_line_and_large_ones_on_many() {
        assert_eq!(inspect(&json!([])), "[]");
        assert_eq!(inspect(&json!({"a": [0, 1], "b-c": "it's"})), r#"{ a: [ 0, 1 ], 'b-c': "it's" }"#);
        let large = json!([{ "name": "web", "text": "x".repeat(70) }]);
        let expected = format!("[\n  {{\n    name: 'web',\n    text: '{}'\n  }}\n]", "x".repeat(70));
        assert_eq!(inspect(&large), expected);
        assert_eq!(inspect(&json!({"a": {"b": {"c": {}}}})), "{\n  a: { b: { c: {} } }\n}");
    }

    #[test]
    fn many_numbers_are_laid_out_as_nodes() {
        let upto = |count: u32| numbers(&(0..count).collect::<Vec<_>>());
        assert_eq!(upto(0), "[]");
        assert_eq!(upto(6), "[ 0, 1, 2, 3, 4, 5 ]");
        assert_eq!(upto(7), "[\n  0, 1, 2, 3,\n  4, 5, 6\n]");
        assert_eq!(upto(12), "[\n   0,  1, 2, 3, 4,\n   5,  6, 7, 8, 9,\n  10, 11\n]");
        assert_eq!(numbers(&[1, 2, 3, 4, 5, 6, 1000]), "[\n  1, 2,    3, 4,\n  5, 6, 1000\n]");
        assert_eq!(upto(99).lines().nth(1).unwrap(), "   0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11,");
        assert_eq!(upto(40).lines().count(), 6);
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(inspect(&json!("a\n\u{1b}'\"`\\")), r#"'a\n\x1B\'"`\\'"#);
        assert_eq!(inspect(&json!("'\"")), "`'\"`");
    }
}
