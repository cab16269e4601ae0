//! The table of attributes in docs/app-file.md.

use super::attribute::{ALIASES, TRANSLATED, WITHOUT_EFFECT};
use super::fields::fields;

/// Every attribute in Markdown.
pub fn table() -> String {
    let mut text = String::from("| attribute | also | what it is | what it may be |\n|---|---|---|---|\n");
    for field in fields() {
        let aliases =
            ALIASES.iter().filter(|(_, name)| *name == field.name).map(|(alias, _)| format!("`{alias}`"));
        let aliases: Vec<String> = aliases.collect();
        let cell = |text: &str| text.replace('|', "\\|");
        text.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            field.name,
            aliases.join(", "),
            cell(&field.about),
            cell(&field.allowed),
        ));
    }
    text.push_str("\nRead as well:\n\n");
    let known = |name: &str| fields().iter().any(|field| field.name == name);
    for (name, about) in TRANSLATED.iter().filter(|(name, _)| !known(name)) {
        text.push_str(&format!("- `{name}`: {about}\n"));
    }
    text.push_str("- `env_NAME`: Variables that are chosen with `--env NAME`.\n");
    text.push_str("\nAccepted without effect, with a word about it:\n\n");
    for (name, reason) in WITHOUT_EFFECT.iter().filter(|(name, _)| !known(name)) {
        text.push_str(&format!("- `{name}`: {reason}.\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/app-file.md");

    #[test]
    fn docs_app_file_md_lists_every_attribute() {
        let written = std::fs::read_to_string(FILE).unwrap_or_default();
        let marker = written.find("do not edit below. -->").map(|at| at + "do not edit below. -->".len());
        let (by_hand, rest) = written.split_at(marker.expect("the marker is there"));
        let wanted = format!("\n\n{}", table());
        if rest != wanted && std::env::var_os("SKEP_WRITE_DOCS").is_some() {
            std::fs::write(FILE, format!("{by_hand}{wanted}")).unwrap();
        } else {
            assert!(rest == wanted, "docs/app-file.md is out of date: run this test with SKEP_WRITE_DOCS=1");
        }
    }
}
