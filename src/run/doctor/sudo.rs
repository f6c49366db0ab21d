//! What `sudo -n -l` allows without a password, and whether a command is among it. Pure.

/// One command of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// As sudo prints it: `ALL`, or a path and its arguments.
    pub command: String,
    pub password: bool,
    pub denied: bool,
}

/// The list, in sudo's order: the last one that fits decides.
pub fn parse(text: &str) -> Vec<Allowed> {
    let mut found = Vec::new();
    let list = text.lines().skip_while(|line| !line.contains("may run the following commands"));
    let mut entries: Vec<String> = Vec::new();
    for line in list.skip(1) {
        match line.trim() {
            "" => {}
            line if line.starts_with('(') => entries.push(line.to_owned()),
            // Long lists go on in the next line.
            line => {
                if let Some(entry) = entries.last_mut() {
                    entry.push(' ');
                    entry.push_str(line);
                }
            }
        }
    }
    for entry in entries {
        let rest = entry.split_once(')').map_or("", |(_, rest)| rest);
        let mut password = true;
        for part in rest.replace("\\,", "\u{1}").split(',') {
            let mut command = part.trim().replace('\u{1}', ",");
            // Tags hold for what follows them.
            while let Some((tag, more)) = command.split_once(':')
                && !tag.is_empty()
                && tag.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
            {
                match tag {
                    "NOPASSWD" => password = false,
                    "PASSWD" => password = true,
                    _ => {}
                }
                command = more.trim().to_owned();
            }
            let denied = command.starts_with('!');
            let command = command.trim_start_matches('!').replace("\\:", ":").replace("\\=", "=");
            if !command.is_empty() {
                found.push(Allowed { command, password, denied });
            }
        }
    }
    found
}

/// What sudo would say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Yes,
    /// Only with a password, which nobody is there to type.
    Password,
    /// No; the nearest that it does allow.
    No(Option<String>),
}

/// Whether these words may be run.
pub fn ask(allowed: &[Allowed], words: &[String]) -> Answer {
    match allowed.iter().rfind(|allowed| fits(&allowed.command, words)) {
        Some(Allowed { denied: false, password: false, .. }) => Answer::Yes,
        Some(Allowed { denied: false, password: true, .. }) => Answer::Password,
        _ => Answer::No(near(allowed, &words.join(" "))),
    }
}

fn fits(allowed: &str, words: &[String]) -> bool {
    let Some((program, arguments)) = words.split_first() else { return false };
    if allowed == "ALL" {
        return true;
    }
    let (path, rest) = allowed.split_once(' ').unwrap_or((allowed, ""));
    let same = if program.starts_with('/') {
        // `/bin` is `/usr/bin` on every merged system.
        path.trim_start_matches("/usr") == program.trim_start_matches("/usr") || wild(path, program)
    } else {
        path.rsplit('/').next().is_some_and(|name| wild(name, program))
    };
    same && match rest {
        "" => true,
        "\"\"" => arguments.is_empty(),
        rest => wild(rest, &arguments.join(" ")),
    }
}

/// The shell's patterns, as sudo reads them: a `*` in arguments takes blanks, too.
fn wild(pattern: &str, text: &str) -> bool {
    let plain = pattern == text;
    plain || globset::Glob::new(pattern).is_ok_and(|glob| glob.compile_matcher().is_match(text))
}

/// `php8.2-fpm` where `php8.3-fpm` is allowed: a name that differs by little.
fn near(allowed: &[Allowed], wanted: &str) -> Option<String> {
    let plain = |command: &str| {
        let (path, rest) = command.split_once(' ').unwrap_or((command, ""));
        format!("{} {rest}", path.rsplit('/').next().unwrap_or(path)).trim().to_owned()
    };
    let wanted = plain(wanted);
    let open = allowed.iter().filter(|allowed| !allowed.password && !allowed.denied);
    open.map(|allowed| plain(&allowed.command))
        .map(|command| (strsim::jaro_winkler(&command, &wanted), command))
        .filter(|(likeness, _)| *likeness > 0.9)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, command)| command)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "Matching Defaults entries for deploy on web1:\n    env_reset, secure_path=/usr/sbin\\:/usr/bin\n\n\
        User deploy may run the following commands on web1:\n    (root) NOPASSWD: /usr/bin/systemctl reload php8.2-fpm, /usr/sbin/nginx -t,\n        \
        /usr/bin/systemctl restart worker@*\n    (ALL : ALL) PASSWD: /usr/bin/apt\n    (root) NOPASSWD: /usr/bin/id \"\", !/usr/bin/systemctl restart worker@9\n";

    fn said(command: &str) -> Answer {
        let words: Vec<_> = command.split(' ').map(str::to_owned).collect();
        ask(&parse(LIST), &words)
    }

    #[test]
    fn what_is_allowed_is_read_as_sudo_means_it() {
        for yes in [
            "systemctl reload php8.2-fpm",
            "/bin/systemctl reload php8.2-fpm",
            "nginx -t",
            "systemctl restart worker@1",
            "id",
        ] {
            assert_eq!(said(yes), Answer::Yes, "{yes}");
        }
        assert_eq!(said("apt update"), Answer::Password);
        for no in ["id -u", "systemctl restart worker@9", "systemctl stop nginx", "reboot", "nginx -s reload"] {
            assert!(matches!(said(no), Answer::No(_)), "{no}");
        }
    }

    #[test]
    fn another_version_of_a_service_is_suggested() {
        assert_eq!(said("systemctl reload php8.3-fpm"), Answer::No(Some("systemctl reload php8.2-fpm".to_owned())));
        assert_eq!(said("reboot"), Answer::No(None));
    }

    #[test]
    fn everything_is_everything() {
        let all = parse("User root may run the following commands on x:\n    (ALL : ALL) NOPASSWD: ALL\n");
        assert_eq!(ask(&all, &["reboot".to_owned()]), Answer::Yes);
        assert_eq!(ask(&[], &["reboot".to_owned()]), Answer::No(None));
    }
}
