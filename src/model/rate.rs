//! How fast something may go: bytes in a second, as people write it (`20MB/s`).

use serde::{Deserialize, Serialize};

/// Bytes in a second; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(pub u64);

/// A thousand bytes a second is the least: what is slower never comes to its end.
const LEAST: u64 = 1000;

impl Rate {
    /// `20MB/s`, `800 kB/s`, `1.5GB/s`, `16MiB/s`: bytes, and not bits.
    ///
    /// # Errors
    /// Why it is none, without its text.
    pub fn parse(text: &str) -> Result<Rate, &'static str> {
        const FORM: &str = "it is not a number of bytes in a second";
        let number = text.trim().strip_suffix("/s").ok_or(FORM)?.trim_end();
        let digits = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
        let (number, unit) = number.split_at(digits);
        let unit: f64 = match unit.trim() {
            "B" => 1.0,
            "kB" | "KB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            "KiB" => 1024.0,
            "MiB" => 1_048_576.0,
            "GiB" => 1_073_741_824.0,
            _ => return Err(FORM),
        };
        let number: f64 = number.parse().map_err(|_| FORM)?;
        let bytes = number * unit;
        if !bytes.is_finite() || bytes < LEAST as f64 {
            return Err("less than 1 kB in a second never comes to an end");
        }
        // More than anything carries is no limit, and harms nobody.
        Ok(Rate(bytes.min(1e15) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_as_people_write_it() {
        for (text, bytes) in [
            ("20MB/s", 20_000_000),
            ("800 kB/s", 800_000),
            ("1.5GB/s", 1_500_000_000),
            ("16MiB/s", 16 << 20),
            ("1000B/s", 1000),
        ] {
            assert_eq!(Rate::parse(text), Ok(Rate(bytes)), "{text}");
        }
        for text in
            ["", "20MB", "20Mb/s", "20Mbit/s", "MB/s", "-1MB/s", "1.2.3MB/s", "0MB/s", "1B/s", "20 M B/s", "infMB/s"]
        {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }
}
