//! The control protocol: message types and client.
