//! The state file as it lies on disk, before it is committed. The loop never reads it; people do.

use std::collections::BTreeSet;
use std::path::Path;

use crate::model::desired::diagnose::SourceFile;
use crate::model::desired::load::{Loaded, Sources, load_without, matcher};
use crate::model::desired::sealed::text_of;
use crate::run::controller::{Checked, ControllerError};

/// Loads a file and what it includes.
pub fn load_file(path: &Path) -> Result<Checked, ControllerError> {
    let read = |path: &Path| {
        let bytes = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        text_of(bytes).map_err(|_| format!("cannot read {}: it is not UTF-8: save it in that encoding", path.display()))
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let main = SourceFile::of(name, Ok(read(path).map_err(ControllerError::Other)?));
    let includes = |pattern: &str| {
        let matches = matcher(pattern)?;
        let mut found = Vec::new();
        // A plain path is one file, in a hidden directory as well.
        if !pattern.contains(['*', '?', '[', ']', '{', '}', '\\']) {
            let full = dir.join(pattern);
            match std::fs::symlink_metadata(&full) {
                Ok(meta) if meta.is_file() => found.push(SourceFile::of(pattern, read(&full))),
                Ok(meta) if meta.is_symlink() => found.push(SourceFile::of(pattern, Err(link(&full)))),
                _ => {}
            }
            return Ok(found);
        }
        walk(dir, dir, &mut |relative, full| {
            if matches.is_match(relative) {
                let is_link = std::fs::symlink_metadata(full).is_ok_and(|meta| meta.is_symlink());
                found.push(SourceFile::of(relative, if is_link { Err(link(full)) } else { read(full) }));
            }
        })?;
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    };
    // What is not committed has no id.
    let tree = |path: &str| {
        let there = std::fs::symlink_metadata(dir.join(path)).is_ok_and(|found| found.is_dir());
        Ok(there.then(String::new))
    };
    let sources = Sources { files: &includes, tree: &tree };
    let loaded = load_without(main, &sources, &BTreeSet::new());
    let Loaded { desired, warnings, .. } = loaded.map_err(|e| ControllerError::Invalid(Box::new(e)))?;
    Ok(Checked { desired, warnings })
}

/// As a commit of it would be refused.
fn link(path: &Path) -> String {
    format!("{} is a symbolic link, which is never followed: make it an ordinary file", path.display())
}

/// Every file and every link below `dir`, hidden directories left out.
fn walk(root: &Path, dir: &Path, visit: &mut dyn FnMut(&str, &Path)) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot list {}: {error}", dir.display());
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        let path = entry.path();
        if kind.is_dir() && !entry.file_name().to_string_lossy().starts_with('.') {
            walk(root, &path, visit)?;
        } else if (kind.is_file() || kind.is_symlink())
            && let Some(relative) = path.strip_prefix(root).ok().and_then(Path::to_str)
        {
            visit(relative, &path);
        }
    }
    Ok(())
}
