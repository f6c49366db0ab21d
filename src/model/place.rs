//! Places outside a release, and globs of them: what links of a bundle lead to, and what `links_out` allows. Texts only:
//! nothing is looked at on any disk.

use std::fmt;

/// A place outside a release, without `.`, and with `..` at its beginning only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// So many directories above the one that it is seen from; `None`: it is absolute.
    above: Option<usize>,
    parts: Vec<String>,
}

impl Place {
    /// What a link's target says, seen from where the link is.
    pub fn said(target: &str) -> Place {
        let above = if target.starts_with('/') { None } else { Some(0) };
        let mut place = Place { above, parts: Vec::new() };
        target.split('/').for_each(|part| place.enter(part));
        place
    }

    /// Goes one part of a path further. A `..` is taken as it is written, because nobody knows here whether it leaves a link.
    pub fn enter(&mut self, part: &str) {
        match part {
            "" | "." => {}
            // Above `/` there is nothing.
            ".." => {
                if let (None, Some(above)) = (self.parts.pop(), &mut self.above) {
                    *above += 1;
                }
            }
            part => self.parts.push(part.to_owned()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = self.parts.join("/");
        match self.above {
            None => write!(f, "/{rest}"),
            Some(above) => f.write_str(format!("{}{rest}", "../".repeat(above)).trim_end_matches('/')),
        }
    }
}

/// A glob of places. How far above it begins is compared apart from the rest: no `*` stands for a `..`.
#[derive(Debug)]
pub struct Places {
    above: Option<usize>,
    rest: globset::GlobMatcher,
}

impl Places {
    /// Takes a glob such as `/usr/bin/python3*` or `../../shared/**`; `*` stays within one part of a path, `**` does not.
    ///
    /// # Errors
    /// Why it is none: the rest of a sentence that begins with it.
    pub fn new(text: &str) -> Result<Places, String> {
        let (above, rest) = match text.strip_prefix('/') {
            Some(rest) => (None, rest),
            None => {
                let (mut above, mut rest) = (0, text);
                while let Some(further) =
                    rest.strip_prefix("..").filter(|rest| rest.is_empty() || rest.starts_with('/'))
                {
                    (above, rest) = (above + 1, further.trim_start_matches('/'));
                }
                (Some(above), rest)
            }
        };
        if above == Some(0) {
            let why = "begins neither with `/` nor with `../`: a link that stays inside the release is always taken";
            return Err(why.to_owned());
        }
        if rest.split('/').any(|part| matches!(part, "." | "..")) {
            return Err("has a part `.` or `..` after its beginning".to_owned());
        }
        let glob = globset::GlobBuilder::new(rest.trim_end_matches('/')).literal_separator(true).build();
        let glob = glob.map_err(|error| format!("is not a glob: {}", error.kind()))?;
        Ok(Places { above, rest: glob.compile_matcher() })
    }

    /// Whether a place is one of them.
    pub fn hold(&self, place: &Place) -> bool {
        self.above == place.above && self.rest.is_match(place.parts.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_holds_what_it_says_and_no_way_around_it() {
        let hold = |glob: &str, target: &str| Places::new(glob).unwrap().hold(&Place::said(target));
        for (glob, target) in [
            ("/usr/bin/python3*", "/usr/bin/python3.11"),
            ("/usr/bin/python3*", "//usr/./bin/python3"),
            ("/usr/bin/python3*", "/opt/../usr/bin/python3"),
            ("/srv/**", "/srv/data/2026/x"),
            ("/srv/{a,b}/[xy]", "/srv/b/x"),
            ("/etc/ssl/certs/", "/etc/ssl/certs"),
            ("../../shared/**", "../../shared/storage/app"),
            ("..", "x/../.."),
            ("../..", "../../"),
            ("../../shared/*", "../x/../../shared/storage/"),
        ] {
            assert!(hold(glob, target), "{glob} {target}");
        }
        for (glob, target) in [
            ("/usr/bin/python3*", "/usr/bin/python3/../../../etc/shadow"),
            ("/usr/bin/*", "/usr/bin/x/y"),
            ("/srv/**", "/srv/../etc/shadow"),
            ("/srv/**", "srv/x"),
            ("../**", "../../../etc/shadow"),
            ("../*/x", "../../x"),
            ("../../shared/**", "../../shared/../../../etc/shadow"),
        ] {
            assert!(!hold(glob, target), "{glob} {target}");
        }
        for bad in ["", "python3", "./x", "*", "**", "..x", "/usr/../etc", "../a/../b", "/a/./b", "/[", "{/a,/b}"] {
            assert!(Places::new(bad).is_err(), "{bad}");
        }
        let shown =
            ["/usr//bin/../lib/", "../../a/./b/../c", "..", "/", "/.."].map(|text| Place::said(text).to_string());
        assert_eq!(shown, ["/usr/lib", "../../a/c", "..", "/", "/"]);
    }
}
