//! Parent of every worker, safe-box of every descriptor.
