//! bpf(2) itself: the attribute blocks of the commands we use, and nothing else.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::asm::Insn;

/// Commands (enum bpf_cmd).
const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const MAP_DELETE_ELEM: libc::c_int = 3;
const PROG_LOAD: libc::c_int = 5;

/// `BPF_PROG_TYPE_SK_REUSEPORT`.
const PROG_TYPE_SK_REUSEPORT: u32 = 21;

/// `bpf_skb_load_bytes_relative` and its like are open to any licence; the verifier wants a name.
const LICENSE: &std::ffi::CStr = c"Dual MIT/GPL";

/// Map types (enum bpf_map_type).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum MapType {
    Array = 2,
    ReuseportSockarray = 20,
}

/// `BPF_MAP_CREATE`.
#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
}

/// `BPF_MAP_*_ELEM`.
#[repr(C)]
#[derive(Default)]
struct Elem {
    map_fd: u32,
    _pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// What shows up in `bpftool prog`.
fn name(text: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().take(15).zip(text.bytes()) {
        *to = from;
    }
    bytes
}

/// # Safety
/// `attr` must be the attribute block of `command`, and the addresses in it must be valid for it.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<i32> {
    // SAFETY: the caller vouches for the block; its length is its own.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

/// Creates a map with 4-byte keys 0..`entries`.
pub(super) fn create_map(kind: MapType, value_bytes: u32, entries: u32, label: &str) -> io::Result<OwnedFd> {
    let mut attr = MapCreate {
        map_type: kind as u32,
        key_size: 4,
        value_size: value_bytes,
        max_entries: entries,
        map_name: name(label),
        ..MapCreate::default()
    };
    // SAFETY: a complete MAP_CREATE block without addresses.
    let fd = unsafe { bpf(MAP_CREATE, &mut attr) }?;
    // SAFETY: the kernel just gave us this descriptor (close-on-exec, as all of bpf(2)).
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Writes one element. `value` must be as long as the map's values.
pub(super) fn update(map: BorrowedFd<'_>, key: u32, value: &[u8]) -> io::Result<()> {
    let mut attr = elem(map, &key, value.as_ptr() as u64);
    // SAFETY: `key` has 4 bytes, `value` the map's value size; both outlive the call, which only reads them.
    unsafe { bpf(MAP_UPDATE_ELEM, &mut attr) }.map(drop)
}

/// Reads one element into `value`, which must be as long as the map's values.
pub(super) fn lookup(map: BorrowedFd<'_>, key: u32, value: &mut [u8]) -> io::Result<()> {
    let mut attr = elem(map, &key, value.as_mut_ptr() as u64);
    // SAFETY: `key` has 4 bytes, `value` is writable for the map's value size; both outlive the call.
    unsafe { bpf(MAP_LOOKUP_ELEM, &mut attr) }.map(drop)
}

/// Removes one element.
pub(super) fn delete(map: BorrowedFd<'_>, key: u32) -> io::Result<()> {
    let mut attr = elem(map, &key, 0);
    // SAFETY: `key` has 4 bytes and outlives the call.
    unsafe { bpf(MAP_DELETE_ELEM, &mut attr) }.map(drop)
}

fn elem(map: BorrowedFd<'_>, key: &u32, value: u64) -> Elem {
    Elem { map_fd: map.as_raw_fd() as u32, key: std::ptr::from_ref(key) as u64, value, ..Elem::default() }
}

/// Loads a program for `SO_ATTACH_REUSEPORT_EBPF`. With `log`, the verifier's words go there.
pub(super) fn load(
    code: &[Insn],
    label: &str,
    attach_type: u32,
    log: Option<&mut [u8]>,
) -> io::Result<OwnedFd> {
    let mut attr = ProgLoad {
        prog_type: PROG_TYPE_SK_REUSEPORT,
        insn_cnt: code.len() as u32,
        insns: code.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        prog_name: name(label),
        expected_attach_type: attach_type,
        ..ProgLoad::default()
    };
    if let Some(log) = log {
        attr.log_level = 1;
        attr.log_size = log.len() as u32;
        attr.log_buf = log.as_mut_ptr() as u64;
    }
    // SAFETY: code, licence and log (writable) are alive across the call, with the lengths given.
    let fd = unsafe { bpf(PROG_LOAD, &mut attr) }?;
    // SAFETY: the kernel just gave us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a loaded program to the group of `socket`.
pub(super) fn attach(socket: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let fd = program.as_raw_fd();
    set_option(socket, libc::SO_ATTACH_REUSEPORT_EBPF, &fd)
}

/// Sets a SOL_SOCKET option whose value is a plain C structure of integers and pointers that are alive.
pub(super) fn set_option<T>(socket: BorrowedFd<'_>, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` is `size_of::<T>()` readable bytes; what it points to is the callers' (in this module
    // and `classic`) business and alive there.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
