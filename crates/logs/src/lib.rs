//! Byte-exact lines from pipes to files.
