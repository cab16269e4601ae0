//! The fleet state machine: decides who starts, drains, backs off. Pure.
