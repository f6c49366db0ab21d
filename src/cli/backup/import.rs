//! `soll backup import`: backups that something else made under the same names are taken over.

use clap::Args;
use serde_json::json;

use super::{Job, PATIENCE, Shell};
use crate::cli::{Result, out, screen};
use crate::model::backup::manifest::Manifest;
use crate::model::shown::counted;
use crate::run::pass::backup::{import, shelf};
use crate::run::pass::roots::Roots;

#[derive(Args)]
pub struct Import {
    /// The backups, as `[backups.NAME]` calls them [default: all]
    names: Vec<String>,
    /// Only say what would be taken over
    #[arg(long)]
    dry_run: bool,
}

impl Shell<'_> {
    pub(super) async fn import(&self, wanted: Import) -> Result {
        let (mut rows, mut bad, mut seen) = (Vec::new(), false, 0);
        for Job { env, backup, target } in self.jobs(&wanted.names)? {
            let roots = Roots::take_one(&self.controller, &self.snapshot, env, target, ("import", PATIENCE)).await?;
            let state = roots.taken(&target.name);
            let shelves = shelf::all(&self.controller, &self.snapshot, env, backup, target).await;
            for row in &shelves {
                if let Err(why) = &row.backups {
                    bad = true;
                    screen::line(&format!("soll: {} on {}: {why}", backup.name, row.target.name));
                }
            }
            for (place, one, fits) in import::strangers(&shelves, backup, state) {
                seen += 1;
                let done = match fits {
                    Err(why) => Err(format!("left alone: {why}")),
                    Ok(()) => {
                        let examined =
                            import::examine(&self.controller, &self.snapshot, (env, target), backup, place, one);
                        match examined.await {
                            Ok(Ok((manifest, parts))) => {
                                let told = told(&manifest);
                                match wanted.dry_run {
                                    true => Ok(format!("would be imported: {told}")),
                                    false => import::seal((&roots, target), place, (manifest, parts), one)
                                        .await
                                        .map(|()| format!("imported: {told}"))
                                        .map_err(|error| format!("not imported: {error}")),
                                }
                            }
                            Ok(Err(why)) => Err(format!("left alone: {why}")),
                            // That is no word about the backup.
                            Err(error) => Err(format!("not looked at: {error}")),
                        }
                    }
                };
                bad |= done.is_err();
                let imported = done.is_ok() && !wanted.dry_run;
                let told = done.unwrap_or_else(|why| why);
                if !self.is_json() {
                    out::text(&format!("{} {} on {}: {told}\n", backup.name, one.name, place.name));
                }
                rows.push(json!({
                    "name": backup.name, "backup": one.name, "target": place.name, "imported": imported, "message": told,
                }));
            }
            roots.release().await;
        }
        if self.is_json() {
            out::json(&rows);
        } else if seen == 0 && !bad {
            out::text("there is nothing to import: every backup that is there has its manifest\n");
        }
        Ok(u8::from(bad))
    }
}

/// What was seen of one that is whole.
fn told(manifest: &Manifest) -> String {
    let rows = manifest.rows().map(|rows| format!(", {}", counted(rows, "row", "rows")));
    let remarks: String = manifest.warnings.iter().map(|remark| format!("; {remark}")).collect();
    format!("whole{}{remarks}", rows.unwrap_or_default())
}
