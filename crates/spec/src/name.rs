//! Names: derived from what is run, checked, and kept apart.

use crate::SpecError;
use crate::facts::{base_name, extension};

/// The longest name: it becomes part of file names, whose limit is 255 bytes.
const NAME_BYTES_MAX: usize = 128;

/// A name for what is run, from a path, a package's name or a program.
pub(crate) fn derive(from: &str) -> String {
    let base = base_name(from);
    let stem = base.strip_suffix(&base[base.len() - extension(base).len()..]).unwrap_or(base);
    let name: String = stem.chars().filter(|&c| !c.is_control() && c != ',').take(64).collect();
    // A name that would be refused is made acceptable rather than thrown at somebody who did not choose it.
    match check("name", &name) {
        Ok(()) => name,
        Err(_) => format!("app-{}", name.trim_start_matches(['-', '.', '/'])),
    }
}

/// Refuses a name or namespace that commands or file names could not carry.
pub(crate) fn check(field: &str, name: &str) -> Result<(), SpecError> {
    let problem = if name.is_empty() {
        "is empty"
    } else if name.len() > NAME_BYTES_MAX {
        "is longer than 128 bytes"
    } else if name == "all" {
        "is the word for every app"
    } else if name.starts_with('-') {
        "looks like an option"
    } else if name == "." || name == ".." || name.contains('/') {
        "looks like a path"
    } else if name.contains(',') || name.chars().any(char::is_control) {
        "contains a comma or a control character"
    } else {
        return Ok(());
    };
    Err(SpecError::field(
        field,
        name,
        problem,
        format!("choose another with --{field}, for example --{field} web"),
    ))
}

/// An app that exists already, as far as names are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// Its name.
    pub name: String,
    /// What it runs, as [`crate::AppSpec::argv`] gives it.
    pub argv: Vec<String>,
    /// What it is doing, in a word.
    pub status: String,
    /// Whether it has anything that could be started.
    pub startable: bool,
}

/// What to do about a new app whose name may be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clash {
    /// The name is free.
    Create,
    /// The same app is there and not running: start it.
    Start,
    /// The user insists on another one: create it under this name.
    CreateAs(String),
}

/// Settles a clash of names. `force` is what `--force` says.
pub fn settle_clash(
    name: &str,
    argv: &[String],
    existing: &[Existing],
    force: bool,
) -> Result<Clash, SpecError> {
    let Some(other) = existing.iter().find(|app| app.name == name) else { return Ok(Clash::Create) };
    if force {
        let free =
            (2u32..).map(|n| format!("{name}-{n}")).find(|n| existing.iter().all(|app| app.name != *n));
        return Ok(Clash::CreateAs(free.expect("numbers do not run out before names")));
    }
    let same = other.argv == argv;
    if same && other.startable {
        return Ok(Clash::Start);
    }
    let remedy = if same {
        format!("use `skep restart {name}` or `skep reload {name}`, or --force to start a second one")
    } else {
        format!("it runs {}; give this one another name with --name, or use --force", other.argv.join(" "))
    };
    Err(SpecError::NameTaken { name: name.to_owned(), status: other.status.clone(), remedy })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn existing(name: &str, argv: &[&str], startable: bool) -> Existing {
        let argv = argv.iter().map(|&word| word.to_owned()).collect();
        let status = if startable { "stopped" } else { "online" };
        Existing { name: name.into(), argv, status: status.into(), startable }
    }

    #[test]
    fn a_name_comes_from_what_is_run() {
        for (from, name) in [
            ("/srv/app.js", "app"),
            ("/srv/my.server.py", "my.server"),
            ("@acme/shop", "shop"),
            ("/usr/bin/python3", "python3"),
            ("/srv/all.js", "app-all"),
            ("/srv/-x.js", "app-x"),
            ("/srv/.env", ".env"),
        ] {
            assert_eq!(derive(from), name, "{from}");
        }
    }

    #[test]
    fn names_that_commands_cannot_carry_are_refused() {
        for bad in ["", "all", "-x", "a/b", "a,b", "a\nb", "..", &"x".repeat(129)] {
            assert!(check("name", bad).is_err(), "{bad:?}");
        }
        for good in ["web", "npm run dev", "café", "7", "web:0"] {
            assert_eq!(check("name", good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn starting_what_is_stopped_is_no_clash() {
        let argv = ["node".to_owned(), "/a.js".to_owned()];
        let settle = |existing: Existing, force| settle_clash("web", &argv, &[existing], force);
        assert_eq!(settle(existing("api", &[], false), false), Ok(Clash::Create));
        assert_eq!(settle(existing("web", &["node", "/a.js"], true), false), Ok(Clash::Start));
        let error = settle(existing("web", &["node", "/a.js"], false), false).unwrap_err();
        assert_eq!(error.to_string(), "web already exists and is online");
        assert!(error.remedy().contains("--force"));
        let error = settle(existing("web", &["node", "/b.js"], true), false).unwrap_err();
        assert!(error.remedy().contains("it runs node /b.js"), "{}", error.remedy());
    }

    #[test]
    fn force_finds_a_free_name() {
        let others = [existing("web", &[], false), existing("web-2", &[], false)];
        assert_eq!(settle_clash("web", &[], &others, true), Ok(Clash::CreateAs("web-3".into())));
    }
}
