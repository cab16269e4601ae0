//! How the command is linked (docs/decisions/0015).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        // The last word counts for the compiler driver, gcc and clang alike, which takes the matching start files too.
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
