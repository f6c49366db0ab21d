//! Releases of kind `compose`: the files of a project, and what of it a release changes (contract 1.5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Checkout;
use crate::model::compose::{Project, Transfer, Update};
use crate::model::ids::{Digest, Sha};
use crate::model::template::{Values, fill};

/// The files of a project, and what the state file says of it. Texts are unfilled, `{tag}` aside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComposeFiles {
    /// What becomes the release.
    pub from: FilesFrom,
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

/// Where the files of a project are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilesFrom {
    /// A directory of the state repository, the same for every commit that is released.
    Directory {
        /// Relative to the root of the repository.
        path: String,
        /// The id of its tree at the commit that was read; empty where the file was read that lies on the disk.
        tree: String,
    },
    /// The commit of the application's repository that is released.
    Commit(Checkout),
}

impl Default for FilesFrom {
    fn default() -> Self {
        FilesFrom::Directory { path: String::new(), tree: String::new() }
    }
}

impl FilesFrom {
    /// What a digest has of it for a commit: the id of a tree, or what stands for the commit and the part of it.
    fn contents(&self, sha: &Sha) -> String {
        match self {
            FilesFrom::Directory { tree, .. } => tree.clone(),
            FilesFrom::Commit(checkout) => checkout.digest(sha).to_string(),
        }
    }

    /// For people.
    pub fn place(&self) -> String {
        match self {
            FilesFrom::Directory { path, .. } => path.clone(),
            FilesFrom::Commit(Checkout { directory, .. }) if directory.is_empty() => "the commit".to_owned(),
            FilesFrom::Commit(Checkout { directory, .. }) => format!("{directory} of the commit"),
        }
    }
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
            // What the files are in is the release.
            directory: String::new(),
        }
    }

    /// The digest that a release of this commit goes by, known before anything is read: the id of the tree, or of the
    /// commit, stands for the files, and beside it stands all else that is resolved into the release. Hosts keep it in their
    /// records, so that another one makes the release anew at the same commit.
    pub fn digest(&self, sha: &Sha, values: &Values) -> Digest {
        let Project { name, files, env_file, profiles, images, scale, once, update, replace_volumes: _, directory: _ } =
            self.project_of(sha, values);
        let update: BTreeMap<_, _> = update.iter().map(|(service, way)| (service, word(*way))).collect();
        let asked = (name, files, env_file, profiles, images);
        Digest::of_json(&("compose", 1, sha.as_str(), self.from.contents(sha), asked, (scale, once, update), values))
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
    use crate::model::desired::FetchFrom;

    fn files() -> ComposeFiles {
        ComposeFiles {
            from: FilesFrom::Directory { path: "platform".to_owned(), tree: "1".repeat(40) },
            files: vec!["compose.yml".to_owned()],
            project: "platform-{env}".to_owned(),
            images: BTreeMap::from([("api".to_owned(), "r.example/{tenant}/api:{sha8}".to_owned())]),
            ..ComposeFiles::default()
        }
    }

    fn directory(path: &str, tree: &str) -> FilesFrom {
        FilesFrom::Directory { path: path.to_owned(), tree: tree.repeat(40) }
    }

    fn commit(directory: &str) -> FilesFrom {
        FilesFrom::Commit(Checkout {
            repository: "https://git.example.com/acme/platform.git".to_owned(),
            directory: directory.to_owned(),
            submodules: false,
            fetch_from: FetchFrom::Controller,
            checks: String::new(),
            checks_from: None,
        })
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
        let changes: [&dyn Fn(&mut ComposeFiles); 10] = [
            &|files| files.from = directory("platform", "2"),
            &|files| files.from = commit(""),
            &|files| files.from = commit("deploy"),
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
        assert_eq!(own, digest(&|files| files.from = directory("elsewhere", "1")));
        assert_ne!(digest(&|files| files.from = commit("")), digest(&|files| files.from = commit("deploy")));
        let next: Sha = "b".repeat(40).parse().unwrap();
        let of_commit = ComposeFiles { from: commit(""), images: BTreeMap::new(), ..files() };
        assert_ne!(of_commit.digest(&sha, &values), of_commit.digest(&next, &values));
        let login = Registry { user: "deploy".to_owned(), password: "TOKEN".to_owned() };
        assert_eq!(own, digest(&|files| drop(files.registries.insert("r.example".to_owned(), login.clone()))));
        let other: Values = [("tenant".to_owned(), "other".to_owned())].into();
        assert_ne!(own, files().digest(&sha, &other));
        assert_ne!(own, files().digest(&"b".repeat(40).parse().unwrap(), &values));
    }
}
