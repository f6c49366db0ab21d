//! A choice of environments, as commands take it: names, globs, an application, a template, or all. What is named adds up,
//! and an application or a template narrows it, also where nothing is named. A choice never comes to less than was said: a name,
//! a glob, an application or a template that meets nothing is an error, with the nearest name that there is.

use std::fmt;
use std::str::FromStr;

use crate::model::ids::EnvName;
use crate::run::commit::{known, listed, template};
use crate::run::controller::{ControllerError, Snapshot};
use crate::run::pattern::Pattern;

/// A name, or a glob of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    One(EnvName),
    Like(Pattern),
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Named, String> {
        match text.parse::<EnvName>() {
            Ok(name) => Ok(Named::One(name)),
            // Nothing that a shell leaves of a glob is a name.
            Err(_) if text.contains(['*', '?', '[', '{']) => Pattern::new(text).map(Named::Like),
            Err(bad) => Err(bad.to_string()),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Named::One(name) => f.write_str(name.as_str()),
            Named::Like(pattern) => f.write_str(pattern.as_str()),
        }
    }
}

/// Which environments are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    pub names: Vec<Named>,
    /// Only those of this application.
    pub app: Option<String>,
    /// Only those that extend this template.
    pub template: Option<String>,
    /// Every one. Where nothing else is said it is what looking means, and what changing something has to be told.
    pub all: bool,
}

impl Choice {
    /// Whether nothing was said at all.
    pub fn is_empty(&self) -> bool {
        *self == Choice::default()
    }

    /// Whether it is every environment, said or not.
    pub fn is_everything(&self) -> bool {
        Choice { all: false, ..self.clone() }.is_empty()
    }

    /// The one environment that was named, where nothing else was said: its answer is about it and no list.
    pub fn only(&self) -> Option<&EnvName> {
        match (&*self.names, self) {
            ([Named::One(name)], Choice { app: None, template: None, all: false, .. }) => Some(name),
            _ => None,
        }
    }

    /// The template whose own line is meant: it was named, and no environment was.
    pub fn whole_template(&self) -> Option<&str> {
        match self {
            Choice { names, app: None, template: Some(template), all: false } if names.is_empty() => Some(template),
            _ => None,
        }
    }

    /// The environments in the order in which they were named, those of a glob in the order of their names, each once. An empty
    /// choice is all of them.
    ///
    /// # Errors
    /// Something that was said meets nothing.
    pub fn of(&self, snapshot: &Snapshot) -> Result<Vec<EnvName>, ControllerError> {
        let all = &snapshot.desired.environments;
        let mut chosen: Vec<EnvName> = Vec::new();
        let mut add = |name: &EnvName| {
            if !chosen.contains(name) {
                chosen.push(name.clone());
            }
        };
        for named in &self.names {
            match named {
                Named::One(name) => add(&known(snapshot, name)?.name),
                Named::Like(pattern) => {
                    let mut like = all.keys().filter(|name| pattern.matches(name.as_str())).peekable();
                    if like.peek().is_none() {
                        let known = listed(pattern.as_str(), all.keys().map(EnvName::as_str));
                        let name = pattern.as_str().to_owned();
                        return Err(ControllerError::NotThere { what: "environment like", name, known });
                    }
                    like.for_each(&mut add);
                }
            }
        }
        if self.names.is_empty() {
            all.keys().for_each(add);
        }
        if let Some(app) = &self.app {
            let mut apps: Vec<_> = all.values().map(|env| env.app.as_str()).collect();
            apps.sort_unstable();
            apps.dedup();
            if !apps.contains(&app.as_str()) {
                let known = listed(app, apps);
                return Err(ControllerError::NotThere {
                    what: "application with environments",
                    name: app.clone(),
                    known,
                });
            }
            chosen.retain(|name| all[name].app.as_str() == app);
        }
        if let Some(name) = &self.template {
            template(snapshot, name)?;
            let is_of = |env: &EnvName| {
                snapshot.written.environments.get(env).is_some_and(|own| own.extends.as_ref() == Some(name))
            };
            chosen.retain(is_of);
        }
        if chosen.is_empty() && !self.is_empty() {
            return Err(ControllerError::Nobody { choice: self.to_string() });
        }
        Ok(chosen)
    }
}

/// As it was said on the command line.
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said: Vec<String> =
            self.names.iter().map(|name| crate::model::shown::shell_word(&name.to_string())).collect();
        said.extend(self.app.iter().map(|app| format!("--app {app}")));
        said.extend(self.template.iter().map(|template| format!("--template {template}")));
        said.extend(self.all.then(|| "--all".to_owned()));
        f.write_str(&said.join(" "))
    }
}
