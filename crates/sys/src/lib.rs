//! The only unsafe: processes, descriptors, sockets, BPF, /proc.
