//! A virtual environment with the Python servers that the end-to-end tests start.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{apt, paths, sh};

/// `python/bin/{python,uvicorn,gunicorn}` under the tools, as `tests/tools/requirements.txt` pins them.
pub(crate) fn install() -> Result<()> {
    let home = paths::tools().join("python");
    let stamp = home.join(".skep-stamp");
    let requirements = paths::root().join("tests/tools/requirements.txt");
    let wanted =
        fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    if fs::read(&stamp).is_ok_and(|have| have == wanted) {
        return Ok(());
    }
    if paths::which("python3").is_none() {
        apt::install(&["python3", "python3-venv"])?;
    }
    if paths::which("python3").is_none() {
        bail!("python3 is not installed: the end-to-end tests start Python servers");
    }
    eprintln!(
        "tools: a virtual environment with {}",
        String::from_utf8_lossy(&wanted).trim().replace('\n', ", ")
    );
    let venv = || sh::output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home));
    if venv().is_err() {
        // Debian's python3 is without ensurepip until python3-venv is there.
        apt::install(&["python3-venv"])?;
        venv()?;
    }
    sh::output(
        Command::new(home.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements),
    )?;
    fs::write(&stamp, wanted).context("cannot write the stamp")
}
