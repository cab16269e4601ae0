//! What the user asked for: flags and files to a validated AppSpec.
