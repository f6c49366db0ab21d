//! One stream to several targets: one that fails is left out with its reason, and the others get all of it.

use std::io::{self, Write};

use crate::backup::Wanted;
use crate::backup::target::Put;

/// One end of the fan.
pub struct Leg {
    /// The name of the target.
    pub target: String,
    /// What it takes, or why it takes nothing.
    pub put: Result<Put, String>,
}

/// All of them.
pub struct Fan<'a> {
    legs: Vec<Leg>,
    wanted: &'a dyn Wanted,
}

impl<'a> Fan<'a> {
    /// To these, while somebody wants it.
    pub fn new(legs: Vec<Leg>, wanted: &'a dyn Wanted) -> Fan<'a> {
        Fan { legs, wanted }
    }

    /// The ends, after all was written.
    pub fn into_legs(self) -> Vec<Leg> {
        self.legs
    }
}

impl Write for Fan<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.wanted.is_wanted() {
            return Err(crate::backup::unwanted());
        }
        for leg in &mut self.legs {
            if let Ok(put) = &mut leg.put
                && let Err(error) = put.write_all(bytes)
            {
                leg.put = Err(error.to_string());
            }
        }
        if self.legs.iter().all(|leg| leg.put.is_err()) {
            let why: Vec<_> = self.legs.iter().filter_map(|leg| Some((&leg.target, leg.put.as_ref().err()?))).collect();
            let why: Vec<_> = why.into_iter().map(|(target, why)| format!("{target}: {why}")).collect();
            return Err(io::Error::other(format!("no target takes it: {}", why.join("; "))));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;
    impl Wanted for Gone {
        fn is_wanted(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_stream_that_nobody_wants_ends() {
        let mut fan = Fan::new(Vec::new(), &Gone);
        let error = fan.write_all(b"more of it").unwrap_err();
        assert!(error.to_string().contains("nobody waits"), "{error}");
    }
}
