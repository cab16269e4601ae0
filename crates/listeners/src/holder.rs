//! Who has an address already. Looked up only when opening it failed: it reads all of /proc.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Address, Host};

/// Longest command shown, in characters: enough to recognise a program.
const COMMAND_CHARS_MAX: usize = 120;
/// `TCP_LISTEN` as /proc/net/tcp prints it.
const STATE_LISTEN: &str = "0A";

/// A process that listens on an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Found. When several processes share the socket, the one with the lowest pid.
    Process {
        /// Process id.
        pid: u32,
        /// Command line, shortened; with the name of its user if that is another one than ours.
        command: String,
    },
    /// Only the owner is visible to us.
    User {
        /// User id of the socket.
        uid: u32,
    },
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, command } => write!(f, "pid {pid} ({command})"),
            Self::User { uid } => write!(f, "a process of user {uid} that is not visible to us"),
        }
    }
}

/// One socket of /proc/net/{tcp,udp}{,6}.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    ip: IpAddr,
    port: u16,
    uid: u32,
    inode: u64,
}

/// Finds who holds `address`.
pub(crate) fn find(address: &Address) -> Option<Holder> {
    let (tables, host, port, listening) = match address {
        Address::Tcp { host, port, .. } => (["tcp", "tcp6"], *host, *port, true),
        Address::Udp { host, port, .. } => (["udp", "udp6"], *host, *port, false),
        Address::Unix { .. } | Address::Abstract { .. } => return find_unix(address),
    };
    let entries: Vec<Entry> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/self/net/{table}")).ok())
        .flat_map(|text| parse(&text, listening))
        .filter(|entry| entry.port == port && overlaps(host, entry.ip))
        .collect();
    let inodes: Vec<u64> = entries.iter().map(|entry| entry.inode).collect();
    process_with(&inodes).or_else(|| entries.first().map(|entry| Holder::User { uid: entry.uid }))
}

fn find_unix(address: &Address) -> Option<Holder> {
    let name = match address {
        Address::Unix { path, .. } => path.to_str()?.to_owned(),
        Address::Abstract { name } => format!("@{}", String::from_utf8_lossy(name)),
        Address::Tcp { .. } | Address::Udp { .. } => return None,
    };
    let text = fs::read_to_string("/proc/self/net/unix").ok()?;
    let inodes: Vec<u64> = text
        .lines()
        .filter_map(|line| {
            // Num RefCount Protocol Flags Type St Inode Path
            let mut fields = line.split_ascii_whitespace().skip(6);
            let inode = fields.next()?.parse().ok()?;
            (fields.next() == Some(name.as_str())).then_some(inode)
        })
        .collect();
    process_with(&inodes)
}

fn parse(text: &str, listening: bool) -> Vec<Entry> {
    text.lines().skip(1).filter_map(|line| parse_line(line, listening)).collect()
}

fn parse_line(line: &str, listening: bool) -> Option<Entry> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if listening && *fields.get(3)? != STATE_LISTEN {
        return None;
    }
    let (ip, port) = fields.get(1)?.split_once(':')?;
    Some(Entry {
        ip: parse_ip(ip)?,
        port: u16::from_str_radix(port, 16).ok()?,
        uid: fields.get(7)?.parse().ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// The kernel prints each 32-bit word of the network-order address as a native number.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    if hex.len() == 8 {
        return Some(IpAddr::V4(Ipv4Addr::from(word(0)?)));
    }
    let mut bytes = [0u8; 16];
    for (i, chunk) in bytes.chunks_exact_mut(4).enumerate() {
        chunk.copy_from_slice(&word(i * 8)?);
    }
    Some(IpAddr::V6(Ipv6Addr::from(bytes)))
}

fn overlaps(host: Host, ip: IpAddr) -> bool {
    match host {
        Host::Any => true,
        Host::Ip(want) => {
            ip.is_unspecified() || want.is_unspecified() || ip.to_canonical() == want.to_canonical()
        }
        Host::Scoped(want, _) => ip.is_unspecified() || ip == IpAddr::V6(want),
    }
}

fn process_with(inodes: &[u64]) -> Option<Holder> {
    if inodes.is_empty() {
        return None;
    }
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    let pid = pids.into_iter().find(|pid| has_any(*pid, &links))?;
    Some(Holder::Process { pid, command: command(pid) + &of_user(pid) })
}

fn has_any(pid: u32, links: &[String]) -> bool {
    let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok())
        .any(|target| links.iter().any(|link| target.as_os_str() == link.as_str()))
}

/// ` of user 1000`, unless it is ours.
fn of_user(pid: u32) -> String {
    use std::os::unix::fs::MetadataExt;
    match fs::metadata(format!("/proc/{pid}")) {
        Ok(process) if process.uid() != rustix::process::getuid().as_raw() => {
            format!(" of user {}", process.uid())
        }
        Ok(_) | Err(_) => String::new(),
    }
}

fn command(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> =
        bytes.split(|b| *b == 0).filter(|w| !w.is_empty()).map(String::from_utf8_lossy).collect();
    let text = words.join(" ");
    let shown: String = text.chars().filter(|c| !c.is_control()).take(COMMAND_CHARS_MAX).collect();
    if shown.len() < text.len() { format!("{shown}…") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read_as_it_prints_them() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100\n   \
            1: 0100007F:0BB9 00000000:0000 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0 100\n";
        let entry = Entry { ip: Ipv4Addr::LOCALHOST.into(), port: 3000, uid: 1000, inode: 4711 };
        assert_eq!(parse(text, true), [entry]);
        assert_eq!(parse(text, false).len(), 2);
        assert_eq!(parse_ip("00000000000000000000000001000000"), Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(parse_ip("0100"), None);
    }

    #[test]
    fn a_holder_of_another_interface_is_not_the_one() {
        let local = Host::Ip(Ipv4Addr::LOCALHOST.into());
        assert!(overlaps(local, Ipv4Addr::UNSPECIFIED.into()));
        assert!(overlaps(local, "::ffff:127.0.0.1".parse().unwrap()));
        assert!(!overlaps(local, Ipv4Addr::new(10, 0, 0, 1).into()));
        assert!(overlaps(Host::Any, Ipv4Addr::new(10, 0, 0, 1).into()));
    }
}
