//! A controller whose disk is slow: whatever waits for it, no lease is lost for it (law 6).

use std::process::Command;

use soll::model::ids::Digest;
use soll::state_repo::{Author, GitSettings, Location, Saying, StateRepo};

use super::state::Yard;

/// Every write of the controller that must be on its disk takes longer than a lease; its agents are left alone.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int slow(void) {
    static int known = -1;
    if (known < 0) {
        char words[4096] = {0};
        int fd = open("/proc/self/cmdline", O_RDONLY);
        long got = read(fd, words, sizeof words - 1);
        close(fd);
        for (long i = 0; i < got; i++) if (!words[i]) words[i] = ' ';
        known = strstr(words, " run") && !strstr(words, "host-agent");
    }
    return known;
}
static void drag(void) { if (slow()) usleep(atoi(getenv("SLOW_MS")) * 1000); }
int fsync(int fd) { drag(); return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd); }
int fdatasync(int fd) { drag(); return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd); }
"#;

/// People who spoke: each of them is looked at in every pass of an environment that waits for a word.
const WORDS: usize = 500;

#[test]
fn a_slow_disk_and_many_approvals_lose_no_lease() {
    let mut yard = Yard::new().env("web", 1, "deadline = \"1s\"");
    for gate in ["one", "two", "three", "four"] {
        yard = yard.env(
            gate,
            1,
            "approvals = 10\n[environments.GATE.health]\nevery = \"100ms\"\nattempts = 1"
                .replace("GATE", gate)
                .as_str(),
        );
    }
    yard.commit();
    let shim = yard.site.path("slow.so");
    yard.site.write("slow.c", SHIM);
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&shim)
        .arg(yard.site.path("slow.c"))
        .arg("-ldl")
        .status();
    assert!(made.unwrap().success());
    let location = Location::parse(&yard.site.at("state")).unwrap();
    let repo = StateRepo::open(location, "main", &yard.site.path("cache"), GitSettings::default()).unwrap();
    for n in 0..WORDS {
        let author = Author { name: format!("Person {n}"), email: format!("p{n}@example.com") };
        let (environment, binding, id) = ("one".parse().unwrap(), Digest::of(b"another plan"), n.to_string());
        let word = Saying { environment: &environment, binding: &binding, id: &id, bytes: b"{}", over: &[] };
        repo.add_word(&word, &author, false).unwrap();
    }
    // As slow as the worst disk where there is time for it; in any case slower than the lease is long.
    let slow = if std::env::var_os("SOLL_LONG").is_some() { "5000" } else { "1500" };
    let shim = shim.display().to_string();
    let vars = [("LD_PRELOAD", &*shim), ("SLOW_MS", slow), ("SOLL_POLL", "200ms"), ("TOKIO_WORKER_THREADS", "2")];
    let daemon = yard.site.daemon(&[], &vars);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(600);
    while !yard.runs("web", 1) {
        assert!(std::time::Instant::now() < deadline, "it does not come to its end:\n{}", daemon.text());
        assert!(yard.site.record("web").returned.is_none(), "a lease was lost:\n{}", daemon.text());
        let lost = daemon.text().lines().any(|line| line.contains("web") && line.contains("FAILED"));
        assert!(!lost, "the run lost its host:\n{}", daemon.text());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
