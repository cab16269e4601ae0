//! The driver: collects events, calls the core, carries out effects.
