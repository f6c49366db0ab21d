//! How environments and templates are written: in which file, and which of their lines are their own. What an environment
//! says is laid together from layers, and an edit has to know on which of them a line stands. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::ids::EnvName;

/// All tables of one commit.
#[derive(Debug, Clone, Default)]
pub struct Written {
    pub environments: BTreeMap<EnvName, Own>,
    pub templates: BTreeMap<String, Own>,
}

/// What stands in one table itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// The file that edits of it go to, relative to the root of the repository.
    pub file: String,
    /// The template that fills in what is not said here.
    pub extends: Option<String>,
    pub release: Option<String>,
    pub frozen: Option<String>,
}

/// An environment that has a release of its own where its template has one, too: it stays where it is when the template moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pin {
    /// The template.
    pub template: String,
    /// What the template says, as it is written: what the environment would run without its own line.
    pub release: String,
}

impl Written {
    /// The file in which an environment is defined.
    pub fn file_of(&self, env: &EnvName) -> Option<&str> {
        self.environments.get(env).map(|own| own.file.as_str())
    }

    /// The template that an environment extends, by its name and what stands in it.
    pub fn template_of(&self, env: &EnvName) -> Option<(&str, &Own)> {
        let name = self.environments.get(env)?.extends.as_deref()?;
        Some((name, self.templates.get(name)?))
    }

    /// The environments that extend a template, in their order.
    pub fn extending<'a>(&'a self, template: &'a str) -> impl Iterator<Item = &'a EnvName> {
        let all = self.environments.iter();
        all.filter(move |(_, own)| own.extends.as_deref() == Some(template)).map(|(name, _)| name)
    }

    /// Whether an environment is pinned, and what it would follow.
    pub fn pin(&self, env: &EnvName) -> Option<Pin> {
        self.environments.get(env)?.release.as_ref()?;
        let (template, own) = self.template_of(env)?;
        Some(Pin { template: template.to_owned(), release: own.release.clone()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(extends: Option<&str>, release: Option<&str>) -> Own {
        let text = |text: &str| text.to_owned();
        Own { extends: extends.map(text), release: release.map(text), ..Own::default() }
    }

    #[test]
    fn pinned_is_what_has_a_line_of_its_own_where_its_template_has_one() {
        let written = Written {
            templates: BTreeMap::from([
                ("customer".to_owned(), own(None, Some("v2"))),
                ("bare".to_owned(), own(None, None)),
            ]),
            environments: [
                ("follows", own(Some("customer"), None)),
                ("stays", own(Some("customer"), Some("v1"))),
                ("alone", own(None, Some("v1"))),
                ("filled", own(Some("bare"), Some("v1"))),
            ]
            .into_iter()
            .map(|(name, own)| (name.parse().unwrap(), own))
            .collect(),
        };
        let pinned: Vec<_> = written.environments.keys().filter(|name| written.pin(name).is_some()).collect();
        assert_eq!(pinned, [&"stays".parse::<EnvName>().unwrap()]);
        let pin = written.pin(pinned[0]).unwrap();
        assert_eq!((pin.template.as_str(), pin.release.as_str()), ("customer", "v2"));
        assert_eq!(written.extending("customer").count(), 2);
    }
}
