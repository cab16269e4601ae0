//! Linker flags for a Node add-on.

fn main() {
    napi_build::setup();
}
