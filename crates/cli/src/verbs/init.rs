//! `init` and `ecosystem`: an example to begin with.

use crate::failure::Failure;
use crate::session::Context;
use skep_api::ErrorCode;
use std::fs::OpenOptions;
use std::io::Write;

/// Which example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Template {
    /// skep.toml.
    Toml,
    /// ecosystem.config.js.
    JavaScript,
}

impl Template {
    fn file(self) -> &'static str {
        match self {
            Self::Toml => "skep.toml",
            Self::JavaScript => "ecosystem.config.js",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Toml => include_str!("../templates/skep.toml"),
            Self::JavaScript => include_str!("../templates/ecosystem.config.js"),
        }
    }

    /// Without what only explains.
    fn simple(self) -> String {
        let comment = match self {
            Self::Toml => "#",
            Self::JavaScript => "//",
        };
        let lines = self.text().lines().filter(|line| !line.trim_start().starts_with(comment));
        let mut text = String::new();
        for line in lines.skip_while(|line| line.is_empty()) {
            if !(line.is_empty() && text.ends_with("\n\n")) {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

/// Writes the example; a file that is there already is left alone.
pub(crate) fn run(template: Template, simple: bool, context: &Context) -> Result<(), Failure> {
    let file = template.file();
    let text = if simple { template.simple() } else { template.text().to_owned() };
    let written = OpenOptions::new().write(true).create_new(true).open(file);
    written.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "move it away first",
            _ => "is this directory writable?",
        };
        Failure::new(ErrorCode::BadRequest, format!("{file} cannot be written: {error}"), hint)
    })?;
    context.output.say(&format!("{file} is written; `skep start` starts what it describes"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_spec::{Syntax, parse, read};

    #[test]
    fn the_example_is_right_with_and_without_its_comments() {
        for text in [Template::Toml.text().to_owned(), Template::Toml.simple()] {
            let document = read(&parse(&text, Syntax::Toml, "f").unwrap(), "f").unwrap();
            assert_eq!(document.apps.len(), 1, "{text}");
            assert_eq!(document.notes, Vec::<String>::new());
        }
        assert!(!Template::JavaScript.simple().contains("//"));
        // Every line of the example that is commented out is right too.
        let all: String = Template::Toml
            .text()
            .lines()
            .map(|line| format!("{}\n", line.strip_prefix("#= ").unwrap_or(line)))
            .collect();
        let document = read(&parse(&all, Syntax::Toml, "f").unwrap(), "f").unwrap();
        assert!(document.apps.len() > 1);
    }
}
