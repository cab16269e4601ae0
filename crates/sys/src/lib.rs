//! The only unsafe: processes, descriptors, sockets, BPF, /proc.
//!
//! Everything here is mechanism: one system call or one small group of them behind a safe signature, with
//! descriptors as `OwnedFd`/`BorrowedFd` and everything close-on-exec. Invariants: nothing here knows what an
//! app or a worker is; nothing here decides a policy; nothing here keeps global state.

pub mod bpf;
pub mod cached;
pub mod clock;
pub mod code;
pub mod cpus;
pub mod durable;
pub mod fdpass;
pub mod lock;
pub mod memfd;
pub mod net;
pub mod pidfd;
pub mod pipe;
pub mod proc;
pub mod process;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod spawn;
pub mod unix;
pub mod wait;
pub mod wall_timer;
