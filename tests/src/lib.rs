//! The harness of the end-to-end tests: skep's built binary in a home of its own, the runtimes and fixture apps, and
//! the strict client that counts every request that was not answered completely and correctly.
//!
//! It knows skep only from outside, as a user does: the command line, the API on the Unix socket, the ports and the
//! process table. It never sleeps: it waits for events, for a process or for a socket, with a limit that only a
//! failure reaches.

pub mod strict;
