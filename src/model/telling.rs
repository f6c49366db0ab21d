//! The line of an output that says why a command failed. Stack traces, hints and farewells come after it, so that the last line
//! mostly is none of use. Pure: shapes of languages, frameworks and databases.

/// The line that explains a failure, without the blanks around it; where no shape is known the last one that says something.
pub fn explaining(output: &str) -> Option<&str> {
    let last = || output.lines().map(str::trim).rfind(|line| says_something(line));
    // A shell ends with what it could not start, whatever went wrong before that and was coped with.
    let unstarted = last().filter(|line| line.ends_with("not found") || line.ends_with("Permission denied"));
    let found = unstarted.or_else(|| java(output)).or_else(|| framework(output)).or_else(|| python(output));
    found.or_else(|| node(output)).or_else(|| begun(output)).or_else(last)
}

/// Not a line that every failure ends with: the version of Node, where npm keeps its log.
fn says_something(line: &str) -> bool {
    let farewell =
        line.starts_with("Node.js v") || line.ends_with("-debug-0.log") || line.contains("A complete log of this run");
    !line.is_empty() && line != "npm ERR!" && !farewell
}

/// Java tells the cause of a cause below it.
fn java(output: &str) -> Option<&str> {
    let lines = || output.lines().map(str::trim);
    let thrown = lines().find(|line| line.starts_with("Exception in thread "))?;
    Some(lines().rfind(|line| line.starts_with("Caused by: ")).unwrap_or(thrown))
}

/// Laravel and Symfony: the message stands below `In File.php line 7:`.
fn framework(output: &str) -> Option<&str> {
    let mut lines = output.lines().map(str::trim);
    let is_place = |line: &str| {
        let place = line.strip_prefix("In ").and_then(|rest| rest.strip_suffix(':')?.split_once(" line "));
        place.is_some_and(|(file, number)| !file.contains(' ') && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    lines.find(|line| is_place(line))?;
    lines.find(|line| !line.is_empty())
}

/// Python: below the places of the last trace, which is that of the exception that nobody caught.
fn python(output: &str) -> Option<&str> {
    let (_, trace) = output.rsplit_once("Traceback (most recent call last)")?;
    let mut below = trace.lines().skip(1);
    below.find(|line| !line.starts_with(char::is_whitespace) && !line.is_empty()).map(str::trim)
}

/// Node: `TypeError [CODE]: x is no function`, and soon below it the places where it happened.
fn node(output: &str) -> Option<&str> {
    let lines: Vec<&str> = output.lines().collect();
    let is_named = |line: &str| {
        let name = line.split(':').next().unwrap_or_default();
        let name = name.split_once(" [").filter(|(_, code)| code.ends_with(']')).map_or(name, |(name, _)| name);
        let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_'));
        plain && line.contains(": ") && (name.ends_with("Error") || name.ends_with("Exception"))
    };
    let is_placed = |at: usize| lines[at + 1..].iter().take(WITHIN).any(|line| line.starts_with("    at "));
    (0..lines.len()).find(|at| is_named(lines[*at]) && is_placed(*at)).map(|at| lines[at].trim())
}

/// Between what Node throws and its first place stands what a module was required by.
const WITHIN: usize = 8;

/// Lines that say by their beginning that they are errors of PHP or of a database. The last one is nearest to the end.
fn begun(output: &str) -> Option<&str> {
    const BEGINNINGS: [&str; 8] = [
        "SQLSTATE[",
        "ERROR:  ",
        "FATAL:  ",
        "psql: error: ",
        "PHP Fatal error: ",
        "PHP Parse error: ",
        "Fatal error: ",
        "Parse error: ",
    ];
    // `ERROR 1146 (42S02) at line 3: …`
    let is_mysql = |line: &str| {
        let number = line.strip_prefix("ERROR ").and_then(|rest| rest.split_once(" ("));
        number.is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_error = |line: &str| {
        is_mysql(line) || BEGINNINGS.iter().any(|begins| line.len() > begins.len() && line.starts_with(begins))
    };
    output.lines().map(str::trim).rfind(|line| is_error(line))
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
            // An exception that was caught is not why it ended.
            (
                "Traceback (most recent call last):\n  File \"x.py\", line 1\nKeyError: 'X'\n\nDuring handling of the above \
                 exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"y.py\", line 2\n\
                 django.core.exceptions.ImproperlyConfigured: Set X\n",
                "django.core.exceptions.ImproperlyConfigured: Set X",
            ),
            (
                "Error: Cannot find module 'express'\nRequire stack:\n- /srv/a.js\n    at Module (node:x:1)\n\nNode.js v18.19.0",
                "Error: Cannot find module 'express'",
            ),
            (
                "TypeError [ERR_INVALID_ARG_TYPE]: The \"path\" argument\n    at main (/srv/a.js:3:3)\n\nNode.js v18.19.0\n",
                "TypeError [ERR_INVALID_ARG_TYPE]: The \"path\" argument",
            ),
            (
                "npm ERR! missing script: build\nnpm ERR!\nnpm ERR! A complete log of this run can be found in:\n\
                 npm ERR!     /root/.npm/_logs/x-debug-0.log\n",
                "npm ERR! missing script: build",
            ),
            ("ERROR 2002 (HY000): Can't connect\nbye\n", "ERROR 2002 (HY000): Can't connect"),
            // What was coped with, and what only begins like an error.
            ("ERROR:  role \"shop\" already exists\nsh: 3: composer: not found\n", "sh: 3: composer: not found"),
            ("ERROR 1 of 3 tries: again\nit is too late\n", "it is too late"),
            ("In this release 3 line items were changed:\n  a.txt\nthe disk is full\n", "the disk is full"),
            // What only looks like one, in the middle of a good output, explains nothing.
            ("Errors: 0\nStandardError: none\nthe disk is full\n", "the disk is full"),
        ] {
            assert_eq!(explaining(output), Some(line), "{output}");
        }
        assert_eq!(explaining(" \n\n"), None);
    }
}
