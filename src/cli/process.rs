//! What this process shows of itself to others on its machine. The hooks of a release run beside the controller and its
//! agent, often as the same user: neither the first environment, nor the memory, nor a core file may give them a secret.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::sync::OnceLock;

use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::host::wire::Secret;
use crate::model::key_text::may_be_a_name;

/// What names a secret of the controller in its environment.
const SECRET: &str = "SOLL_SECRET_";
/// The variables with a value of one secret.
const OTHERS: [&str; 1] = [PASSPHRASE];
/// The variables that name the file of a key, or are its text.
const KEYS: [&str; 4] = ["SOLL_SSH_KEY", "SOLL_SIGNING_KEY", "SOLL_OBSERVATION_KEY", "SOLL_AGE_IDENTITY"];
/// The passphrase of the SSH key.
pub const PASSPHRASE: &str = "SOLL_SSH_PASSPHRASE";

/// What was taken out of the environment, by the name of its variable.
static TAKEN: OnceLock<BTreeMap<String, Secret>> = OnceLock::new();

/// Closes this process to others, then takes its secrets out of the environment: whatever it starts inherits none, and
/// `/proc/PID/environ` shows none, not even to root. Before any other thread runs.
pub fn close() {
    // Each fails only where the kernel forbids it to everybody: then there is nothing better to be had.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let core = rustix::process::getrlimit(Resource::Core);
    // The hard limit stays: an application that a hook starts may ask for core files of its own.
    let _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: core.maximum });
    let _ = TAKEN.set(take());
}

/// What a variable held that [`close`] took.
pub fn taken(variable: &str) -> Option<Secret> {
    TAKEN.get()?.get(variable).cloned()
}

/// The secrets that the environment held, by their own names.
pub fn secrets() -> BTreeMap<String, Secret> {
    let all = TAKEN.get().into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.strip_prefix(SECRET)?.to_owned(), value.clone()))).collect()
}

fn take() -> BTreeMap<String, Secret> {
    let mut taken = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let is_key = KEYS.contains(&name) && !value.is_empty() && !may_be_a_name(&value.to_string_lossy());
        let is_secret = name.starts_with(SECRET) || OTHERS.contains(&name) || is_key;
        // An address may carry a password, and others still ask for it by its name.
        let carries = name == "SOLL_REPO" && value.to_string_lossy().contains('@');
        if !is_secret && !carries {
            continue;
        }
        overwrite(name);
        // SAFETY: this runs before any other thread is started.
        unsafe {
            match carries {
                true => std::env::set_var(name, &value),
                false => std::env::remove_var(name),
            }
        }
        if let (true, Some(value)) = (is_secret, value.to_str()) {
            taken.insert(name.to_owned(), Secret::new(value.to_owned()));
        }
    }
    taken
}

unsafe extern "C" {
    static environ: *const *mut c_char;
}

/// Overwrites the value where the kernel put it at the start: removing a variable only forgets where it is.
fn overwrite(name: &str) {
    let Ok(prefix) = CString::new(format!("{name}=")) else { return };
    let prefix = prefix.as_bytes();
    // SAFETY: no other thread runs, so nobody changes the list or reads a value. Every entry ends with a NUL, the list with
    // a null pointer; the entries were written by the kernel or the C library and may be written to (`putenv(3)`).
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let text = *entry;
            let length = CStr::from_ptr(text).to_bytes().len();
            if CStr::from_ptr(text).to_bytes().starts_with(prefix) {
                for at in prefix.len()..length {
                    std::ptr::write_volatile(text.add(at), 0);
                }
            }
            entry = entry.add(1);
        }
    }
}
