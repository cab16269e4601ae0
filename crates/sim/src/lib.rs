//! A fake kernel and a scenario language for the core.
