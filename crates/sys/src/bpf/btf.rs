//! Where the running kernel keeps what the shortest-queue program reads, from its own type information.
//!
//! `/sys/kernel/btf/vmlinux` has some 6 MB; it is streamed, never held.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

/// Type information of the running kernel (CONFIG_DEBUG_INFO_BTF).
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// `BTF_MAGIC`.
const MAGIC: u16 = 0xeB9F;
/// Read at once.
const CHUNK_BYTES: usize = 64 * 1024;
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
const WANTED: [(&str, &str); 3] =
    [("sock", "sk_reuseport_cb"), ("sock", "sk_ack_backlog"), ("sock_reuseport", "socks")];

/// Reads the layout of the running kernel.
///
/// # Errors
/// `NotFound`: the kernel has no type information, or not these members.
pub(super) fn layout() -> io::Result<Layout> {
    read(BufReader::with_capacity(CHUNK_BYTES, File::open(VMLINUX)?))
}

fn read(mut file: BufReader<impl Read + Seek>) -> io::Result<Layout> {
    let mut head = [0u8; 24];
    file.read_exact(&mut head)?;
    let word = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if u16::from_ne_bytes([head[0], head[1]]) != MAGIC {
        return Err(missing("it does not start like type information"));
    }
    let [header_bytes, types_at, types_bytes, names_at, names_bytes] = [4, 8, 12, 16, 20].map(word);
    file.seek(SeekFrom::Start(u64::from(header_bytes) + u64::from(names_at)))?;
    let names = names(&mut file, names_bytes)?;
    file.seek(SeekFrom::Start(u64::from(header_bytes) + u64::from(types_at)))?;
    let mut types = file.take(u64::from(types_bytes));
    let found = members(&mut types, &names)?;
    let [Some(reuseport), Some(backlog), Some(sockets)] = found else {
        return Err(missing("the kernel's sockets have other members"));
    };
    Ok(Layout { reuseport, backlog, sockets })
}

fn missing(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{VMLINUX}: {what}"))
}

/// Where the wanted names are in the table of names: each is there once.
fn names(file: &mut impl BufRead, bytes: u32) -> io::Result<[(u32, u32); WANTED.len()]> {
    let mut found = [(0, 0); WANTED.len()];
    let mut table = file.take(u64::from(bytes));
    let mut at = 0u32;
    let mut name = Vec::new();
    loop {
        name.clear();
        let n = table.read_until(0, &mut name)?;
        if n == 0 {
            return Ok(found);
        }
        let text = &name[..n - usize::from(name[n - 1] == 0)];
        for (found, (structure, member)) in found.iter_mut().zip(WANTED) {
            if text == structure.as_bytes() {
                found.0 = at;
            }
            if text == member.as_bytes() {
                found.1 = at;
            }
        }
        at += n as u32;
    }
}

/// Walks all types and picks the offsets of the wanted members.
fn members(
    types: &mut impl BufRead,
    names: &[(u32, u32); WANTED.len()],
) -> io::Result<[Option<u32>; WANTED.len()]> {
    let mut found = [None; WANTED.len()];
    while found.contains(&None) && !types.fill_buf()?.is_empty() {
        let [name, info, _] = words(types)?;
        let (kind, count, bitfields) = ((info >> 24) & 0x1f, info & 0xffff, info >> 31 != 0);
        if !matches!(kind, STRUCT | UNION) {
            skip(types, tail_bytes(kind, count)?)?;
            continue;
        }
        for _ in 0..count {
            let [member, _, offset] = words(types)?;
            let bits = if bitfields { offset & 0x00ff_ffff } else { offset };
            for (found, wanted) in found.iter_mut().zip(names) {
                if kind == STRUCT && (name, member) == *wanted && bits % 8 == 0 && bits / 8 < OFFSET_MAX {
                    *found = Some(bits / 8);
                }
            }
        }
    }
    Ok(found)
}

// Kinds of types (enum in linux/btf.h).
const STRUCT: u32 = 4;
const UNION: u32 = 5;

/// What follows the three words of a type.
fn tail_bytes(kind: u32, count: u32) -> io::Result<u64> {
    let bytes = match kind {
        1 | 14 | 17 => 4,                 // int, var, decl tag
        3 => 12,                          // array
        6 | 13 => u64::from(count) * 8,   // enum, function prototype
        15 | 19 => u64::from(count) * 12, // data section, 64-bit enum
        2 | 7..=12 | 16 | 18 => 0,
        _ => return Err(missing("it has a kind of type of a later kernel")),
    };
    Ok(bytes)
}

fn words(types: &mut impl Read) -> io::Result<[u32; 3]> {
    let mut bytes = [0u8; 12];
    types.read_exact(&mut bytes)?;
    let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Ok([word(0), word(4), word(8)])
}

fn skip(types: &mut impl Read, bytes: u64) -> io::Result<()> {
    io::copy(&mut types.take(bytes), &mut io::sink()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernels_layout_is_found_or_its_absence_said() {
        match layout() {
            Ok(layout) => {
                assert!(layout.backlog > 0 && layout.reuseport > 0 && layout.sockets > 0, "{layout:?}")
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
        }
    }

    #[test]
    fn what_is_not_type_information_is_refused() {
        let refused = |bytes: Vec<u8>| read(BufReader::new(io::Cursor::new(bytes))).unwrap_err().kind();
        assert_eq!(refused(vec![0; 100]), io::ErrorKind::NotFound);
        assert_eq!(refused(vec![0; 3]), io::ErrorKind::UnexpectedEof);
        let mut empty = vec![0; 24];
        empty[..2].copy_from_slice(&MAGIC.to_ne_bytes());
        empty[4] = 24;
        assert_eq!(refused(empty), io::ErrorKind::NotFound);
    }
}
