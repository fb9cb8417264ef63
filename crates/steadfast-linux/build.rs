//! Asks the compiler how old it is. `std::io::PipeReader` came with Rust 1.87, and a program that has it may give it to a child.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(has_std_pipe)");
    if minor().is_some_and(|minor| minor >= 87) {
        println!("cargo::rustc-cfg=has_std_pipe");
    }
}

/// 87 of `rustc 1.87.0 (17067e9ac 2025-05-09)`.
fn minor() -> Option<u32> {
    let version = Command::new(std::env::var_os("RUSTC")?).arg("--version").output().ok()?;
    String::from_utf8(version.stdout).ok()?.split('.').nth(1)?.parse().ok()
}
