//! How this home takes part in a cluster: a small file in the home (0600: a store's address may hold a password),
//! written by `skep hosts NAME=VALUE`.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use skep_api::{ErrorBody, ErrorCode, HostsChange};

use skep_core::Span;

use super::address::Address;

/// The default prefix of names in the store.
const PREFIX: &str = "skep";
/// A singleton whose lease cannot be renewed is stopped after so long; another host may have it some seconds later. Longer
/// than a store's own failover takes.
const LEASE_MS_USUAL: u64 = 15_000;
/// Shorter ones end whenever the machine is busy, longer ones are no failover.
const LEASE_MS: std::ops::RangeInclusive<u64> = 2_000..=3_600_000;
/// The longest name of a host, and prefix.
const NAME_BYTES_MAX: usize = 64;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) store: String,
    pub(crate) prefix: String,
    name: String,
    /// Made by chance once: two homes of one machine are two hosts.
    id: String,
    /// 0: the default.
    lease_ms: u64,
}

fn file(home: &Path) -> PathBuf {
    home.join("hosts.json")
}

/// Reads it; a missing file is all defaults.
pub(super) fn load(home: &Path) -> Result<Config, String> {
    let path = file(home);
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .map_err(|error| format!("{} cannot be read ({error}): fix or remove it", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Config::default()),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

/// Puts what `change` names in place of what was there, durably; the whole is returned.
pub(super) fn change(home: &Path, change: HostsChange) -> Result<Config, ErrorBody> {
    let mut config = load(home).map_err(|reason| ErrorBody::new(ErrorCode::StorageFailed, reason))?;
    if let Some(store) = change.store {
        if !store.is_empty() {
            store.parse::<Address>().map_err(|problem| {
                ErrorBody::new(ErrorCode::BadRequest, format!("store: {problem}"))
                    .with_hint("for example redis://localhost:6379 or postgres://user@localhost/database; store= for none")
            })?;
        }
        config.store = store;
    }
    if let Some(prefix) = change.prefix {
        config.prefix = checked("prefix", prefix)?;
    }
    if let Some(name) = change.name {
        config.name = checked("name", name)?;
    }
    if let Some(ms) = change.lease_ms {
        config.lease_ms = checked_lease(ms)?;
    }
    if config.id.is_empty() {
        config.id = chance().map_err(|error| {
            ErrorBody::new(ErrorCode::Internal, format!("cannot read /dev/urandom: {error}"))
        })?;
    }
    let text = serde_json::to_vec_pretty(&config).expect("strings");
    skep_sys::durable::replace(&file(home), &text, 0o600).map_err(|error| {
        ErrorBody::new(ErrorCode::StorageFailed, format!("cannot write {}: {error}", file(home).display()))
            .with_hint("nothing was changed; make room on the disk or fix the permissions, then try again")
    })?;
    Ok(config)
}

fn checked(field: &str, text: String) -> Result<String, ErrorBody> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if text.len() <= NAME_BYTES_MAX && text.chars().all(plain) {
        return Ok(text);
    }
    Err(ErrorBody::new(ErrorCode::BadRequest, format!("{field}: {text:?} is no name")).with_hint(format!(
        "use letters, digits, `-`, `_`, `.` and `:`, at most {NAME_BYTES_MAX}; {field}= for the default"
    )))
}

fn checked_lease(ms: u64) -> Result<u64, ErrorBody> {
    if ms == 0 || LEASE_MS.contains(&ms) {
        return Ok(ms);
    }
    let (least, most) = (LEASE_MS.start() / 1_000, LEASE_MS.end() / 1_000);
    Err(ErrorBody::new(ErrorCode::BadRequest, format!("lease: {ms} ms is out of range"))
        .with_hint(format!("use {least}s to {most}s; lease=0 for the default")))
}

fn chance() -> io::Result<String> {
    let mut bytes = [0; 8];
    io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

impl Config {
    /// There is a store, and nobody knows which.
    pub(super) fn unknown() -> Self {
        Self { store: "unknown".to_owned(), ..Self::default() }
    }

    /// What names in the store begin with.
    pub(crate) fn prefix(&self) -> &str {
        if self.prefix.is_empty() { PREFIX } else { &self.prefix }
    }

    /// So long a singleton runs without its lease being renewed.
    pub(crate) fn lease(&self) -> Span {
        Span::from_millis(if self.lease_ms == 0 { LEASE_MS_USUAL } else { self.lease_ms })
    }

    /// Who this host is in the store. The machine's name and boot are part of it: a copy of a machine is another host.
    pub(crate) fn host(&self) -> String {
        let machine = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = if self.name.is_empty() { machine() } else { self.name.clone() };
        let plain = |c: char| if c.is_whitespace() || c.is_control() { '-' } else { c };
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot = boot.split('-').next().unwrap_or_default();
        format!("{}/{}-{boot}", name.trim().chars().map(plain).collect::<String>(), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(store: &str) -> Result<Config, String> {
        let home = tempfile::tempdir().unwrap();
        let wanted = HostsChange { store: Some(store.into()), ..HostsChange::default() };
        change(home.path(), wanted).map_err(|error| error.message)
    }

    #[test]
    fn a_host_keeps_its_number_and_what_is_not_named_stays() {
        let home = tempfile::tempdir().unwrap();
        let first = HostsChange { store: Some("redis://localhost".into()), ..HostsChange::default() };
        let first = change(home.path(), first).unwrap();
        let second = HostsChange { name: Some("blue".into()), ..HostsChange::default() };
        let second = change(home.path(), second).unwrap();
        assert_eq!((&second.store, &second.id), (&first.store, &first.id));
        assert!(second.host().starts_with(&format!("blue/{}-", first.id)));
        assert_eq!((second.prefix(), load(home.path()).unwrap()), ("skep", second.clone()));
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(file(home.path())).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_store_is_refused() {
        assert!(check("").is_ok());
        for (store, says) in
            [("localhost", "store: what was given is no address of a store"), ("rediss://localhost", "TLS")]
        {
            let refused = check(store).unwrap_err();
            assert!(refused.contains(says), "{store}: {refused}");
        }
    }
}
