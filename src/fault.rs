//! Named places at which a test lets the process die as if by `kill -9`, or stand still until it is told to go on (a test
//! then cuts a cable, or starts another controller). Dormant unless `SOLL_FAULT` names one; knows nothing of what happens
//! around them. Places of the host are passed by its agent, places of a run by the controller.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

/// Every place of the host, so that a test can go through all of them. A place that is not listed does not compile.
pub const HOST: &[&str] = &[
    "host.record.before-rename",
    "host.acquire.after-lock",
    "host.acquire.after-record",
    "host.upload.mid-blob",
    "host.upload.after-blob",
    "host.extract.mid-tree",
    "host.extract.before-record",
    "host.extract.after-record",
    "host.extract.after-rename",
    "host.link.before-link",
    "host.link.after-link",
    "host.hook.after-closed",
    "host.hook.after-begun",
    "host.hook.after-run",
    "host.hook.after-verdict",
    "host.seal.before-manifest",
    "host.seal.after-manifest",
    "host.seal.after-record",
    "host.adopt.after-entry",
    "host.adopt.after-manifest",
    "host.adopt.after-record",
    "host.switch.before-arm",
    "host.switch.after-arm",
    "host.switch.after-rename",
    "host.switch.after-files",
    "host.drain.after-record",
    "host.drain.after-units",
    "host.activate.before-unit",
    "host.activate.after-units",
    "host.activate.before-record",
    "host.activate.after-record",
    "host.confirm.before-record",
    "host.confirm.after-record",
    "host.return.before-link",
    "host.return.after-link",
    "host.return.after-record",
    "host.hold.after-record",
    "host.go-back.before-link",
    "host.go-back.after-link",
    "host.go-back.after-units",
    "host.go-back.after-hooks",
    "host.go-back.after-record",
    "host.prune.after-rename",
    "host.prune.after-record",
    "host.prune.after-removal",
];

/// Places of the host beside an ordinary run: a directory that was made and is not opened yet, a bundle that it fetches
/// itself, files that are rendered for it, trials, the conversion of a checkout, projects of containers, and restores.
pub const BESIDE: &[&str] = &[
    "host.make.after-mkdir",
    "host.fetch.after-unpack",
    "host.render.before-rename",
    "host.render.after-rename",
    "host.trial.after-build",
    "host.convert.after-journal",
    "host.convert.after-step",
    "host.convert.before-current",
    "host.convert.after-current",
    "host.convert.after-done",
    "host.convert.after-back-step",
    "host.compose.before-load",
    "host.compose.after-load",
    "host.compose.after-pull",
    "host.compose.after-resolved",
    "host.compose.before-up",
    "host.compose.beside",
    "host.compose.after-up",
    "host.restore.after-note",
    "host.restore.before-drop",
    "host.put-back.after-clear",
    "host.put-back.before-rename",
];

/// The places around a run.
pub const RUN: &[&str] = &[
    "run.before-acquire",
    "run.after-acquire",
    "run.after-started",
    "run.before-quarantine",
    "run.after-quarantine",
    "run.after-turned-back",
    "run.before-finished",
    "run.after-finished",
];

/// The places around what a person asks for beside deployments: its row is there, its effects have happened.
pub const OPERATION: &[&str] = &["operation.after-opened", "operation.before-finished"];

/// The places between the steps of a restore in place, in their order.
pub const RESTORE: &[&str] = &[
    "restore.before-roots",
    "restore.after-tried",
    "restore.after-noted",
    "restore.after-marked",
    "restore.after-stopped",
    "restore.after-saved",
    "restore.after-load",
    "restore.after-loaded",
    "restore.after-started",
    "restore.after-unmarked",
];

/// The places around every step of a run; each is followed by `@` and the kind of the step (`run.after-intent@switch`).
pub const STEP: &[&str] = &["run.before-intent", "run.after-intent", "run.after-effect", "run.after-result"];

/// Whether a place is in a list. `const`, so that `fault!` asks at compile time.
pub const fn listed(list: &[&str], name: &str) -> bool {
    let mut i = 0;
    while i < list.len() {
        if same(list[i].as_bytes(), name.as_bytes()) {
            return true;
        }
        i += 1;
    }
    false
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// One place at which to die, or to stand still, and at which passage of it.
struct Wanted {
    place: String,
    stops: bool,
    nth: u32,
    passed: AtomicU32,
}

/// `SOLL_FAULT`: places with commas between them; `PLACE@3` means the third time that it is passed, `stop:PLACE` that the
/// process stops there (`SIGSTOP`) until somebody continues it.
fn wanted() -> &'static [Wanted] {
    static WANTED: OnceLock<Vec<Wanted>> = OnceLock::new();
    WANTED.get_or_init(|| {
        let text = std::env::var("SOLL_FAULT").unwrap_or_default();
        let one = |text: &str| {
            let (stops, text) = text.strip_prefix("stop:").map_or((false, text), |place| (true, place));
            let nth = text.rsplit_once('@').and_then(|(place, nth)| Some((place, nth.parse().ok()?)));
            let (place, nth) = nth.unwrap_or((text, 1));
            Wanted { place: place.to_owned(), stops, nth, passed: AtomicU32::new(0) }
        };
        text.split(',').filter(|text| !text.is_empty()).map(one).collect()
    })
}

/// Dies or stands still here when `SOLL_FAULT` names this place. Use [`fault!`].
pub fn point(name: &str, kind: Option<&str>) {
    for wanted in wanted() {
        let here = match (kind, wanted.place.rsplit_once('@')) {
            (None, None) => wanted.place == name,
            (Some(kind), Some((place, of))) => place == name && of == kind,
            _ => false,
        };
        if here && wanted.passed.fetch_add(1, Ordering::Relaxed) + 1 == wanted.nth {
            if wanted.stops {
                stand_still();
                continue;
            }
            let _ = kill_process(getpid(), Signal::KILL);
            std::process::abort();
        }
    }
}

/// Stops the process. The signal may reach another thread first: this one waits until it has seen the way on.
fn stand_still() {
    let continued = Arc::new(AtomicBool::new(false));
    let heard = signal_hook::flag::register(signal_hook::consts::SIGCONT, continued.clone());
    if heard.is_err() || kill_process(getpid(), Signal::STOP).is_err() {
        return;
    }
    while !continued.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A place of [`HOST`], [`RUN`], [`OPERATION`] or [`RESTORE`], or, with the kind of a step, of [`STEP`].
macro_rules! fault {
    ($name:literal) => {{
        const _: () = assert!(
            $crate::fault::listed($crate::fault::HOST, $name)
                || $crate::fault::listed($crate::fault::BESIDE, $name)
                || $crate::fault::listed($crate::fault::RUN, $name)
                || $crate::fault::listed($crate::fault::OPERATION, $name)
                || $crate::fault::listed($crate::fault::RESTORE, $name),
            "not in fault::HOST, fault::BESIDE, fault::RUN, fault::OPERATION or fault::RESTORE"
        );
        $crate::fault::point($name, None);
    }};
    ($name:literal, $kind:expr) => {{
        const _: () = assert!($crate::fault::listed($crate::fault::STEP, $name), "not in fault::STEP");
        $crate::fault::point($name, Some($kind));
    }};
}
pub(crate) use fault;
