//! Loading a program, with the fallbacks for older kernels, and the reason when it cannot be done.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use super::btf;
use super::command;
use super::programs::{Counting, Kind, Maps, assemble};

/// `BPF_SK_REUSEPORT_SELECT_OR_MIGRATE` (Linux 5.14): the program is also asked where the queued connections of
/// a socket that closes shall go, without `net.ipv4.tcp_migrate_req`.
const SELECT_OR_MIGRATE: u32 = 40;
/// `BPF_SK_REUSEPORT_SELECT`; kernels before 5.14 do not look at it.
const SELECT: u32 = 39;
/// Before 5.14 the field had to be zero.
const UNSPECIFIED: u32 = 0;
/// Room for the verifier's words; only the last line is shown.
const VERIFIER_LOG_BYTES: usize = 256 * 1024;

/// What was being done when eBPF failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BpfStage {
    /// Finding the kernel's type information.
    Types,
    /// Creating a map.
    Map,
    /// Loading the program.
    Program,
    /// Attaching it to the group.
    Attach,
    /// Writing a map.
    Update,
}

/// eBPF cannot be used. Displays as a reason for people.
#[derive(Debug)]
pub struct BpfError {
    /// What was being done.
    pub stage: BpfStage,
    /// The system's error.
    pub source: io::Error,
    /// Last line of the verifier, when it refused a program.
    pub verifier: Option<String>,
}

// === impl BpfError ===

impl BpfError {
    pub(super) fn at(stage: BpfStage) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { stage, source, verifier: None }
    }
}

impl fmt::Display for BpfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source.raw_os_error() {
            Some(libc::EPERM) => f.write_str("bpf(2) is not permitted here (needs CAP_BPF)"),
            Some(libc::ENOSYS) => f.write_str("this kernel has no bpf(2)"),
            _ => {
                let doing = match self.stage {
                    BpfStage::Types => "reading the kernel's types",
                    BpfStage::Map => "creating a BPF map",
                    BpfStage::Program => "loading the BPF program",
                    BpfStage::Attach => "attaching the BPF program",
                    BpfStage::Update => "writing a BPF map",
                };
                write!(f, "{doing}: {}", self.source)?;
                if let Some(line) = &self.verifier {
                    write!(f, " ({line})")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for BpfError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Loads the best variant of a program that this kernel takes.
///
/// True beside it: when a socket of the group closes, the program is asked for another home of each connection in its queue.
pub(super) fn program(kind: Kind, compared: usize, maps: Maps<'_>) -> Result<(OwnedFd, bool), BpfError> {
    let layout = match kind {
        Kind::ShortestQueue => Some(btf::layout().map_err(BpfError::at(BpfStage::Types))?),
        Kind::RoundRobin | Kind::LeastLoaded | Kind::SourceIp => None,
    };
    let mut last = None;
    for (counting, attach_type) in [
        (Counting::Fetch, SELECT_OR_MIGRATE),
        (Counting::Fetch, SELECT),
        (Counting::ReadThenAdd, UNSPECIFIED),
    ] {
        let code = assemble(kind, compared, maps, counting, layout);
        match command::load(&code, label(kind), attach_type, None) {
            Ok(program) => return Ok((program, attach_type == SELECT_OR_MIGRATE)),
            Err(source) if matches!(source.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
                return Err(BpfError { stage: BpfStage::Program, source, verifier: None });
            }
            Err(source) => last = Some((source, code)),
        }
    }
    let (source, code) = last.expect("the loop ran");
    let mut log = vec![0u8; VERIFIER_LOG_BYTES];
    // Once more, for the verifier's words.
    let _ = command::load(&code, label(kind), UNSPECIFIED, Some(&mut log));
    let text = log.split(|b| *b == 0).next().unwrap_or_default();
    let verifier =
        String::from_utf8_lossy(text).lines().rev().find(|l| !l.starts_with("processed")).map(str::to_owned);
    Err(BpfError { stage: BpfStage::Program, source, verifier })
}

fn label(kind: Kind) -> &'static str {
    match kind {
        Kind::RoundRobin => "skep_rr",
        Kind::LeastLoaded => "skep_least",
        Kind::SourceIp => "skep_ip",
        Kind::ShortestQueue => "skep_shortest",
    }
}
