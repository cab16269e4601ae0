//! Which files matter to an app, and which directories have to be watched for them. Pure: paths in, answers out.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use regex_lite::Regex;
use skep_spec::{AppSpec, Ignored};

/// What never renews an app unless `ignore_watch` brings it back (`!node_modules`): other people's code, what is hidden,
/// what programs and editors write as they go. `4913` is vim's test whether it may write here.
const IGNORED: [&str; 8] = ["node_modules", ".*", "*.log", "*.pid", "*.swp", "*~", "4913", "__pycache__"];

/// One app's rules.
#[derive(Debug)]
pub(crate) struct Rules {
    roots: Vec<Root>,
    /// Endings without a dot; empty: all.
    endings: BTreeSet<String>,
    /// Never: skep's own home and the app's log files.
    own: Vec<PathBuf>,
}

/// One path or pattern of `watch`.
#[derive(Debug)]
struct Root {
    /// A directory, or one file.
    path: PathBuf,
    /// For a pattern: what below the directory.
    only: Option<GlobMatcher>,
    ignore: Gitignore,
    /// Regular expressions, for the whole path.
    ignore_by_text: Vec<Regex>,
}

impl Rules {
    /// The rules of a spec that watches something. `own` is never watched.
    ///
    /// # Errors
    /// A sentence about a pattern that makes no sense.
    pub(crate) fn of(spec: &AppSpec, own: Vec<PathBuf>) -> Result<Rules, String> {
        let cwd = Path::new(&spec.cwd);
        let roots = spec.watch.paths().into_iter().map(|path| root(cwd, path, &spec.ignore_watch));
        let endings =
            spec.watch_ext.iter().map(|ext| ext.trim().trim_start_matches('.').to_owned()).collect();
        Ok(Rules { roots: roots.collect::<Result<_, _>>()?, endings, own })
    }

    /// Where to begin.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Path> {
        self.roots.iter().map(|root| root.path.as_path())
    }

    /// Whether changes in this directory can matter.
    pub(crate) fn enters(&self, directory: &Path) -> bool {
        !self.is_own(directory)
            && self
                .roots
                .iter()
                .any(|root| directory.starts_with(&root.path) && !root.ignores(directory, true))
    }

    /// Whether a change of this file matters.
    pub(crate) fn matters(&self, file: &Path) -> bool {
        let ending = || file.extension().and_then(|ext| ext.to_str()).unwrap_or_default();
        (self.endings.is_empty() || self.endings.contains(ending()))
            && !self.is_own(file)
            && self.roots.iter().any(|root| root.matters(file))
    }

    fn is_own(&self, path: &Path) -> bool {
        self.own.iter().any(|own| path.starts_with(own))
    }
}

impl Root {
    fn matters(&self, file: &Path) -> bool {
        file.starts_with(&self.path)
            && self.only.as_ref().is_none_or(|only| only.is_match(file))
            && !self.ignores(file, false)
    }

    /// It or a directory between the root and it is ignored. The root itself was named, so it is not.
    fn ignores(&self, path: &Path, is_directory: bool) -> bool {
        path.ancestors().take_while(|part| *part != self.path).any(|part| {
            self.ignore.matched(part, is_directory || part != path).is_ignore() || self.ignores_text(part)
        })
    }

    /// A match that lies above the root does not count: where a project lies does not matter.
    fn ignores_text(&self, path: &Path) -> bool {
        let above = self.path.as_os_str().len();
        let text = path.to_string_lossy();
        self.ignore_by_text.iter().any(|regex| regex.find_iter(&text).any(|found| found.end() > above))
    }
}

fn root(cwd: &Path, text: &str, ignored: &[String]) -> Result<Root, String> {
    let full = plain(&cwd.join(text));
    let wild = |part: &Component<'_>| part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']);
    let path: PathBuf = full.components().take_while(|part| !wild(part)).collect();
    let only = (path != full)
        .then(|| GlobBuilder::new(&full.to_string_lossy()).literal_separator(true).build())
        .transpose()
        .map_err(|error| format!("watch: {text:?} is no pattern: {error}"))?
        .map(|glob| glob.compile_matcher());
    // Patterns with a slash count from the working directory, as in a .gitignore there.
    let mut builder = GitignoreBuilder::new(if path.starts_with(cwd) { cwd } else { &path });
    let mut ignore_by_text = Vec::new();
    for entry in IGNORED.into_iter().chain(ignored.iter().map(String::as_str)) {
        let line = match Ignored::read(entry).map_err(|error| error.to_string())? {
            Ignored::Pattern(line) => line.strip_prefix("./").unwrap_or(line),
            Ignored::Regex(regex) => {
                ignore_by_text.push(regex);
                continue;
            }
        };
        builder
            .add_line(None, line)
            .map_err(|error| format!("ignore_watch: {line:?} is no pattern: {error}"))?;
    }
    let ignore = builder.build().map_err(|error| format!("ignore_watch: {error}"))?;
    Ok(Root { path, only, ignore, ignore_by_text })
}

/// Without `.` and `..`, which no path of an event has.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_spec::Watch;

    fn rules(watch: &[&str], ignored: &[&str], endings: &[&str]) -> Rules {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let spec = AppSpec {
            cwd: "/srv/app".into(),
            watch: Watch::Paths(list(watch)),
            ignore_watch: list(ignored),
            watch_ext: list(endings),
            ..AppSpec::default()
        };
        Rules::of(&spec, vec!["/srv/app/var".into()]).expect("good patterns")
    }

    #[track_caller]
    fn check(rules: &Rules, matter: &[&str], do_not: &[&str]) {
        for path in matter {
            assert!(rules.matters(Path::new(path)), "{path} matters");
        }
        for path in do_not {
            assert!(!rules.matters(Path::new(path)), "{path} does not matter");
        }
    }

    #[test]
    fn code_matters_and_what_others_write_does_not() {
        check(
            &rules(&["."], &[], &[]),
            &["/srv/app/a.js", "/srv/app/deep/er/b.css"],
            &[
                "/srv/app/node_modules/x/i.js",
                "/srv/app/.git/HEAD",
                "/srv/app/.env",
                "/srv/app/out.log",
                "/srv/app/var/x.js",
                "/srv/other.js",
            ],
        );
    }

    #[test]
    fn ignore_watch_reads_like_a_gitignore() {
        let rules = rules(&["."], &["client/img", "*.tmp", "dist/", "!.env", "./gen"], &[]);
        check(
            &rules,
            &["/srv/app/a.js", "/srv/app/img/x", "/srv/app/.env", "/srv/app/x/client/img/y"],
            &["/srv/app/client/img/y", "/srv/app/x/y.tmp", "/srv/app/x/dist/z.js", "/srv/app/gen/a"],
        );
        assert!(!rules.enters(Path::new("/srv/app/x/dist")) && rules.enters(Path::new("/srv/app/x")));
    }

    #[test]
    fn ignore_watch_takes_regular_expressions_for_what_lies_below() {
        let rules =
            rules(&["."], &[r"regex:\/srv\/", r"regex:(?i)\.(png|jpe?g)$", r"regex:^/srv/app/gen/"], &[]);
        check(
            &rules,
            &["/srv/app/a.js", "/srv/app/img/x.css", "/srv/app/x/gen/a"],
            &["/srv/app/img/x.PNG", "/srv/app/gen/a", "/srv/app/srv/b.js"],
        );
        assert!(!rules.enters(Path::new("/srv/app/gen/deep")) && rules.enters(Path::new("/srv/app/img")));
    }

    #[test]
    fn paths_patterns_and_single_files_are_watched_and_nothing_else() {
        let rules = rules(&["src", "server.js", "lib/**/*.js", "../shared", ".config"], &[], &[]);
        check(
            &rules,
            &[
                "/srv/app/src/a.ts",
                "/srv/app/server.js",
                "/srv/app/lib/x/y.js",
                "/srv/shared/z",
                "/srv/app/.config/a",
            ],
            &["/srv/app/other.js", "/srv/app/lib/x/y.ts", "/srv/app/src/.x"],
        );
        let roots: Vec<_> = rules.roots().collect();
        assert!(roots.contains(&Path::new("/srv/app/lib")) && roots.contains(&Path::new("/srv/shared")));
    }

    #[test]
    fn only_the_endings_that_were_named_matter() {
        check(
            &rules(&["."], &[], &["js", ".mjs"]),
            &["/srv/app/a.js", "/srv/app/a.mjs"],
            &["/srv/app/a.css", "/srv/app/js"],
        );
    }

    #[test]
    fn a_pattern_that_makes_no_sense_is_refused() {
        let spec = AppSpec { cwd: "/".into(), watch: Watch::Path("a/[".into()), ..AppSpec::default() };
        assert!(Rules::of(&spec, Vec::new()).expect_err("no pattern").contains("a/["));
    }
}
