//! What runs is never absent and never mixed, however often it is switched (D2, law 1).

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::world::{World, env, sha};

const TIMES: usize = 30;

#[test]
fn a_reader_sees_whole_releases_only_through_thirty_applies() {
    let w = World::new();
    for letter in ['a', 'b', 'd'] {
        let other = format!("other {letter}");
        w.bundle(letter, &[("deep/er/file", &letter.to_string()), ("other", &other)]);
    }
    w.commit(&format!("{}{}", crate::support::world::APP, env("staging", 'a', "keep_releases = 1")));
    w.soll("apply").exits(0);
    let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let current = w.path("staging/current");
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = std::collections::BTreeSet::new();
            while !stop.load(Ordering::Relaxed) {
                // By name: there is always an answer.
                fs::read_to_string(current.join("index.html")).expect("`current` is there, with its files");
                // A worker that looked once and reads on, as a web server does with $realpath_root.
                let home = fs::canonicalize(&current).expect("`current` leads somewhere");
                let read = |name: &str| fs::read_to_string(home.join(name));
                let (Ok(index), Ok(deep), Ok(other)) = (read("index.html"), read("deep/er/file"), read("other")) else {
                    // Pruned meanwhile: it is not what runs any more.
                    assert_ne!(fs::canonicalize(&current).expect("`current`"), home, "the live release lost files");
                    continue;
                };
                assert_eq!((deep.as_str(), other), (index.as_str(), format!("other {index}")), "a mixed release");
                seen.insert(index);
                reads.fetch_add(1, Ordering::Relaxed);
            }
            seen.len()
        });
        for n in 0..TIMES {
            let letter = ['b', 'd', 'a'][n % 3];
            w.soll(&format!("release staging {}", sha(letter))).exits(0);
            let before = reads.load(Ordering::Relaxed);
            w.soll("apply").exits(0);
            assert_eq!(w.runs("staging"), letter.to_string());
            assert!(reads.load(Ordering::Relaxed) > before, "the reader read meanwhile");
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(reader.join().expect("the reader found nothing wrong"), 3, "it saw each of the three");
    });
}
