//! Where the running kernel keeps what the shortest-queue program reads, from its own type information.

use std::io;
use std::sync::OnceLock;

/// Type information of the running kernel (CONFIG_DEBUG_INFO_BTF); some 6 MB.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// `BTF_MAGIC`.
const MAGIC: u16 = 0xeb9f;
/// Offsets beyond this cannot be right: the structures have about 1 KB.
const OFFSET_MAX: u32 = 16 * 1024;

/// Byte offsets of members in kernel structures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// `struct sock: struct sock_reuseport *sk_reuseport_cb`
    pub(super) reuseport: u32,
    /// `struct sock: u32 sk_ack_backlog`
    pub(super) backlog: u32,
    /// `struct sock_reuseport: struct sock *socks[]`
    pub(super) sockets: u32,
}

/// Members to find, with the structure they are in.
const WANTED: [(&[u8], &[u8]); 3] =
    [(b"sock", b"sk_reuseport_cb"), (b"sock", b"sk_ack_backlog"), (b"sock_reuseport", b"socks")];

/// The layout of the running kernel. Read once: a kernel does not change while it runs, and the file is held for
/// some milliseconds only.
///
/// # Errors
/// The kernel has no type information, or not these members.
pub(super) fn layout() -> io::Result<Layout> {
    static LAYOUT: OnceLock<Option<Layout>> = OnceLock::new();
    LAYOUT
        .get_or_init(|| std::fs::read(VMLINUX).ok().and_then(|bytes| parse(&bytes)))
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "not in /sys/kernel/btf/vmlinux"))
}

fn parse(file: &[u8]) -> Option<Layout> {
    if file.get(..2)? != MAGIC.to_ne_bytes() {
        return None;
    }
    let head = |at: usize| Some(word(file, at)? as usize);
    let body = file.get(head(4)?..)?;
    let types = body.get(head(8)?..)?.get(..head(12)?)?;
    let names = body.get(head(16)?..)?.get(..head(20)?)?;
    let [Some(reuseport), Some(backlog), Some(sockets)] = members(types, names)? else { return None };
    Some(Layout { reuseport, backlog, sockets })
}

/// Walks all types and picks the offsets of the wanted members.
fn members(types: &[u8], names: &[u8]) -> Option<[Option<u32>; WANTED.len()]> {
    let mut found = [None; WANTED.len()];
    let mut at = 0;
    while at < types.len() && found.contains(&None) {
        let (name, info) = (word(types, at)?, word(types, at + 4)?);
        let (kind, count, bitfields) = ((info >> 24) & 0x1f, info & 0xffff, info >> 31 != 0);
        at += 12;
        let tail = tail_bytes(kind, count as usize)?;
        if kind == STRUCT && WANTED.iter().any(|(structure, _)| is_named(names, name, structure)) {
            for member in types.get(at..at + tail)?.chunks_exact(12) {
                let (member_name, offset) = (word(member, 0)?, word(member, 8)?);
                let bits = if bitfields { offset & 0x00ff_ffff } else { offset };
                for (found, (structure, wanted)) in found.iter_mut().zip(WANTED) {
                    let right = is_named(names, name, structure) && is_named(names, member_name, wanted);
                    if right && bits % 8 == 0 && bits / 8 < OFFSET_MAX {
                        *found = Some(bits / 8);
                    }
                }
            }
        }
        at += tail;
    }
    Some(found)
}

/// `BTF_KIND_STRUCT`.
const STRUCT: u32 = 4;

/// What follows the three words of a type (linux/btf.h). `None`: a kind of a later kernel.
fn tail_bytes(kind: u32, count: usize) -> Option<usize> {
    match kind {
        1 | 14 | 17 => Some(4),              // int, var, decl tag
        3 => Some(12),                       // array
        4 | 5 | 15 | 19 => Some(count * 12), // struct, union, data section, 64-bit enum
        6 | 13 => Some(count * 8),           // enum, function prototype
        2 | 7..=12 | 16 | 18 => Some(0),
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|word| u32::from_ne_bytes(*word))
}

fn is_named(names: &[u8], at: u32, name: &[u8]) -> bool {
    let rest = names.get(at as usize..).unwrap_or_default();
    rest.strip_prefix(name).is_some_and(|rest| rest.first() == Some(&0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernels_layout_is_found_or_its_absence_said() {
        match layout() {
            Ok(found) => assert!(found.backlog > 0 && found.reuseport > 0 && found.sockets > 0, "{found:?}"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
        }
    }

    #[test]
    fn what_is_not_type_information_has_no_layout() {
        assert_eq!(parse(&[0; 100]), None);
        assert_eq!(parse(&[]), None);
        let mut empty = vec![0; 24];
        empty[..2].copy_from_slice(&MAGIC.to_ne_bytes());
        empty[4] = 24;
        assert_eq!(parse(&empty), None);
        empty[12] = 200;
        assert_eq!(parse(&empty), None, "lengths beyond the end");
    }
}
