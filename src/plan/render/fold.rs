//! Environments in which the same would be done, for people who look after many: each of them is told in one line, and what
//! would be done once. Two plans are the same where they say the same in everything but the names of the environment, its hosts
//! and its releases. Pure.

use crate::plan::EnvPlan;

/// Fewer than so many are told one by one.
const FEW: usize = 3;

/// What stands in the place of a name that differs from one environment to the next.
const ENV: &str = "ENV";
const HOST: &str = "HOST";

/// Plans that are told together.
pub enum Fold<'a> {
    One(&'a EnvPlan),
    Many {
        /// The first of them, with placeholders in the place of names.
        like: Box<EnvPlan>,
        of: Vec<&'a EnvPlan>,
    },
}

/// Folds plans, in the order of the first of each.
pub fn folded<'a>(plans: &[&'a EnvPlan]) -> Vec<Fold<'a>> {
    let mut groups: Vec<(EnvPlan, String, Vec<&EnvPlan>)> = Vec::new();
    for plan in plans {
        let like = unnamed(plan);
        let key = key(&like);
        match groups.iter_mut().find(|(_, known, _)| *known == key) {
            Some((_, _, of)) => of.push(plan),
            None => groups.push((like, key, vec![plan])),
        }
    }
    let fold = |(like, _, of): (EnvPlan, String, Vec<&'a EnvPlan>)| match of.len() {
        FEW.. => vec![Fold::Many { like: Box::new(like), of }],
        _ => of.into_iter().map(Fold::One).collect(),
    };
    groups.into_iter().flat_map(fold).collect()
}

/// A plan without the names of its environment, its hosts and its releases, and without what each controller expects of it.
fn unnamed(plan: &EnvPlan) -> EnvPlan {
    let mut names = vec![(plan.name.as_str(), ENV.to_owned())];
    let several = plan.hosts.len() > 1;
    for (number, host) in plan.hosts.iter().enumerate() {
        let placeholder = if several { format!("{HOST}{}", number + 1) } else { HOST.to_owned() };
        names.push((host.name.as_str(), placeholder));
    }
    let said = |text: &str| {
        let text = undated(text);
        names.iter().fold(text, |text, (name, placeholder)| replaced(&text, name, placeholder))
    };
    let mut like = plan.clone();
    let name = |text: &str, kept: &crate::model::ids::HostName| said(text).parse().unwrap_or_else(|_| kept.clone());
    like.name = ENV.parse().unwrap_or(like.name);
    like.backups.clear();
    for blocker in &mut like.blockers {
        (blocker.message, blocker.fix) = (said(&blocker.message), said(&blocker.fix));
    }
    for host in &mut like.hosts {
        host.name = name(host.name.as_str(), &host.name);
        host.current = host.current.as_deref().map(undated);
        host.reason = said(&host.reason);
    }
    for step in &mut like.steps {
        step.id = said(&step.id);
        step.after.iter_mut().for_each(|id| *id = said(id));
        step.host = step.host.as_ref().map(|host| name(host.as_str(), host));
        step.reason = said(&step.reason);
        step.estimate_ms = None;
    }
    like
}

/// What two plans that are told together have in common, down to the commands that they would run.
fn key(like: &EnvPlan) -> String {
    let steps: Vec<_> = like
        .steps
        .iter()
        .map(|step| serde_json::to_value(step).unwrap_or_default())
        .map(|mut step| {
            // A digest of where it runs, among other things.
            step.as_object_mut().and_then(|step| step.remove("inputs"));
            undated(&step.to_string())
        })
        .collect();
    let hosts: Vec<_> =
        like.hosts.iter().map(|host| (&host.name, host.reachable, &host.current, &host.reason)).collect();
    let EnvPlan { app, desired, release, sync, health, verdict, blockers, .. } = like;
    serde_json::to_string(&(app, desired, release, sync, health, verdict, blockers, hosts, steps)).unwrap_or_default()
}

/// Names of releases without the time at which they were made: `20251102_103000-aaaaaaaa` is `aaaaaaaa`.
fn undated(text: &str) -> String {
    const DATED: usize = "20251102_103000-".len();
    let bytes = text.as_bytes();
    let is_dated = |at: usize| {
        let Some(date) = bytes.get(at..at + DATED) else { return false };
        date.iter().enumerate().all(|(n, byte)| match n {
            8 => *byte == b'_',
            15 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = 0;
    for (at, _) in text.char_indices() {
        if at >= rest && is_dated(at) {
            out.push_str(&text[rest..at]);
            rest = at + DATED;
        }
    }
    out.push_str(&text[rest..]);
    out
}

/// A text with `to` where `name` stands as a whole word.
fn replaced(text: &str, name: &str, to: &str) -> String {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = 0;
    for (at, _) in text.match_indices(name) {
        let (before, after) = (text[..at].chars().next_back(), text[at + name.len()..].chars().next());
        if at >= rest && !before.is_some_and(is_inside) && !after.is_some_and(is_inside) {
            out.push_str(&text[rest..at]);
            out.push_str(to);
            rest = at + name.len();
        }
    }
    out.push_str(&text[rest..]);
    out
}

#[cfg(test)]
mod tests {
    use super::{replaced, undated};

    #[test]
    fn a_name_is_replaced_as_a_word_and_nothing_else() {
        assert_eq!(
            replaced("soll approve north, north-2 and north.", "north", "ENV"),
            "soll approve ENV, north-2 and ENV."
        );
        assert_eq!(replaced("upload:web1", "web1", "HOST"), "upload:HOST");
        assert_eq!(replaced("über web", "web", "HOST"), "über HOST");
    }

    #[test]
    fn releases_are_told_without_their_time() {
        assert_eq!(undated("20251102_103000-aaaaaaaa runs, ü 20251102-1"), "aaaaaaaa runs, ü 20251102-1");
    }
}
