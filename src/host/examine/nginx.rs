//! What `nginx -T` prints, read for one mistake: a document root behind `current` that PHP is told by its link. OPcache
//! then keeps serving the tree of the release before, because the path did not change. Pure.

use std::collections::BTreeMap;

/// The roots behind `current` of servers whose last `SCRIPT_FILENAME` holds `$document_root`.
pub fn stale(dump: &str, current: &str) -> Vec<String> {
    let files = files(dump);
    let mut found: Vec<String> = Vec::new();
    for text in files.values() {
        for server in servers(text) {
            let mut words = Vec::new();
            expand(&server, &files, 0, &mut words);
            let behind = words.iter().find(|d| d[0] == "root" && d.len() > 1 && leads(&d[1], current));
            let script =
                words.iter().rfind(|d| d[0] == "fastcgi_param" && d.get(1).is_some_and(|n| n == "SCRIPT_FILENAME"));
            if let (Some(root), Some(script)) = (behind, script)
                && script[2..].iter().any(|value| value.contains("$document_root"))
                && !found.contains(&root[1])
            {
                found.push(root[1].clone());
            }
        }
    }
    found
}

fn leads(root: &str, current: &str) -> bool {
    root == current || root.strip_prefix(current).is_some_and(|rest| rest.starts_with('/'))
}

/// The files of the dump, by the path in `# configuration file PATH:`.
fn files(dump: &str) -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut at = String::new();
    for line in dump.lines() {
        match line.strip_prefix("# configuration file ").and_then(|rest| rest.strip_suffix(':')) {
            Some(path) => at = path.to_owned(),
            None => {
                let text = files.entry(at.clone()).or_default();
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    files
}

/// Words, `;`, `{` and `}`, comments left out.
fn tokens(text: &str) -> Vec<String> {
    let (mut out, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => word.push(c),
            None => match c {
                '"' | '\'' => quote = Some(c),
                '#' if word.is_empty() => while chars.next_if(|c| *c != '\n').is_some() {},
                '{' if word.ends_with('$') => {
                    word.push(c);
                    while let Some(c) = chars.next_if(|c| *c != '}') {
                        word.push(c);
                    }
                    word.extend(chars.next());
                }
                ';' | '{' | '}' => {
                    if !word.is_empty() {
                        out.push(std::mem::take(&mut word));
                    }
                    out.push(c.to_string());
                }
                c if c.is_whitespace() => {
                    if !word.is_empty() {
                        out.push(std::mem::take(&mut word));
                    }
                }
                c => word.push(c),
            },
        }
    }
    if !word.is_empty() {
        out.push(word);
    }
    out
}

/// The directives inside each `server { … }`, those of inner blocks as well.
fn servers(text: &str) -> Vec<Vec<Vec<String>>> {
    let (mut found, mut open): (Vec<Vec<Vec<String>>>, Option<usize>) = (Vec::new(), None);
    let (mut depth, mut directive) = (0, Vec::new());
    for token in tokens(text) {
        match token.as_str() {
            "{" => {
                if open.is_none() && directive == ["server"] {
                    open = Some(depth);
                    found.push(Vec::new());
                }
                depth += 1;
                directive = Vec::new();
            }
            "}" => {
                depth -= 1;
                directive = Vec::new();
                open = open.filter(|at| *at != depth);
            }
            ";" => {
                let done = std::mem::take(&mut directive);
                if let (Some(_), Some(server), false) = (open, found.last_mut(), done.is_empty()) {
                    server.push(done);
                }
            }
            _ => directive.push(token),
        }
    }
    found
}

/// A server's directives with its includes in their place.
fn expand(server: &[Vec<String>], files: &BTreeMap<String, String>, depth: u32, out: &mut Vec<Vec<String>>) {
    for directive in server {
        let included = (directive[0] == "include" && depth < 8).then(|| directive.get(1)).flatten();
        let Some(name) = included else {
            out.push(directive.clone());
            continue;
        };
        let glob = globset::Glob::new(name.trim_start_matches("./")).ok().map(|glob| glob.compile_matcher());
        for (path, text) in files {
            let relative = path.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
            if relative || glob.as_ref().is_some_and(|glob| glob.is_match(path)) {
                let inner: Vec<Vec<String>> = tokens(text)
                    .split(|token| [";", "{", "}"].contains(&token.as_str()))
                    .filter(|words| !words.is_empty())
                    .map(<[String]>::to_vec)
                    .collect();
                expand(&inner, files, depth + 1, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: &str = "# configuration file /etc/nginx/fastcgi.conf:\nfastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;\n";

    fn site(root: &str, php: &str) -> String {
        format!(
            "# configuration file /etc/nginx/nginx.conf:\nhttp {{ include /etc/nginx/sites/*; }}\n{PARAMS}\
             # configuration file /etc/nginx/sites/app:\nserver {{ # main }}\n root \"{root}\";\n location ~ \\.php$ {{ {php} }} }}\n"
        )
    }

    #[test]
    fn a_document_root_behind_current_is_seen_through_includes() {
        let is = |root: &str, php: &str| stale(&site(root, php), "/var/www/app/current");
        let here = "/var/www/app/current/public";
        let document = "fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;";
        let real = "fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;";
        assert_eq!(is(here, document), [here]);
        assert_eq!(is(here, "include fastcgi.conf;"), [here]);
        assert_eq!(is(here, &format!("include fastcgi.conf; {real}")), Vec::<String>::new());
        assert_eq!(is("/var/www/app/currently", document), Vec::<String>::new());
        assert_eq!(is("/var/www/other/current", document), Vec::<String>::new());
        assert_eq!(is(here, "return 404;"), Vec::<String>::new());
    }
}
