//! A plan on a terminal: blockers first, then desired against observed per host, then the steps; drift apart from
//! changes; what is as desired in one line.

use std::fmt::Write as _;

use super::fold::{self, Fold};
use super::parts::{self, count};
use super::services;
use crate::model::shown::clean;
use crate::plan::{Code, EnvPlan, Health, HostView, Plan, Step, Sync, Verdict};

/// Whether colours may be used. Off a terminal they may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    #[default]
    Plain,
    Colour,
}

/// The colours, by what they mean.
#[derive(Clone, Copy)]
enum Ink {
    Good,
    Bad,
    Open,
    Strong,
    Faint,
}

/// The plan as text, ending with a line break.
pub fn text(plan: &Plan, style: Style) -> String {
    let mut page = Page { out: String::new(), style };
    let (changing, quiet): (Vec<_>, Vec<_>) =
        plan.environments.iter().partition(|e| e.has_changes() || e.blocking().next().is_some());
    page.environments(&changing);
    for env in &quiet {
        page.quiet(env);
    }
    if !quiet.is_empty() {
        page.line("");
    }
    page.services(&plan.environments);
    page.drift(&plan.environments);
    let commit = clean(&plan.commit);
    let tally = parts::tally(&plan.environments);
    page.line(&format!("{tally}. Plan {} of commit {commit}", plan.fingerprint.short()));
    if let Some(seen) = &plan.observed {
        let age = parts::age(seen.age_s);
        page.line(&format!("It was made from what was observed at {:.0}, {age} ago: nobody looked since", seen.at));
    }
    if let Some(accepted) = &plan.accepted {
        page.line(&format!(
            "That commit is not accepted: hosts were looked at as commit {} names them",
            clean(accepted)
        ));
    }
    if let Some(why) = &plan.refused {
        page.line(&format!("It is not acted on: {}", clean(why.lines().next().unwrap_or_default())));
    }
    page.out
}

/// The plans of these environments alone, those that are equal folded into one.
pub fn environments(environments: &[&EnvPlan], style: Style) -> String {
    let mut page = Page { out: String::new(), style };
    page.environments(environments);
    page.out
}

struct Page {
    out: String,
    style: Style,
}

impl Page {
    fn environments(&mut self, environments: &[&EnvPlan]) {
        for fold in fold::folded(environments) {
            match fold {
                Fold::One(env) => self.environment(env),
                Fold::Many { like, of } => self.fold(&like, &of),
            }
        }
    }

    /// Several environments in which the same would be done: what each runs, and once what it is.
    fn fold(&mut self, like: &EnvPlan, of: &[&EnvPlan]) {
        let headline = self.headline(&count(of.len(), "environment"), like);
        self.line(&headline);
        let width = of.iter().map(|env| env.name.as_str().len()).max().unwrap_or(0);
        for env in of {
            let hosts: Vec<_> = env.hosts.iter().map(|host| host.name.as_str()).collect();
            self.line(&format!("  {:width$}  {}  {}", env.name.as_str(), parts::ist(env), hosts.join(", ")));
        }
        self.blockers(like);
        self.changes(like);
        let same = format!("the same {} in {} environments", count(like.steps.len(), "step"), of.len());
        self.steps(like, &same, None);
        self.line("");
    }

    fn blockers(&mut self, env: &EnvPlan) {
        for blocker in &env.blockers {
            let ink = if blocker.blocks() { Ink::Bad } else { Ink::Faint };
            let grade = self.ink(ink, parts::grade(blocker.grade));
            let code = parts::word(&blocker.code);
            self.line(&format!("  {grade} {code}: {}", parts::message(blocker)));
            self.line(&format!("     fix: {}", clean(&blocker.fix)));
        }
    }

    fn environment(&mut self, env: &EnvPlan) {
        let headline = self.headline(env.name.as_str(), env);
        self.line(&headline);
        self.blockers(env);
        let width = env.hosts.iter().map(|h| h.name.as_str().len()).max().unwrap_or(0);
        for host in &env.hosts {
            let line = host_line(host, width);
            self.line(&format!("  {line}"));
            services::of(env, host).iter().for_each(|line| self.line(&format!("    {line}")));
        }
        self.backups(env);
        self.changes(env);
        let about = env.expected_ms().map(|ms| format!(", about {}", parts::time(ms))).unwrap_or_default();
        self.steps(env, "steps", Some(format!("({}{about})", env.steps.len())));
        self.line("");
    }

    /// What a release brings, before what is done for it.
    fn changes(&mut self, env: &EnvPlan) {
        let Some(changes) = &env.changes else { return };
        self.line(&format!("  {}", changes.summary()));
        changes.lines().for_each(|line| self.line(&format!("    {line}")));
        changes.compare.iter().for_each(|page| self.line(&format!("    {}", clean(page))));
    }

    /// `production  NO-GO  out of sync  healthy  desired f0959baf  runs 20251102_154900-abc12345`
    fn headline(&self, name: &str, env: &EnvPlan) -> String {
        let verdict = match env.verdict {
            Verdict::Go => Ink::Good,
            Verdict::NoGo => Ink::Bad,
            Verdict::Pending => Ink::Open,
        };
        [
            self.ink(Ink::Strong, name),
            self.ink(verdict, env.verdict.as_str()),
            self.sync(env.sync),
            self.health(env.health),
            format!("desired {}", parts::soll(env)),
            format!("runs {}", parts::ist(env)),
        ]
        .join("  ")
    }

    /// An environment in which nothing is done, with what should be known all the same. Its drift comes later.
    fn quiet(&mut self, env: &EnvPlan) {
        let fields =
            [self.ink(Ink::Strong, env.name.as_str()), self.sync(env.sync), self.health(env.health), parts::soll(env)];
        self.line(&fields.join("  "));
        for note in env.blockers.iter().filter(|b| b.code != Code::Drift) {
            let grade = self.ink(Ink::Faint, parts::grade(note.grade));
            self.line(&format!("  {grade} {}: {}", parts::word(&note.code), parts::message(note)));
        }
        self.backups(env);
    }

    /// What is due is no change of a deployment: it is shown, and nothing waits for it.
    fn backups(&mut self, env: &EnvPlan) {
        for backup in &env.backups {
            self.line(&format!("  backup {}: {}", backup.name, clean(&backup.told())));
        }
    }

    fn steps(&mut self, env: &EnvPlan, title: &str, about: Option<String>) {
        if env.steps.is_empty() {
            return;
        }
        let once = if env.verdict == Verdict::Go { "" } else { ", once nothing blocks" };
        let about = about.map(|about| format!(" {about}")).unwrap_or_default();
        self.line(&format!("  {title}{once}{about}"));
        let host = |step: &Step| step.host.as_ref().map_or("controller", |h| h.as_str()).to_owned();
        let hosts = env.steps.iter().map(|s| host(s).len()).max().unwrap_or(0);
        let whats = env.steps.iter().map(|s| parts::what(s).chars().count()).max().unwrap_or(0).min(40);
        for (part, steps) in parts::parts(&env.steps) {
            let title = self.ink(Ink::Faint, part.title());
            self.line(&format!("    {title}"));
            for step in steps {
                let irreversible =
                    if step.irreversible { format!("{}  ", self.ink(Ink::Bad, "irreversible")) } else { String::new() };
                let time = step.estimate_ms.map(|ms| format!("  ~{}", parts::time(ms))).unwrap_or_default();
                let (what, host, reason) = (parts::what(step), host(step), clean(&step.reason));
                self.line(&format!("      {host:hosts$}  {what:whats$}  {irreversible}{reason}{time}"));
            }
        }
    }

    /// Services that are not as their release says, where nothing is done about them.
    fn services(&mut self, environments: &[EnvPlan]) {
        let quiet = environments.iter().filter(|env| !env.has_changes() && env.blocking().next().is_none());
        let ill: Vec<_> = quiet
            .flat_map(|env| env.hosts.iter().map(move |host| (env, host)))
            .filter(|(_, host)| host.services.iter().any(|service| !service.is_well()))
            .collect();
        if ill.is_empty() {
            return;
        }
        let title = self.ink(Ink::Strong, "services: not as released");
        self.line(&title);
        for (env, host) in ill {
            self.line(&format!("  {}  {}  {}", env.name, host.name, parts::current(host)));
            services::of(env, host).iter().for_each(|line| self.line(&format!("    {line}")));
        }
        self.line("");
    }

    /// Drift of every environment, file by file.
    fn drift(&mut self, environments: &[EnvPlan]) {
        let hosts: Vec<_> = environments
            .iter()
            .flat_map(|env| env.hosts.iter().filter(|h| !h.drift.is_empty()).map(move |host| (env, host)))
            .collect();
        if hosts.is_empty() {
            return;
        }
        let title = self.ink(Ink::Strong, "drift: not as released");
        self.line(&title);
        for (env, host) in hosts {
            let said = |code: Code| env.blockers.iter().any(|blocker| blocker.code == code);
            let what = match env.has_changes() {
                true if !said(Code::Drift) => "the plan makes it anew",
                false if said(Code::HealDidNotLast) => "healed later",
                _ => "reported only",
            };
            let place = format!("{}  {}  {}", env.name, host.name, parts::current(host));
            self.line(&format!("  {place}  {}, {what}{}", count(host.drifted(), "path"), parts::compared(host)));
            for drift in host.drift.iter().take(parts::DRIFT_LINES) {
                self.line(&format!("    {:7}  {}", parts::drift(drift.kind), clean(&drift.path)));
            }
            if host.drifted() > parts::DRIFT_LINES {
                let more = host.drifted() - parts::DRIFT_LINES;
                self.line(&format!("    … and {more} more: soll diff {}", env.name));
            }
        }
        self.line("");
    }

    fn sync(&self, sync: Sync) -> String {
        let ink = match sync {
            Sync::InSync => Ink::Good,
            Sync::OutOfSync | Sync::Unknown => Ink::Open,
        };
        self.ink(ink, parts::sync(sync))
    }

    fn health(&self, health: Health) -> String {
        let ink = match health {
            Health::Healthy => Ink::Good,
            Health::Unknown | Health::Progressing => Ink::Open,
            Health::Missing | Health::Degraded => Ink::Bad,
        };
        self.ink(ink, parts::health(health))
    }

    fn ink(&self, ink: Ink, text: &str) -> String {
        use anstyle::AnsiColor::{Green, Red, Yellow};
        let style = match (self.style, ink) {
            (Style::Plain, _) => return text.to_owned(),
            (_, Ink::Good) => Green.on_default(),
            (_, Ink::Bad) => Red.on_default().bold(),
            (_, Ink::Open) => Yellow.on_default(),
            (_, Ink::Strong) => anstyle::Style::new().bold(),
            (_, Ink::Faint) => anstyle::Style::new().dimmed(),
        };
        format!("{style}{text}{style:#}")
    }

    fn line(&mut self, text: &str) {
        // Writing into a `String` has no failing case.
        let _ = writeln!(self.out, "{}", text.trim_end());
    }
}

/// `web1  20251102_154900-abc12345  (confirmed …): why`
fn host_line(host: &HostView, width: usize) -> String {
    let confirmed = match (&host.confirmed, &host.current) {
        _ if !host.reachable => String::new(),
        (Some(confirmed), Some(current)) if confirmed.as_str() == current => String::new(),
        (Some(confirmed), _) => format!(" (confirmed: {confirmed})"),
        (None, _) => " (nothing confirmed)".to_owned(),
    };
    let what = match (host.reachable, host.unasked) {
        (true, _) => parts::current(host),
        (false, true) => "not looked at".to_owned(),
        (false, false) => "unreachable".to_owned(),
    };
    format!("{:width$}  {what}{confirmed}: {}", host.name.as_str(), clean(&host.reason))
}
