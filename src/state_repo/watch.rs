//! A hint that a local repository may have changed: something happened to its refs. It may say so too often, and it may
//! miss a change (file notification loses events in a burst): whoever listens reads the refs again, and polls as well.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::watch;

use super::error::{RepoError, Result};
use super::repo::StateRepo;

/// A push is several events (`main.lock` made, written, renamed): they count as one.
const DEBOUNCE: Duration = Duration::from_millis(30);

/// Watches the refs of one local repository for as long as it lives.
#[derive(Debug)]
pub struct Watcher {
    changes: watch::Receiver<()>,
    // Stops watching when dropped.
    _watcher: RecommendedWatcher,
}

impl Watcher {
    /// Begins to watch. `None` for a remote repository: there is nothing to see, poll it.
    ///
    /// # Errors
    /// The limit of inotify watches, a directory that cannot be read. Polling still works.
    pub fn new(repo: &StateRepo) -> Result<Option<Watcher>> {
        if repo.mirror.is_some() {
            return Ok(None);
        }
        let git = repo.repository()?;
        // A linked work tree has a HEAD of its own; the refs are those of the main repository.
        let (own, common) = (git.path().to_owned(), git.commondir().to_owned());
        let (sender, changes) = watch::channel(());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| matters(&event)) {
                sender.send_replace(());
            }
        })
        .map_err(|error| failed(&common, error))?;
        let mut add = |path: PathBuf, mode| watcher.watch(&path, mode).map_err(|error| failed(&path, error));
        // All of refs/, with directories that come and go: `gc` removes refs/heads/main without a change of value, a
        // branch `a/b` makes a directory, refs/soll appears with the first approval.
        add(common.join("refs"), RecursiveMode::Recursive)?;
        // packed-refs and HEAD are replaced by renaming, so the directory is what must be watched.
        add(common.clone(), RecursiveMode::NonRecursive)?;
        if own != common {
            add(own, RecursiveMode::NonRecursive)?;
        }
        Ok(Some(Watcher { changes, _watcher: watcher }))
    }

    /// Returns a moment after something happened, at once if it happened since the last call. Dropping the future loses
    /// nothing.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // The notification thread is gone: there will never be a hint again, and polling goes on.
            std::future::pending::<()>().await;
        }
        self.changes.mark_changed();
        tokio::time::sleep(DEBOUNCE).await;
        self.changes.mark_unchanged();
    }
}

/// Whether an event can mean that a ref has moved.
fn matters(event: &notify::Event) -> bool {
    if event.need_rescan() {
        return true;
    }
    // Reading a repository causes these: reacting to them would be a loop.
    if matches!(event.kind, EventKind::Access(_)) {
        return false;
    }
    event.paths.iter().any(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let in_refs = path.components().any(|part| part.as_os_str() == "refs");
        !name.ends_with(".lock") && (in_refs || matches!(&*name, "packed-refs" | "HEAD"))
    })
}

fn failed(path: &Path, error: notify::Error) -> RepoError {
    RepoError::Storage { what: "watch", path: path.to_owned(), source: std::io::Error::other(error) }
}

#[cfg(test)]
mod tests {
    use notify::Event;
    use notify::event::{AccessKind, CreateKind, ModifyKind, RenameMode};

    use super::*;

    #[test]
    fn reading_is_no_change_and_a_lock_is_none_yet() {
        let event = |kind, path: &str| Event::new(kind).add_path(path.into());
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        for (event, does) in [
            (event(renamed, "/r/.git/refs/heads/main"), true),
            (event(renamed, "/r/.git/packed-refs"), true),
            (event(renamed, "/r/.git/HEAD"), true),
            (event(EventKind::Create(CreateKind::Folder), "/r/.git/refs/heads/team"), true),
            (event(EventKind::Any, "/").set_flag(notify::event::Flag::Rescan), true),
            (event(EventKind::Access(AccessKind::Any), "/r/.git/refs/heads/main"), false),
            (event(EventKind::Create(CreateKind::File), "/r/.git/refs/heads/main.lock"), false),
            (event(renamed, "/r/.git/index"), false),
        ] {
            assert_eq!(matters(&event), does, "{event:?}");
        }
    }
}
