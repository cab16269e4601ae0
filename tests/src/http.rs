//! One request on a connection of its own, blocking: for tests that look at an answer instead of counting.
