//! A directory that is named where a script is expected: what its interpreter would run, given the directory.
//!
//! Node.js (and PM2, which hands it the directory): `main` of `package.json`, else `index.js`
//! (<https://nodejs.org/api/modules.html#folders-as-modules>). Python: `__main__.py`.

use crate::facts::{Entry, Facts, absolute, base_name};
use crate::interpreter::is_node;

/// More than any hand-written `package.json` has.
const PACKAGE_BYTES_MAX: usize = 1 << 20;
/// What may be left out behind the name of a script.
const ENDINGS: &[&str] = &["", ".js", "/index.js"];

/// The script of `directory`, an absolute path; `interpreter` is what the user said.
pub(crate) fn script(directory: &str, interpreter: Option<&str>, facts: &dyn Facts) -> Option<String> {
    match interpreter {
        Some(name) if base_name(name).starts_with("python") => file(directory, "__main__.py", facts),
        Some(name) if !is_node(name) && base_name(name) != "bun" => None,
        _ => {
            let main = main_of(directory, facts);
            let named = main.and_then(|main| {
                ENDINGS.iter().find_map(|ending| file(directory, &(main.clone() + ending), facts))
            });
            named.or_else(|| file(directory, "index.js", facts))
        }
    }
}

fn main_of(directory: &str, facts: &dyn Facts) -> Option<String> {
    let text = facts.read(&absolute(directory, "package.json"), PACKAGE_BYTES_MAX)?;
    let package: serde_json::Value = serde_json::from_slice(&text).ok()?;
    package.get("main")?.as_str().map(str::to_owned)
}

fn file(directory: &str, name: &str, facts: &dyn Facts) -> Option<String> {
    let path = absolute(directory, name);
    matches!(facts.look(&path), Some(Entry::File { .. })).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::fake::Machine;

    fn check(files: &[(&str, &str)], interpreter: Option<&str>) -> Option<String> {
        let machine = files.iter().fold(Machine::usual(), |machine, (path, text)| machine.file(path, text));
        script("/srv/shop", interpreter, &machine)
    }

    #[test]
    fn a_directory_is_entered_where_its_interpreter_enters_it() {
        let some = |path: &str| Some(path.to_owned());
        let index = ("/srv/shop/index.js", "");
        assert_eq!(check(&[index], None), some("/srv/shop/index.js"));
        let package = |main: &'static str| ("/srv/shop/package.json", main);
        let lib = ("/srv/shop/lib/run.js", "");
        assert_eq!(
            check(&[index, lib, package(r#"{"main":"./lib/run"}"#)], None),
            some("/srv/shop/lib/run.js")
        );
        assert_eq!(check(&[index, package(r#"{"main":"gone.js"}"#)], None), some("/srv/shop/index.js"));
        assert_eq!(check(&[index, package("{")], Some("/usr/bin/node")), some("/srv/shop/index.js"));
        assert_eq!(check(&[index], Some("ruby")), None);
        assert_eq!(check(&[("/srv/shop/__main__.py", "")], Some("python3")), some("/srv/shop/__main__.py"));
        assert_eq!(check(&[("/srv/shop/other.js", "")], None), None);
    }
}
