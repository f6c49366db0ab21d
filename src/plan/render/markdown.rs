//! A plan as a pull-request comment: one comment, found again by its marker and edited in place. Summary first, blockers
//! next, details folded; one line where nothing changes. Nothing from outside can mention, link or format.

use super::fold::{self, Fold};
use super::parts::{self, count};
use super::services;
use crate::model::desired::diagnose::Diagnostics;
use crate::model::shown::{clean, counted};
use crate::plan::{Blocker, Code, EnvPlan, Plan, Step, Verdict};

/// By this line the comment is found again.
pub const MARKER: &str = "<!-- soll-plan -->";

/// Forges refuse more than 65,536 characters. Counted in bytes, to be on the safe side of every way of counting.
pub const LIMIT: usize = 60_000;

/// Room for what closes a cut comment.
const RESERVE: usize = 400;

/// The whole comment, never longer than [`LIMIT`].
pub fn markdown(plan: &Plan) -> String {
    let seen = plan.observed.as_ref();
    let seen =
        seen.map(|seen| format!(", made from what was observed at {:.0}, {} before", seen.at, parts::age(seen.age_s)));
    let seen = seen.unwrap_or_default();
    let foot = format!("commit {}, plan {}{seen}", code(&plan.commit), code(&plan.fingerprint.to_string()));
    let acts = |env: &&EnvPlan| env.has_changes() || env.blocking().next().is_some();
    let (acting, quiet): (Vec<_>, Vec<_>) = plan.environments.iter().partition(acts);
    let mut comment = Comment { out: format!("{MARKER}\n"), full: false };
    if acting.is_empty() {
        let drift = plan.environments.iter().filter(|e| e.hosts.iter().any(|h| !h.drift.is_empty())).count();
        let drift = if drift > 0 { format!("; drift is reported in {drift}") } else { String::new() };
        let unasked = plan.environments.iter().any(|e| e.blockers.iter().any(|b| b.code == Code::NotAccepted));
        let unasked = if unasked { "; what this commit adds was not looked at before it is accepted" } else { "" };
        comment.out.push_str(&format!("**soll**: nothing changes{drift}{unasked} ({foot}).\n"));
        return comment.out;
    }
    comment.push(&format!("**soll**: {} ({foot}).\n\n", parts::tally(&plan.environments)));
    if let Some(why) = &plan.refused {
        comment.push(&format!("This commit is not acted on: {}\n\n", code(why.lines().next().unwrap_or_default())));
    }
    if let Some(accepted) = &plan.accepted {
        comment.push(&format!("It is not accepted: hosts were looked at as commit {} names them.\n\n", code(accepted)));
    }
    let folded = fold::folded(&acting);
    for (title, env, of) in folded.iter().map(titled) {
        comment.push(&headline(&title, env));
        if !of.is_empty() {
            let names: Vec<_> = of.iter().map(|env| code(env.name.as_str())).collect();
            comment.push(&format!("{}\n\n", names.join(", ")));
        }
        env.blockers.iter().filter(|b| b.blocks()).for_each(|b| comment.push(&blocker(b)));
        comment.push("\n");
    }
    folded.iter().map(titled).for_each(|(title, env, _)| details(&mut comment, &title, env));
    quiet.iter().for_each(|env| notes(&mut comment, env));
    drift(&mut comment, &plan.environments);
    comment.finish()
}

/// The comment on a commit of which no plan can be made, because its state file is wrong: each mistake at its place.
pub fn invalid(commit: &str, wrong: &Diagnostics) -> String {
    let mut comment = Comment { out: format!("{MARKER}\n"), full: false };
    let errors = counted(wrong.iter().count() as u64, "mistake", "mistakes");
    comment.push(&format!("**soll**: no plan: the state file has {errors} (commit {}).\n\n", code(commit)));
    for line in wrong.to_string().lines() {
        comment.push(&format!("- {}\n", words(line)));
    }
    comment.push("\nNothing changes until the commit is mended: `soll validate` shows each line.\n");
    comment.finish()
}

/// The comment on a commit of which parts are wrong, and the rest is planned: what is wrong stands first, after `told`, which
/// says what becomes of those parts.
pub fn with_mistakes(plan: &Plan, told: &str, wrong: &Diagnostics) -> String {
    let planned = markdown(plan);
    let rest = planned.strip_prefix(MARKER).unwrap_or(&planned);
    let mut comment = Comment { out: format!("{MARKER}\n"), full: false };
    comment.push(&format!("**soll**: {}\n\n", words(told)));
    for line in wrong.to_string().lines() {
        comment.push(&format!("- {}\n", words(line)));
    }
    match comment.out.len() + rest.len() < LIMIT - RESERVE {
        true => comment.out.push_str(rest),
        false => comment.full = true,
    }
    comment.finish()
}

/// A comment that takes whole blocks until it is full, so that nothing is cut inside a tag or an escape.
struct Comment {
    out: String,
    full: bool,
}

impl Comment {
    fn push(&mut self, block: &str) {
        self.full |= self.out.len() + block.len() > LIMIT - RESERVE;
        if !self.full {
            self.out.push_str(block);
        }
    }

    /// A folded block, whose lines are left out from where they do not fit.
    fn fold(&mut self, summary: &str, lines: impl IntoIterator<Item = String>) {
        let open = format!("<details><summary>{summary}</summary>\n\n");
        if self.full || self.out.len() + open.len() > LIMIT - RESERVE {
            self.full = true;
            return;
        }
        self.out.push_str(&open);
        lines.into_iter().for_each(|line| self.push(&line));
        self.out.push_str("\n</details>\n\n");
    }

    fn finish(mut self) -> String {
        if self.full {
            let rest =
                "\nThe plan is longer than a comment may be; the rest is left out here. All of it: `soll plan`.\n";
            self.out.push_str(rest);
        }
        self.out
    }
}

/// What a block is about: the name of an environment, or how many there are, and then which.
fn titled<'a>(fold: &'a Fold<'_>) -> (String, &'a EnvPlan, &'a [&'a EnvPlan]) {
    match fold {
        Fold::One(env) => (env.name.to_string(), env, &[]),
        Fold::Many { like, of } => (count(of.len(), "environment"), like, of),
    }
}

fn headline(title: &str, env: &EnvPlan) -> String {
    format!(
        "### {}: {}\n\n{}, {}; desired {}, runs {}\n\n",
        words(title),
        env.verdict.as_str(),
        parts::sync(env.sync),
        parts::health(env.health),
        code(&parts::soll(env)),
        code(&parts::ist(env)),
    )
}

fn blocker(blocker: &Blocker) -> String {
    format!(
        "- **{}** {}: {}\\\n  Fix: {}\n",
        parts::grade(blocker.grade),
        code(&parts::word(&blocker.code)),
        words(&parts::message(blocker)),
        words(&blocker.fix)
    )
}

fn details(comment: &mut Comment, title: &str, env: &EnvPlan) {
    let noted: Vec<_> = env.blockers.iter().filter(|b| !b.blocks()).map(blocker).collect();
    let hosts = env.hosts.iter().map(|host| {
        let confirmed = host.confirmed.as_ref().map_or("nothing".to_owned(), |c| code(c.as_str()));
        let now = code(&parts::current(host));
        let line =
            format!("- {}: runs {now}, confirmed {confirmed}: {}\n", code(host.name.as_str()), words(&host.reason));
        services::of(env, host).iter().fold(line, |line, service| format!("{line}  - {}\n", code(service)))
    });
    let summary = format!("{}: {}", html(title), count(env.hosts.len(), "host"));
    comment.fold(&summary, noted.into_iter().chain(hosts));
    if let Some(changes) = &env.changes {
        let lines = changes.lines().map(|line| format!("- {}\n", words(&line)));
        // The page is the forge's own, made of two commits and the name of a project.
        let page = changes.compare.iter().map(|page| format!("\n<{}>\n", clean(page)));
        comment.fold(&format!("{}: {}", html(title), html(&changes.summary())), lines.chain(page));
    }
    if env.steps.is_empty() {
        return;
    }
    let about = env.expected_ms().map(|ms| format!(", about {}", parts::time(ms))).unwrap_or_default();
    let gate = if env.verdict == Verdict::Go { "" } else { ", once nothing blocks" };
    let irreversible = env.steps.iter().filter(|s| s.irreversible).count();
    let marked = if irreversible > 0 { format!(", {irreversible} irreversible") } else { String::new() };
    let summary = format!("{}: {}{marked}{about}{gate}", html(title), count(env.steps.len(), "step"));
    let lines = parts::parts(&env.steps).into_iter().flat_map(|(part, steps)| {
        let title = std::iter::once(format!("\n**{}**\n\n", words(part.title())));
        title.chain(steps.iter().map(step_line))
    });
    comment.fold(&summary, lines);
}

fn step_line(step: &Step) -> String {
    let host = step.host.as_ref().map_or("controller", |h| h.as_str());
    let irreversible = if step.irreversible { " **irreversible**" } else { "" };
    let time = step.estimate_ms.map(|ms| format!(" (~{})", parts::time(ms))).unwrap_or_default();
    format!("- {} {}{irreversible}: {}{time}\n", code(host), code(&parts::what(step)), words(&step.reason))
}

/// What should be known of an environment in which nothing is done.
fn notes(comment: &mut Comment, env: &EnvPlan) {
    let notes: Vec<_> = env.blockers.iter().filter(|b| b.code != Code::Drift).map(blocker).collect();
    if !notes.is_empty() {
        comment.fold(&format!("{}: unchanged, with notes", html(env.name.as_str())), notes);
    }
}

fn drift(comment: &mut Comment, environments: &[EnvPlan]) {
    let drifted =
        || environments.iter().flat_map(|env| env.hosts.iter().filter(|h| !h.drift.is_empty()).map(move |h| (env, h)));
    let paths: usize = drifted().map(|(_, host)| host.drifted()).sum();
    if paths == 0 {
        return;
    }
    let lines = drifted().flat_map(|(env, host)| {
        let place = format!(
            "\n{} on {}, {}{}:\n\n",
            code(env.name.as_str()),
            code(host.name.as_str()),
            code(&parts::current(host)),
            parts::compared(host)
        );
        let more = host.drifted().saturating_sub(parts::DRIFT_LINES);
        let paths = host.drift.iter().take(parts::DRIFT_LINES);
        let paths = paths.map(|d| format!("- {} {}\n", parts::drift(d.kind), code(&d.path)));
        let more = (more > 0).then(|| format!("- … and {more} more\n"));
        std::iter::once(place).chain(paths).chain(more)
    });
    comment.fold(&format!("drift: {} not as released", count(paths, "path")), lines);
}

/// Text that is only text: what Markdown, HTML or the forge would act on is escaped or broken by an invisible space.
fn words(text: &str) -> String {
    let mut out = String::new();
    for c in clean(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' | '$' => {
                out.push('\\');
                out.push(c);
            }
            // A forge looks for mentions, issue numbers and links after Markdown is gone: only a break stops it.
            '@' | '#' => {
                out.push(c);
                out.push('\u{200b}');
            }
            '.' if out.to_ascii_lowercase().ends_with("www") => out.push_str(".\u{200b}"),
            c => out.push(c),
        }
    }
    out.replace("GH-", "GH\u{200b}-").replace("://", ":\u{200b}//")
}

/// The same inside an HTML tag, where Markdown is not read.
fn html(text: &str) -> String {
    let text = clean(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    text.replace('@', "@\u{200b}").replace('#', "#\u{200b}").replace("://", ":\u{200b}//")
}

/// A code span that no backtick can end. Pipes stay: these are never inside a table.
fn code(text: &str) -> String {
    let text = clean(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if longest > 0 || text.trim().is_empty() { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_gets_out_of_its_place() {
        assert_eq!(code("a`b``c"), "``` a`b``c ```");
        assert_eq!(words("<img src=x>"), "&lt;img src=x&gt;");
        assert_eq!(words("[a](javascript:x)"), "\\[a\\](javascript:x)");
        assert_eq!(words("@admin see #1, www.example.com"), "@\u{200b}admin see #\u{200b}1, www.\u{200b}example.com");
        assert_eq!(words("https://example.com"), "https:\u{200b}//example.com");
        assert_eq!(words("a\n# b\u{1b}[31m\u{202e}c"), "a #\u{200b} b \\[31m c");
        assert_eq!(html("</summary>\"@x"), "&lt;/summary&gt;&quot;@\u{200b}x");
    }
}
