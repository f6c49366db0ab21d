//! Work that others do not feel: on a thread of its own, which the processor and the disk serve after everybody else. What it
//! starts, dumpers and packers, inherits that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::backup::Wanted;

/// As `nice -n 10`.
const NICE: i32 = 10;
/// As `ionice -c 2 -n 7`: the last among those that are served at all. An idle class would wait for ever beside a busy database.
const IDLEST: i32 = (2 << 13) | 7;
/// So often whoever asked is looked after.
const TICK: Duration = Duration::from_millis(200);

/// Does it, while somebody waits for it.
pub fn quietly<T: Send>(gone: &dyn Fn() -> bool, work: impl FnOnce(&dyn Wanted) -> T + Send) -> T {
    let wanted = Flag(AtomicBool::new(true));
    std::thread::scope(|scope| {
        let (ended, end) = channel::<()>();
        let wanted = &wanted;
        let working = scope.spawn(move || {
            // It is told by its end, however that comes.
            let _ended = ended;
            step_back();
            work(wanted)
        });
        while let Err(RecvTimeoutError::Timeout) = end.recv_timeout(TICK) {
            if gone() {
                wanted.0.store(false, Ordering::Relaxed);
            }
        }
        working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

struct Flag(AtomicBool);

impl Wanted for Flag {
    fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where the machine does not let it, it works as everybody else.
fn step_back() {
    // Of the calling thread alone: so Linux reads "this process".
    let _ = rustix::process::setpriority_process(None, NICE);
    // SAFETY: the call takes three numbers and changes nothing but how the disk serves this thread.
    #[allow(unsafe_code)]
    unsafe {
        libc::syscall(libc::SYS_ioprio_set, 1, 0, IDLEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_steps_back_and_whoever_asked_for_it_does_not() {
        let own = rustix::process::getpriority_process(None).unwrap();
        let (inside, wanted) =
            quietly(&|| false, |wanted| (rustix::process::getpriority_process(None).unwrap(), wanted.is_wanted()));
        assert_eq!((inside, wanted), (NICE.max(own), true));
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), own);
    }

    #[test]
    fn work_that_nobody_waits_for_is_told() {
        let ended = quietly(&|| true, |wanted| {
            let until = std::time::Instant::now() + Duration::from_secs(60);
            while wanted.is_wanted() && std::time::Instant::now() < until {
                std::thread::yield_now();
            }
            wanted.is_wanted()
        });
        assert!(!ended);
    }
}
