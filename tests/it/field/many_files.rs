//! A release of very many files: what is said of it does not fit into one message any more.

use std::fs::{self, File};
use std::io::Read as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use soll::model::ids::Digest;

use crate::support::disk::Disk;
use crate::support::world::{APP, World, env};

/// With paths of this length their manifest has twenty million bytes, and a message no more than sixteen.
const FILES: usize = 55_000;

/// A bundle like those of the other letters, with very many small files beside its page.
fn bundle(w: &World, letter: char, changed: usize) {
    let archive = w.archive(letter);
    let mut tar = tar::Builder::new(GzEncoder::new(File::create(&archive).unwrap(), Compression::fast()));
    let mut add = |path: &str, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    };
    add("index.html", &letter.to_string());
    let long = "x".repeat(230);
    for number in 0..FILES {
        let text = format!("{number} {}", if number < changed { letter } else { '-' });
        add(&format!("vendor/{}/{long}-{number}.php", number % 100), &text);
    }
    tar.into_inner().unwrap().finish().unwrap();
    let mut bytes = Vec::new();
    File::open(&archive).unwrap().read_to_end(&mut bytes).unwrap();
    let name = archive.file_name().unwrap().to_str().unwrap().to_owned();
    fs::write(archive.with_file_name(format!("{name}.sha256")), format!("{}  {name}\n", Digest::of(&bytes))).unwrap();
}

#[test]
fn what_is_said_of_very_many_files_is_said_in_pieces() {
    let w = World::new();
    let _disk = Disk::on(w.path("staging"), "4g");
    bundle(&w, 'a', 0);
    bundle(&w, 'b', 3);
    w.commit(&format!("{APP}{}", env("staging", 'a', "")));
    w.soll("apply").exits(0).says("55001 of 55001 files");
    assert_eq!(w.runs("staging"), "a");
    // What a small change sends stays small.
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0).says("4 of 55001 files");
    assert_eq!(w.runs("staging"), "b");
    // All of it is somewhere else.
    fs::rename(w.path("staging/current/vendor"), w.path("staging/current/elsewhere")).unwrap();
    w.soll("diff staging").exits(0).says("+ elsewhere").says("… and 109202 more");
    let plan = w.soll("plan --output json").exits(0).json();
    let host = &plan["environments"][0]["hosts"][0];
    assert_eq!(host["drift"].as_array().unwrap().len() as u64 + host["drift_more"].as_u64().unwrap(), 110_202);
    w.soll("rollback staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
}
