//! The Prometheus text format, as far as one figure needs it: a selector, the samples that match it, their sum. Pure.

/// `name{label="x",other!="y"}`.
#[derive(Debug, PartialEq)]
pub(super) struct Selector {
    name: String,
    matchers: Vec<Matcher>,
}

#[derive(Debug, PartialEq)]
struct Matcher {
    label: String,
    equal: bool,
    value: String,
}

impl Selector {
    /// Reads a selector. The error says what is expected.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut cursor = Cursor(text.trim());
        let read = (|| {
            let name = cursor.name(true)?;
            let matchers = cursor.labels(true)?;
            cursor.0.is_empty().then_some(Selector { name, matchers })
        })();
        read.ok_or_else(|| {
            format!("`{text}` selects nothing: a JSON pointer (`/queue/size`) or a sample (`name{{label=\"x\"}}`) is expected")
        })
    }

    /// The sum of all samples that match, and how many they were. A line that is broken is an error only where it
    /// could have been one of them.
    pub(super) fn sum(&self, text: &str) -> Result<(f64, usize), String> {
        let (mut sum, mut count) = (0.0, 0);
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match sample(line) {
                Some((name, labels, value)) if name == self.name && self.admits(&labels) => {
                    sum += value;
                    count += 1;
                }
                Some(_) => {}
                None if line.starts_with(&self.name) => {
                    return Err(format!("line {} of the answer is not a sample in the Prometheus format", number + 1));
                }
                None => {}
            }
        }
        Ok((sum, count))
    }

    fn admits(&self, labels: &[Matcher]) -> bool {
        self.matchers.iter().all(|wanted| {
            // A label that is absent is one with an empty value (Prometheus' rule).
            let value = labels.iter().find(|l| l.label == wanted.label).map_or("", |l| l.value.as_str());
            (value == wanted.value) == wanted.equal
        })
    }
}

/// One line: name, labels, value; a timestamp or an exemplar may follow.
fn sample(line: &str) -> Option<(String, Vec<Matcher>, f64)> {
    let mut cursor = Cursor(line);
    let name = cursor.name(true)?;
    let labels = cursor.labels(false)?;
    let value = cursor.0.split_whitespace().next()?.parse().ok()?;
    Some((name, labels, value))
}

/// What is left of a line.
struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_blanks();
        let rest = self.0.strip_prefix(token);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// A metric's name (with `:`) or a label's.
    fn name(&mut self, metric: bool) -> Option<String> {
        self.skip_blanks();
        let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || (metric && c == ':');
        let end = self.0.find(|c| !part(c)).unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.0 = rest;
        Some(name.to_owned())
    }

    /// `{…}` or nothing. `!=` only in selectors.
    fn labels(&mut self, selector: bool) -> Option<Vec<Matcher>> {
        let mut labels = Vec::new();
        if !self.take("{") {
            return Some(labels);
        }
        while !self.take("}") {
            let label = self.name(false)?;
            let equal = !(selector && self.take("!="));
            if equal && !self.take("=") {
                return None;
            }
            let value = self.quoted()?;
            labels.push(Matcher { label, equal, value });
            if !self.take(",") {
                return self.take("}").then_some(labels);
            }
        }
        Some(labels)
    }

    fn quoted(&mut self) -> Option<String> {
        if !self.take("\"") {
            return None;
        }
        let mut value = String::new();
        let mut chars = self.0.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Some(value);
                }
                '\\' => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    escaped @ ('\\' | '"') => value.push(escaped),
                    // The format leaves other escapes as they are.
                    other => value.extend(['\\', other]),
                },
                c => value.push(c),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP http_requests_total The total.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="500",}    3
http_requests_total { method = "get" , code = "200" } 1e3
http_requests_total_created 7
msdos_file{path="C:\\DIR\\FILE.TXT",error="Cannot find:\n\"}{,\"\d"} 1.458e9
up NaN
low -Inf
high{le="+Inf"} +Inf # {trace_id="x"} 0.5
no value here
bro{ken="x" 3
"#;

    fn sum(selector: &str) -> (f64, usize) {
        Selector::parse(selector).unwrap().sum(TEXT).unwrap()
    }

    #[test]
    fn matching_samples_are_summed() {
        assert_eq!(sum("http_requests_total"), (2030.0, 3));
        assert_eq!(sum(r#"http_requests_total{method="post"}"#), (1030.0, 2));
        assert_eq!(sum(r#"http_requests_total{ code!="200", }"#), (3.0, 1));
        assert_eq!(sum(r#"http_requests_total{absent=""}"#).1, 3);
        assert_eq!(sum(r#"http_requests_total{method="put"}"#).1, 0);
        assert_eq!(sum("http_requests").1, 0);
        assert_eq!(sum(r#"msdos_file{error="Cannot find:\n\"}{,\"\d",path="C:\\DIR\\FILE.TXT"}"#), (1.458e9, 1));
    }

    #[test]
    fn special_values_are_read() {
        assert!(sum("up").0.is_nan());
        assert_eq!(sum("low").0, f64::NEG_INFINITY);
        assert_eq!(sum(r#"high{le="+Inf"}"#).0, f64::INFINITY);
    }

    #[test]
    fn a_broken_line_matters_only_where_it_could_match() {
        assert_eq!(
            Selector::parse("bro").unwrap().sum(TEXT).unwrap_err(),
            "line 12 of the answer is not a sample in the Prometheus format"
        );
        for bad in ["", "{a=\"x\"}", "9a", "a{b}", "a{b=x}", "a{b=\"x\"", "a b", "a{b=~\"x\"}", "a{b=\"x\"} 3"] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
    }
}
