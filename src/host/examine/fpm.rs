//! Which PHP-FPM of Debian is there, and whether a reload of it lets requests under way end: without
//! `process_control_timeout` it cuts them off.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Where Debian has a directory for each version.
const PHP: &str = "/etc/php";

/// By the name of its unit: whether requests may end.
pub fn found() -> BTreeMap<String, bool> {
    let versions = fs::read_dir(PHP).into_iter().flatten().flatten();
    let fpm = versions.filter_map(|version| {
        let name = version.file_name().into_string().ok()?;
        Some((format!("php{name}-fpm"), spares(&configuration(&version.path().join("fpm"))?)))
    });
    fpm.collect()
}

/// The main file and what it includes, in that order; `None`: it cannot be read, or there is none.
fn configuration(dir: &Path) -> Option<String> {
    let mut text = fs::read_to_string(dir.join("php-fpm.conf")).ok()?;
    let pools = fs::read_dir(dir.join("pool.d")).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut pools: Vec<_> = pools.filter(|path| path.extension().is_some_and(|ext| ext == "conf")).collect();
    pools.sort();
    for pool in pools {
        text.push('\n');
        text.push_str(&fs::read_to_string(pool).ok()?);
    }
    Some(text)
}

/// The last word counts.
fn spares(text: &str) -> bool {
    let mut values =
        text.lines().filter_map(|line| line.trim().strip_prefix("process_control_timeout")?.trim().strip_prefix('='));
    let number = |value: &str| value.trim().chars().take_while(char::is_ascii_digit).any(|digit| digit != '0');
    values.next_back().is_some_and(number)
}

#[cfg(test)]
mod tests {
    use super::spares;

    #[test]
    fn only_a_time_lets_requests_end() {
        assert!(spares("[global]\n process_control_timeout = 30s\n"));
        assert!(spares("process_control_timeout=0\n[global]\nprocess_control_timeout = 1m ; long\n"));
        for text in
            ["", ";process_control_timeout = 30s\n", "process_control_timeout = 0s\n", "process_control_timeout =\n"]
        {
            assert!(!spares(text), "{text}");
        }
    }
}
