//! Releases of kind `compose`: a directory of the state repository, and what of it a release changes (contract 1.5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::compose::{Project, Transfer, Update};
use crate::model::ids::{Digest, Sha};
use crate::model::template::{Values, fill};

/// The files of a project, and what the state file says of it. Texts are unfilled, `{tag}` aside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComposeFiles {
    /// The directory of the state repository that becomes the release.
    pub directory: String,
    /// The id of its tree at the commit that was read; empty where the file was read that lies on the disk.
    pub tree: String,
    /// The compose files in it.
    pub files: Vec<String>,
    /// The name of the project.
    pub project: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_file: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
    /// By service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// By host and port, as the references of images begin with them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub registries: BTreeMap<String, Registry>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scale: BTreeMap<String, u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub once: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub update: BTreeMap<String, Update>,
    #[serde(default, skip_serializing_if = "Transfer::is_pull")]
    pub transfer: Transfer,
    /// Services that may lose what they keep their data in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replace_volumes: Vec<String>,
}

/// Who logs in to a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    pub user: String,
    /// The name of a secret of the controller.
    pub password: String,
}

impl ComposeFiles {
    /// The images of a commit, by service. `values`: what the templates may name beside that.
    pub fn images_of(&self, sha: &Sha, values: &Values) -> BTreeMap<String, String> {
        let mut values = values.clone();
        values.insert("sha".to_owned(), sha.to_string());
        values.insert("sha8".to_owned(), sha.short().to_owned());
        self.images.iter().map(|(service, image)| (service.clone(), fill(image, &values))).collect()
    }

    /// The project as a host resolves it for a commit.
    pub fn project_of(&self, sha: &Sha, values: &Values) -> Project {
        Project {
            name: fill(&self.project, values),
            files: self.files.clone(),
            env_file: self.env_file.clone(),
            profiles: self.profiles.clone(),
            images: self.images_of(sha, values),
            scale: self.scale.clone(),
            once: self.once.clone(),
            update: self.update.clone(),
            replace_volumes: self.replace_volumes.clone(),
            // The tree of the directory is the release.
            directory: String::new(),
        }
    }

    /// The digest that a release of this commit goes by, known before anything is read: the id of the tree stands for the
    /// files, and beside it stands all else that is resolved into the release. Hosts keep it in their records, so that
    /// another one makes the release anew at the same commit.
    pub fn digest(&self, sha: &Sha, values: &Values) -> Digest {
        let Project { name, files, env_file, profiles, images, scale, once, update, replace_volumes: _, directory: _ } =
            self.project_of(sha, values);
        let update: BTreeMap<_, _> = update.iter().map(|(service, way)| (service, word(*way))).collect();
        let asked = (name, files, env_file, profiles, images);
        Digest::of_json(&("compose", 1, sha.as_str(), &self.tree, asked, (scale, once, update), values))
    }
}

/// As the state file has it: bytes of a digest follow no other type.
pub(super) fn word(update: Update) -> &'static str {
    match update {
        Update::Recreate => "recreate",
        Update::StartFirst => "start-first",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> ComposeFiles {
        ComposeFiles {
            tree: "1".repeat(40),
            files: vec!["compose.yml".to_owned()],
            project: "platform-{env}".to_owned(),
            images: BTreeMap::from([("api".to_owned(), "r.example/{tenant}/api:{sha8}".to_owned())]),
            ..ComposeFiles::default()
        }
    }

    #[test]
    fn whatever_is_resolved_into_a_release_is_in_its_digest() {
        let sha: Sha = "a".repeat(40).parse().unwrap();
        let values: Values =
            [("env".to_owned(), "staging".to_owned()), ("tenant".to_owned(), "acme".to_owned())].into();
        let project = files().project_of(&sha, &values);
        assert_eq!(
            (project.name.as_str(), project.images["api"].as_str()),
            ("platform-staging", "r.example/acme/api:aaaaaaaa")
        );
        let digest = |change: &dyn Fn(&mut ComposeFiles)| {
            let mut files = files();
            change(&mut files);
            files.digest(&sha, &values)
        };
        let own = digest(&|_| {});
        assert_eq!(own, digest(&|_| {}));
        let changes: [&dyn Fn(&mut ComposeFiles); 8] = [
            &|files| files.tree = "2".repeat(40),
            &|files| files.files.push("b.yml".to_owned()),
            &|files| files.env_file = Some(".env".to_owned()),
            &|files| files.profiles.push("debug".to_owned()),
            &|files| files.images.clear(),
            &|files| files.scale = BTreeMap::from([("api".to_owned(), 2)]),
            &|files| files.once.push("migrate".to_owned()),
            &|files| files.update = BTreeMap::from([("api".to_owned(), Update::StartFirst)]),
        ];
        for change in changes {
            assert_ne!(own, digest(change));
        }
        // Where it lies, who logs in, how images come, and what a person allows makes no other release.
        assert_eq!(own, digest(&|files| files.replace_volumes.push("db".to_owned())));
        assert_eq!(own, digest(&|files| files.transfer = Transfer::Push));
        assert_eq!(own, digest(&|files| files.directory = "elsewhere".to_owned()));
        let login = Registry { user: "deploy".to_owned(), password: "TOKEN".to_owned() };
        assert_eq!(own, digest(&|files| drop(files.registries.insert("r.example".to_owned(), login.clone()))));
        let other: Values = [("tenant".to_owned(), "other".to_owned())].into();
        assert_ne!(own, files().digest(&sha, &other));
        assert_ne!(own, files().digest(&"b".repeat(40).parse().unwrap(), &values));
    }
}
