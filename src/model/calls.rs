//! Which programs a configured command calls, as far as its text says so: the words of each simple command in it. Pure,
//! and no shell: what is inside a substitution or behind a variable is not seen.

/// A command without pipes, lists or redirections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Without assignments before it, keywords and redirections.
    pub words: Vec<String>,
    /// Nothing stands before it in the command.
    pub first: bool,
}

/// Words of the shell itself.
const BUILTIN: [&str; 37] = [
    "if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "in", "!", "{", "}",
    "(", ")", "cd", "test", "[", "exit", "export", "set", "unset", "true", "false", ":", ".", "source", "eval", "exec",
    "umask", "trap", "wait", "command", "return",
];
/// Words that only introduce a command: the program that is meant comes after them.
const LEADS: [&str; 14] =
    ["if", "then", "elif", "else", "while", "until", "do", "!", "{", "(", "exec", "command", "}", ")"];

/// The simple commands of a text, in their order.
pub fn calls(text: &str) -> Vec<Call> {
    let mut found = Vec::new();
    for (index, words) in segments(text).into_iter().enumerate() {
        let assigns = |word: &String| {
            word.split_once('=').is_some_and(|(name, _)| {
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            })
        };
        let skip = |word: &String| LEADS.contains(&word.as_str()) || assigns(word);
        let words: Vec<_> = words.into_iter().skip_while(skip).collect();
        if !words.is_empty() {
            found.push(Call { words, first: index == 0 });
        }
    }
    found
}

impl Call {
    /// What follows `sudo` and its options; `None`: it is none.
    pub fn behind_sudo(&self) -> Option<&[String]> {
        if self.words[0].rsplit('/').next() != Some("sudo") {
            return None;
        }
        let mut rest = &self.words[1..];
        while let [option, more @ ..] = rest
            && option.starts_with('-')
        {
            rest = more;
            if option == "--" {
                break;
            }
            // These options of sudo take a word of their own.
            if ["-u", "-g", "-h", "-p", "-C", "-T", "-D", "-R"].contains(&option.as_str()) {
                rest = rest.get(1..).unwrap_or_default();
            }
        }
        Some(rest)
    }

    /// The programs that it needs on the host's PATH, or at an absolute path.
    pub fn programs(&self) -> Vec<&str> {
        let behind = self.behind_sudo().and_then(<[String]>::first);
        let words = std::iter::once(&self.words[0]).chain(behind).map(String::as_str);
        let is_program = |word: &&str| {
            let plain = word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+/".contains(&b));
            plain && !BUILTIN.contains(word) && (word.starts_with('/') || !word.contains('/')) && !word.starts_with('-')
        };
        words.filter(is_program).collect()
    }
}

/// Words between operators, quotes taken off.
fn segments(text: &str) -> Vec<Vec<String>> {
    let (mut all, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut chars = text.chars().peekable();
    let mut redirected = false;
    let close = |word: &mut Option<String>, words: &mut Vec<String>, redirected: &mut bool| {
        if let Some(word) = word.take()
            && !std::mem::take(redirected)
        {
            words.push(word);
        }
    };
    while let Some(c) = chars.next() {
        match c {
            '\'' => word.get_or_insert_default().extend(chars.by_ref().take_while(|c| *c != '\'')),
            '"' => {
                let word = word.get_or_insert_default();
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    word.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            '#' if word.is_none() => while chars.next_if(|c| *c != '\n').is_some() {},
            '>' | '<' => {
                // `2>&1`: the number belongs to the redirection.
                if word.as_ref().is_some_and(|word| word.bytes().all(|b| b.is_ascii_digit())) {
                    word = None;
                }
                close(&mut word, &mut words, &mut redirected);
                while chars.next_if(|c| "<>&".contains(*c)).is_some() {}
                redirected = true;
            }
            '&' | '|' | ';' | '\n' | '(' | ')' => {
                close(&mut word, &mut words, &mut redirected);
                redirected = false;
                if !words.is_empty() {
                    all.push(std::mem::take(&mut words));
                }
            }
            c if c.is_whitespace() => close(&mut word, &mut words, &mut redirected),
            c => word.get_or_insert_default().push(c),
        }
    }
    close(&mut word, &mut words, &mut redirected);
    if !words.is_empty() {
        all.push(words);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(text: &str) -> Vec<String> {
        calls(text).iter().flat_map(|call| call.programs().into_iter().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn programs_are_found_where_a_shell_would_look_for_them() {
        assert_eq!(programs("php artisan migrate --force && composer dump"), ["php", "composer"]);
        assert_eq!(
            programs("cd public; APP_ENV=x php -r \"require 'a; b'; c | d\" 2>&1 >/dev/null | grep -q ok"),
            ["php", "grep"]
        );
        assert_eq!(programs("if ! curl -f http://x/; then exit 1; fi"), ["curl"]);
        assert_eq!(programs("sudo -n -u root /usr/sbin/nginx -t"), ["sudo", "/usr/sbin/nginx"]);
        assert_eq!(programs("./vendor/bin/x; $PHP x; test -e broken # rsync"), Vec::<String>::new());
    }

    #[test]
    fn what_sudo_runs_is_found() {
        let behind =
            |text: &str| calls(text).iter().filter_map(|c| c.behind_sudo().map(|w| w.join(" "))).collect::<Vec<_>>();
        assert_eq!(
            behind("nginx -t && sudo -n systemctl reload php8.3-fpm || sudo -u www-data -- id"),
            ["systemctl reload php8.3-fpm", "id"]
        );
    }
}
