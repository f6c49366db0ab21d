//! The line of an output that says why a command failed. Stack traces, hints and farewells come after it, so that the last line
//! mostly is none of use. Pure: shapes of languages and databases, by their beginnings.

/// How a line begins that says what went wrong, the surest shapes first. Of one shape the last such line counts where causes are
/// told one below the other, else the first.
const SHAPES: &[(&str, Which)] = &[
    // Java tells the cause of a cause below it.
    ("Caused by: ", Which::Last),
    ("Exception in thread ", Which::First),
    // Databases, also where a framework quotes them.
    ("SQLSTATE[", Which::First),
    ("ERROR 1", Which::First),
    ("ERROR:  ", Which::First),
    ("FATAL:  ", Which::First),
    ("psql: error: ", Which::First),
    ("PHP Fatal error: ", Which::First),
    ("PHP Parse error: ", Which::First),
    ("Fatal error: ", Which::First),
    ("Parse error: ", Which::First),
];

#[derive(Clone, Copy)]
enum Which {
    First,
    Last,
}

/// The line that explains a failure, without the blanks around it; where no shape is known the last one that is not blank.
pub fn explaining(output: &str) -> Option<&str> {
    let lines = || output.lines().map(str::trim).filter(|line| !line.is_empty());
    let shaped = SHAPES.iter().find_map(|(begins, which)| {
        let mut found = lines().filter(|line| line.starts_with(begins) && line.len() > begins.len());
        match which {
            Which::First => found.next(),
            Which::Last => found.next_back(),
        }
    });
    shaped.or_else(|| thrown(output)).or_else(|| lines().next_back())
}

/// What Node, Python and PHP say of an error that nobody caught: `TypeError: x is no function`, with the places where it happened
/// below it (Node) or above it (Python). An exception of Laravel or Symfony stands below `In File.php line 7:`.
fn thrown(output: &str) -> Option<&str> {
    let lines: Vec<&str> = output.lines().collect();
    let is_place = |line: &str| line.starts_with("    at ");
    let traced = lines.iter().any(|line| line.starts_with("Traceback (most recent call last)"));
    let framework = lines.iter().position(|line| {
        let line = line.trim();
        line.starts_with("In ") && line.ends_with(':') && line.contains(" line ")
    });
    if let Some(at) = framework {
        return lines[at + 1..].iter().map(|line| line.trim()).find(|line| !line.is_empty());
    }
    let is_named = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default();
        let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_'));
        plain && ["Error", "Exception", "Exit", "Interrupt"].iter().any(|end| name.ends_with(end))
    };
    match traced {
        true => lines.iter().copied().rfind(is_named),
        false => {
            let before = lines.windows(2).find(|pair| is_named(&pair[0]) && is_place(pair[1]));
            before.map(|pair| pair[0])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_explains_is_found_in_what_languages_print() {
        for (output, line) in [
            ("one\n\n  two  \n\n", "two"),
            (
                "Traceback (most recent call last):\n  File \"x.py\", line 1\nValueError: no number\n\nbye",
                "ValueError: no number",
            ),
            (
                "/srv/a.js:3\n  x();\n  ^\n\nTypeError: x is not a function\n    at main (/srv/a.js:3:3)\n\nNode.js v20.1.0\n",
                "TypeError: x is not a function",
            ),
            (
                "Exception in thread \"main\" java.lang.RuntimeException: start\n\tat A.main(A.java:3)\n\
                 Caused by: java.net.ConnectException: refused\n\t... 3 more\n",
                "Caused by: java.net.ConnectException: refused",
            ),
            (
                "PHP Fatal error:  Uncaught Error: Class \"X\" not found in /srv/a.php:3\nStack trace:\n#0 {main}\n  thrown in /srv/a.php\n",
                "PHP Fatal error:  Uncaught Error: Class \"X\" not found in /srv/a.php:3",
            ),
            (
                "\n   In Connection.php line 829:\n\n  SQLSTATE[42S02]: Base table not found: 'shop.users'\n\n  (SQL: select 1)\n",
                "SQLSTATE[42S02]: Base table not found: 'shop.users'",
            ),
            (
                "\n   In Kernel.php line 12:\n\n  The command \"x\" is not defined.\n\n  Did you mean y?\n",
                "The command \"x\" is not defined.",
            ),
            (
                "ERROR:  relation \"users\" does not exist\nLINE 1: SELECT\n        ^\n",
                "ERROR:  relation \"users\" does not exist",
            ),
            (
                "ERROR 1146 (42S02) at line 3: Table 'a.b' doesn't exist\nbye\n",
                "ERROR 1146 (42S02) at line 3: Table 'a.b' doesn't exist",
            ),
            // What only looks like one, in the middle of a good output, explains nothing.
            ("Errors: 0\nStandardError: none\nthe disk is full\n", "the disk is full"),
        ] {
            assert_eq!(explaining(output), Some(line), "{output}");
        }
        assert_eq!(explaining(" \n\n"), None);
    }
}
