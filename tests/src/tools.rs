//! Where the runtimes, the fixture apps and skep's binary are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The Node majors that skep supports.
const MAJORS: [u32; 5] = [18, 20, 22, 24, 26];

/// One version of Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// 18, 20, 22, 24 or 26.
    pub major: u32,
    /// The folder that holds its `node`, to be first in `PATH`.
    pub bin: PathBuf,
}

/// All supported versions, oldest first.
pub fn nodes() -> Vec<Node> {
    MAJORS.into_iter().map(node).collect()
}

/// One version.
pub fn node(major: u32) -> Node {
    let node = tool(&format!("node/{major}/bin/node"));
    Node { major, bin: node.parent().expect("node lies in a folder").to_owned() }
}

/// A file that `cargo xtask tools` installed.
///
/// # Panics
/// When it is not there: the message says how to get it.
pub fn tool(path: &str) -> PathBuf {
    let tools = match std::env::var_os("SKEP_TOOLS") {
        Some(folder) => root().join(folder),
        None => target().join("skep-tools"),
    };
    let file = tools.join(path);
    assert!(file.exists(), "{} is missing: run `cargo xtask tools` first", file.display());
    file
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository")
}

/// The folder of the fixture apps.
pub fn fixtures() -> PathBuf {
    root().join("tests/fixtures")
}

/// One fixture app.
///
/// # Panics
/// When there is none of that name.
pub fn fixture(name: &str) -> PathBuf {
    let file = fixtures().join(name);
    assert!(file.exists(), "there is no fixture {}", file.display());
    file
}

/// skep's binary: `SKEP_BIN`, or what cargo builds now.
pub fn skep_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("SKEP_BIN") {
        Some(file) => PathBuf::from(file),
        None => {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let built = Command::new(cargo)
                .args(["build", "--quiet", "--package", "skep", "--target-dir"])
                .arg(target())
                .current_dir(root())
                .status();
            assert!(built.is_ok_and(|status| status.success()), "`cargo build --package skep` failed");
            target().join("debug/skep")
        }
    })
}

/// Cargo's target directory: this program lies in `<target>/<profile>/deps/`.
fn target() -> PathBuf {
    let program = std::env::current_exe().expect("a test knows its own file");
    program.ancestors().nth(3).expect("a test lies in target/<profile>/deps").to_owned()
}
