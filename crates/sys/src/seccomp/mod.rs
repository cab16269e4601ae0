//! Bind interception ("bindshare"): a child's `bind(2)` is answered by us, with our own socket.
//!
//! The child installs a seccomp filter just before `exec` that sends every `bind(2)` of it and of its
//! descendants to a notify descriptor. Whoever holds that descriptor may let the call continue, refuse it, or
//! replace the program's socket by a listening socket of ours under the same number and answer "bound". So a
//! program in any language shares a port among many processes and never loses the queue in a restart.
//!
//! Invariants: nothing here decides *which* binds are replaced; an answer that cannot be given (the caller was
//! killed or interrupted meanwhile) is an error of that call only; all other system calls run at full speed.
//!
//! Needs Linux 5.9 (`SECCOMP_IOCTL_NOTIF_ADDFD`), no privilege, x86_64 or aarch64. 32-bit system calls of a
//! 64-bit machine are let through.
//!
//! Limits, to be told to users: socket options that were set before `bind` belong to the socket that is thrown
//! away (`SO_RCVBUF`, `TCP_FASTOPEN`); so does an epoll registration made before `bind`; without
//! `CAP_SYS_ADMIN` the child runs with `no_new_privs`, hence setuid programs have no effect below it; a
//! second notify filter below the first one is refused by the kernel (EBUSY).

mod filter;
mod notify;
mod target;

pub use filter::{PreparedFilter, install_in_child};
pub use notify::{BindCall, Next, Notifier, Replaced};
pub use target::{BindAddress, SocketKind};

#[cfg(test)]
mod tests;
