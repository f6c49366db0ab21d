//! The state file as it lies on disk, before it is committed. The loop never reads it; people do.

use std::path::Path;

use crate::model::desired::diagnose::SourceFile;
use crate::model::desired::load::{Loaded, load, matcher};
use crate::run::controller::{Checked, ControllerError};

/// Loads a file and what it includes.
pub fn load_file(path: &Path) -> Result<Checked, ControllerError> {
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let main = SourceFile { path: name, text: read(path).map_err(ControllerError::Other)? };
    let includes = |pattern: &str| {
        let matches = matcher(pattern)?;
        let mut found = Vec::new();
        walk(dir, dir, &mut |relative, full| {
            if matches.is_match(relative) {
                found.push(SourceFile { path: relative.to_owned(), text: read(full)? });
            }
            Ok(())
        })?;
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    };
    let Loaded { desired, warnings, .. } = load(main, &includes).map_err(|e| ControllerError::Invalid(Box::new(e)))?;
    Ok(Checked { desired, warnings })
}

/// Every regular file below `dir`, links and hidden directories left out.
fn walk(root: &Path, dir: &Path, visit: &mut dyn FnMut(&str, &Path) -> Result<(), String>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot list {}: {error}", dir.display());
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        let path = entry.path();
        if kind.is_dir() && !entry.file_name().to_string_lossy().starts_with('.') {
            walk(root, &path, visit)?;
        } else if kind.is_file()
            && let Some(relative) = path.strip_prefix(root).ok().and_then(Path::to_str)
        {
            visit(relative, &path)?;
        }
    }
    Ok(())
}
