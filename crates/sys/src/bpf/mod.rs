//! BPF programs and maps that steer connections.
