//! End-to-end tests on real parts, and their harness.
