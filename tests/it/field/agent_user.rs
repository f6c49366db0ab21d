//! A world whose program runs as a user that is not root, beside files of the web server's user.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use crate::support::world::{Ran, World};

/// Neither the agent's user nor anybody that it may become.
pub const WEB_SERVER: u32 = 33;
pub const AGENT: u32 = 65534;

/// From now on the program runs as the agent's user. Every bundle that is needed is there already.
pub fn become_agent(w: &mut World) {
    // Git is root here, and everything belongs to the agent's user.
    for (name, value) in [("COUNT", "1"), ("KEY_0", "safe.directory"), ("VALUE_0", "*")] {
        w.set(&format!("GIT_CONFIG_{name}"), value);
    }
    fs::copy(env!("CARGO_BIN_EXE_soll"), w.path("soll")).unwrap();
    let program = w.path("soll").display().to_string();
    let line = format!("shift; exec setpriv --reuid={AGENT} --regid={AGENT} --clear-groups {program} \"$@\"");
    w.inside = ["sh", "-c", &line, "sh"].map(str::to_owned).to_vec();
}

/// Runs the program. What was made as root belongs to the agent's user first; what the web server wrote stays its own.
#[track_caller]
pub fn soll(w: &World, line: &str) -> Ran {
    let owner = format!("{AGENT}:{AGENT}");
    let mut find = Command::new("find");
    find.arg(w.path("")).args(["-user", "0", "-exec", "chown", "-h", &owner, "{}", "+"]);
    assert!(find.status().unwrap().success());
    w.soll(line)
}

/// A file that the web server wrote, readable by nobody else.
pub fn written_by_web_server(w: &World, path: &str) {
    w.write(path, "theirs");
    chown(w.path(path), Some(WEB_SERVER), Some(WEB_SERVER)).unwrap();
    fs::set_permissions(w.path(path), Permissions::from_mode(0o600)).unwrap();
}
