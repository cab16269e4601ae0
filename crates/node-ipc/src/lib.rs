//! Node.js's IPC channel and cluster protocol, sans-io.
