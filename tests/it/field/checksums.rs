//! Checksum files as tools and people write them.

use std::process::Command;

use crate::support::site::{Site, sha};

struct Ground {
    site: Site,
    name: String,
    hex: String,
}

impl Ground {
    fn new() -> Ground {
        let site = Site::new();
        site.bundle(&sha(1), &[("index.html", "one")]);
        let name = format!("deployment-bundle-{}.tar.gz", sha(1));
        let hex = site.read(&format!("bundles/{name}.sha256"))[..64].to_owned();
        site.commit(&format!(
            "schema = 1\n[apps.api]\nkind = \"bundle\"\nbundle = {{ url = \"{}\" }}\n[environments.staging]\n\
             release = \"{}\"\nroot = \"{}\"\n[environments.staging.health]\n",
            site.bundles(),
            sha(1),
            site.at("root"),
        ));
        Ground { site, name, hex }
    }

    fn put(&self, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.site.path(&format!("bundles/{}.sha256", self.name)), bytes).unwrap();
    }

    /// What a command of the shell beside the bundle writes.
    fn made(&self, command: &str) -> Vec<u8> {
        let command = command.replace("NAME", &self.name);
        let done = Command::new("sh").args(["-c", &command]).current_dir(self.site.path("bundles")).output().unwrap();
        assert!(done.status.success(), "{command}: {done:?}");
        done.stdout
    }

    /// Whether the bundle's digest was found: plan needs nothing else of it.
    fn is_read(&self, what: &str) {
        let done = self.site.soll(&["plan", "--output", "json"]).expect(0);
        let codes: Vec<_> = done.json()["environments"][0]["blockers"].as_array().unwrap().clone();
        assert!(codes.is_empty(), "{what}: {codes:?}");
    }
}

#[test]
fn sums_by_every_tool_of_the_machine_are_read() {
    let ground = Ground::new();
    for command in [
        "sha256sum NAME",
        "sha256sum -b NAME",
        "sha256sum --tag NAME",
        "sha256sum --zero NAME",
        "sha256sum ./NAME $PWD/NAME",
        "sha256sum <NAME",
        "shasum -a 256 NAME",
        "shasum -a 256 -p NAME 2>/dev/null || shasum -a 256 -U NAME",
        "openssl dgst -sha256 NAME",
        "openssl dgst -sha256 -r NAME",
        "openssl dgst -sha256 <NAME",
        "busybox sha256sum NAME",
        "echo other >zz; echo more >aa; sha256sum aa NAME zz",
        "sha256sum --tag aa NAME zz",
        "openssl dgst -sha256 aa NAME zz",
        "sha256sum aa NAME zz | awk '{ print toupper($1) \"  dist/\" $2 \"\\r\" }'",
        "printf 'x\\n' >'a\\b'; sha256sum 'a\\b' NAME",
        "sha256sum NAME | iconv -t UTF-16",
        "sha256sum aa NAME | sed 's/$/\\r/' | iconv -t UTF-16LE",
        "printf '\\357\\273\\277'; sha256sum NAME",
        "sha512sum NAME; md5sum NAME; sha256sum NAME",
    ] {
        let text = ground.made(command);
        assert!(String::from_utf8_lossy(&text).replace('\0', "").to_lowercase().contains(&ground.hex), "{command}");
        ground.put(text);
        ground.is_read(command);
    }
    ground.site.soll(&["apply"]).expect(0);
    assert_eq!(ground.site.live("root"), "one");
}

/// Of several the one with the bundle's name counts: the first of them was taken, and everything failed.
#[test]
fn the_line_with_the_name_of_the_bundle_counts() {
    let ground = Ground::new();
    let wrong = "cd".repeat(32);
    ground.put(format!("{wrong}  other.tar.gz\n{} *dist/{}\n", ground.hex, ground.name));
    ground.site.soll(&["apply"]).expect(0);
    assert_eq!(ground.site.live("root"), "one");
}

/// The command that the message gives was run as it stands there.
#[test]
fn what_cannot_be_read_is_refused_with_the_command_that_writes_one_and_never_quoted() {
    let ground = Ground::new();
    let other = "cd".repeat(32);
    for (bad, why) in [
        (String::new(), "it is empty"),
        ("hunter2\n".to_owned(), "it holds no SHA-256"),
        (format!("hunter2:{}", "ab".repeat(20)), "it holds a SHA-1"),
        (format!("{other}  hunter2\n{}  hunter3\n", ground.hex), "none of them is called"),
        (format!("{other}  {0}\n{1}  hunter2/{0}\n", ground.name, ground.hex), "2 different SHA-256"),
        ("{\"hunter2\": true}".to_owned(), "it holds no SHA-256"),
    ] {
        ground.put(&bad);
        let done = ground.site.soll(&["apply"]).expect(1);
        let all = format!("{}{}{}", done.out, done.err, ground.site.soll(&["history", "--output", "json"]).out);
        assert!(all.contains(why) && all.contains(&format!("{}.sha256", ground.name)), "{bad}: {all}");
        assert!(!all.contains("hunter"), "{bad}: {all}");
        let unwrapped = all.split_whitespace().collect::<Vec<_>>().join(" ");
        let command = unwrapped.split('`').find(|part| part.starts_with("sha256sum ")).expect(&unwrapped);
        ground.made(command);
        ground.is_read(command);
    }
}
