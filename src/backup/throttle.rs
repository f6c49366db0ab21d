//! A line that others need, too, is not filled: what goes by waits until its time has come.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use crate::model::rate::Rate;

/// What was not used is kept for so long: a pause of the source is no reason for a burst afterwards.
const KEPT: Duration = Duration::from_millis(250);
/// Nobody sleeps longer without asking whether it is still wanted.
const NAP: Duration = Duration::from_millis(250);

/// Holds back what is faster than a rate; without one it does nothing.
pub struct Throttle {
    rate: Option<Rate>,
    /// When everything that went by has had its time.
    free_at: Instant,
}

impl Throttle {
    /// From now on.
    pub fn new(rate: Option<Rate>) -> Throttle {
        Throttle { rate, free_at: Instant::now() }
    }

    /// So many bytes have gone by. How long to wait for the next ones.
    fn after(&mut self, bytes: usize, now: Instant) -> Duration {
        let Some(Rate(rate)) = self.rate else { return Duration::ZERO };
        let earliest = now.checked_sub(KEPT).unwrap_or(now);
        let took = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        self.free_at = self.free_at.max(earliest) + took;
        self.free_at.saturating_duration_since(now)
    }

    /// So many bytes go by; waits until they may.
    ///
    /// # Errors
    /// Nobody wants them any more.
    pub fn pass(&mut self, bytes: usize, wanted: &dyn super::Wanted) -> io::Result<()> {
        let until = Instant::now() + self.after(bytes, Instant::now());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if !wanted.is_wanted() {
                return Err(super::unwanted());
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}

/// A stream that is held back.
pub struct Slowed<'a, S> {
    stream: S,
    throttle: Throttle,
    wanted: &'a dyn super::Wanted,
}

impl<'a, S> Slowed<'a, S> {
    /// At this rate.
    pub fn new(stream: S, rate: Option<Rate>, wanted: &'a dyn super::Wanted) -> Slowed<'a, S> {
        Slowed { stream, throttle: Throttle::new(rate), wanted }
    }

    /// What it stood in front of.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: Write> Write for Slowed<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(bytes)?;
        self.throttle.pass(written, self.wanted)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<S: Read> Read for Slowed<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(into)?;
        self.throttle.pass(read, self.wanted)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_faster_waits_and_what_was_not_used_is_not_made_up_for() {
        let start = Instant::now();
        let mut throttle = Throttle { rate: Some(Rate(1_000_000)), free_at: start };
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(throttle.after(500_000, at(0)), Duration::from_millis(500));
        assert_eq!(throttle.after(500_000, at(500)), Duration::from_millis(500));
        // Ten seconds of nothing: a quarter of a second of them counts.
        assert_eq!(throttle.after(500_000, at(11_000)), Duration::from_millis(250));
        let mut free = Throttle { rate: None, free_at: start };
        assert_eq!(free.after(usize::MAX, start), Duration::ZERO);
    }
}
