//! The program as it was built.

use std::process::Command;

use crate::support::site::SOLL;

/// Where zlib1g-dev was installed the program needed that machine's libz.so.1, and agents did not start on hosts without it.
#[test]
fn the_program_needs_nothing_but_the_c_library() {
    let done = Command::new("readelf").args(["--dynamic", "--wide", SOLL]).env("LC_ALL", "C").output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let text = String::from_utf8(done.stdout).unwrap();
    let needed: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0))
        .collect();
    assert!(needed.contains(&"libc.so.6"), "{text}");
    let libc =
        |name: &&&str| ["libc.so.", "libm.so.", "libgcc_s.so.", "ld-linux"].iter().any(|own| name.starts_with(own));
    let others: Vec<_> = needed.iter().filter(|name| !libc(name)).collect();
    assert!(others.is_empty(), "the program depends on the machine that built it: {others:?}");
}
