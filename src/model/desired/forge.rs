//! Where the forge of a repository says how the checks of a commit came out (B8): which forge it is, where its API is, and what
//! the repository is called there. Pure: what it answers is read by `artifact::forge`.

use serde::{Deserialize, Serialize};

use crate::model::ids::Sha;

/// The kinds of forges whose API is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Forge {
    /// github.com, GitHub Enterprise Server.
    Github,
    /// gitlab.com, GitLab of one's own.
    Gitlab,
    /// Gitea, Forgejo, codeberg.org.
    Gitea,
}

/// Whom to ask for the checks of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChecksFrom {
    pub forge: Forge,
    /// Where its API begins, without `/` at its end.
    pub api: String,
    /// `owner/name`, in GitLab with all groups.
    pub project: String,
    /// The name of the secret that it is asked with; `None`: everybody may ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl Forge {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Forge::Github => "GitHub",
            Forge::Gitlab => "GitLab",
            Forge::Gitea => "Gitea",
        }
    }

    /// The forge of a host that is known to everybody.
    pub fn of_host(host: &str) -> Option<Forge> {
        match host {
            "github.com" => Some(Forge::Github),
            "gitlab.com" => Some(Forge::Gitlab),
            "codeberg.org" | "gitea.com" => Some(Forge::Gitea),
            _ => None,
        }
    }

    /// Where the API of a forge at this web address usually is.
    fn usual_api(self, web: &str) -> String {
        match self {
            Forge::Github if web == "https://github.com" => "https://api.github.com".to_owned(),
            Forge::Github => format!("{web}/api/v3"),
            Forge::Gitlab => format!("{web}/api/v4"),
            Forge::Gitea => format!("{web}/api/v1"),
        }
    }
}

/// What the address of a repository says of its forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Without user and port.
    pub host: String,
    web: String,
    pub project: String,
}

impl Home {
    /// Of an address as Git takes it; `None`: it is a path, or names no project.
    pub fn of(repository: &str) -> Option<Home> {
        let (scheme, authority, path) = match repository.split_once("://") {
            Some(("file", _)) => return None,
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_once('/')?;
                (scheme, authority, path)
            }
            None => {
                let (authority, path) = repository.split_once(':').filter(|(host, _)| !host.contains('/'))?;
                ("ssh", authority, path)
            }
        };
        let place = authority.rsplit('@').next().unwrap_or(authority);
        let host = if place.starts_with('[') { place } else { place.split(':').next().unwrap_or(place) };
        // The port of SSH says nothing about that of the web.
        let web = match scheme {
            "http" | "https" => format!("{scheme}://{place}"),
            _ => format!("https://{host}"),
        };
        let project = path.trim_matches('/');
        let project = project.strip_suffix(".git").unwrap_or(project);
        let is_project = project.contains('/') && !host.is_empty();
        is_project.then(|| Home { host: host.to_ascii_lowercase(), web, project: project.to_owned() })
    }

    /// The page that shows what lies between two commits; `None`: nobody knows what the forge of this host is.
    pub fn compare(&self, from: &Sha, to: &Sha) -> Option<String> {
        let Home { host, web, project } = self;
        // It is shown where some characters mean something.
        if !project.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b)) {
            return None;
        }
        let page = match Forge::of_host(host)? {
            Forge::Github | Forge::Gitea => "compare",
            Forge::Gitlab => "-/compare",
        };
        Some(format!("{}/{project}/{page}/{from}...{to}", web.to_ascii_lowercase()))
    }

    /// Where the API of that forge usually is.
    pub fn api(&self, forge: Forge) -> String {
        forge.usual_api(&self.web.to_ascii_lowercase())
    }
}

/// What one list of a forge tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusList {
    /// `{"statuses": [{"context", "state"}]}` of GitHub, `status` in place of `state` of Gitea.
    Combined,
    /// `{"check_runs": [{"name", "status", "conclusion"}]}`.
    CheckRuns,
    /// `[{"name", "status"}]`.
    Jobs,
}

impl ChecksFrom {
    /// The lists to be read for a commit, each with the address of its first page.
    pub fn lists(&self, sha: &Sha) -> Vec<(StatusList, String)> {
        let ChecksFrom { forge, api, project, .. } = self;
        match forge {
            Forge::Github => {
                let commit = format!("{api}/repos/{project}/commits/{sha}");
                vec![
                    (StatusList::Combined, format!("{commit}/status?per_page=100")),
                    (StatusList::CheckRuns, format!("{commit}/check-runs?filter=latest&per_page=100")),
                ]
            }
            Forge::Gitlab => {
                let id = project.replace('/', "%2F");
                vec![(StatusList::Jobs, format!("{api}/projects/{id}/repository/commits/{sha}/statuses?per_page=100"))]
            }
            Forge::Gitea => {
                vec![(StatusList::Combined, format!("{api}/repos/{project}/commits/{sha}/status?limit=50&page=1"))]
            }
        }
    }

    /// Where that is, for people.
    pub fn place(&self) -> String {
        format!("{} at {}", self.project, self.api)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_between_two_commits_is_where_the_forge_has_it() {
        let (from, to) = ("a".repeat(40), "b".repeat(40));
        let page = |repository: &str| Home::of(repository)?.compare(&from.parse().ok()?, &to.parse().ok()?);
        let told = |begin: &str| Some(format!("{begin}/compare/{from}...{to}"));
        assert_eq!(page("git@github.com:acme/api.git"), told("https://github.com/acme/api"));
        assert_eq!(page("https://user:secret@gitlab.com/a/b/c.git"), told("https://gitlab.com/a/b/c/-"));
        assert_eq!(page("ssh://git@codeberg.org/acme/api"), told("https://codeberg.org/acme/api"));
        assert_eq!(page("https://git.example.com/acme/api.git"), None);
    }

    #[test]
    fn the_address_of_a_repository_says_where_its_forge_is() {
        let told = |repository: &str, forge| {
            Home::of(repository).map(|home| format!("{} {} {}", home.host, home.api(forge), home.project))
        };
        for (repository, forge, wanted) in [
            ("https://github.com/acme/api.git", Forge::Github, "github.com https://api.github.com acme/api"),
            ("git@github.com:acme/api.git", Forge::Github, "github.com https://api.github.com acme/api"),
            ("https://ci@GitHub.com/acme/api", Forge::Github, "github.com https://api.github.com acme/api"),
            (
                "https://git.example.com/acme/api.git",
                Forge::Github,
                "git.example.com https://git.example.com/api/v3 acme/api",
            ),
            (
                "ssh://git@git.example.com:2222/a/b/c.git/",
                Forge::Gitlab,
                "git.example.com https://git.example.com/api/v4 a/b/c",
            ),
            ("http://127.0.0.1:3000/acme/api.git", Forge::Gitea, "127.0.0.1 http://127.0.0.1:3000/api/v1 acme/api"),
        ] {
            assert_eq!(told(repository, forge).as_deref(), Some(wanted), "{repository}");
        }
        for none in ["/srv/git/api.git", "../api", "file:///srv/acme/api.git", "https://github.com/api", "host:api"] {
            assert_eq!(Home::of(none), None, "{none}");
        }
    }
}
