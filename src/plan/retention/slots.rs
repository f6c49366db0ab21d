//! What fills a slot: a day, a week, a month, a release; and what leads back to a release that is in use.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::{Entry, Terms, note};
use crate::model::backup::name::{BackupName, Kind};

/// Slots of days, weeks and months. `good`: the newest first.
pub fn dates(good: &[&Entry], terms: &Terms, kept: &mut BTreeMap<BackupName, String>) {
    let daily = || good.iter().copied().filter(|entry| entry.name.kind == Kind::Daily);
    let date = |entry: &Entry| terms.zone.to_datetime(entry.name.at.at()).date();
    let week = |date: Date| {
        let week = date.iso_week_date();
        format!("week {}-W{:02}", week.year(), week.week())
    };
    let month = |date: Date| format!("month {}", date.strftime("%Y-%m"));
    let slots: [(u32, &dyn Fn(Date) -> String); 3] =
        [(terms.keep.daily, &|date| format!("day {date}")), (terms.keep.weekly, &week), (terms.keep.monthly, &month)];
    for (count, slot) in slots {
        let mut filled = BTreeSet::new();
        for entry in daily() {
            let slot = slot(date(entry));
            if filled.len() < count as usize && filled.insert(slot.clone()) {
                note(kept, entry, format!("fills the {slot} ({} of {count})", filled.len()));
            }
        }
    }
}

/// Slots of releases, and what leads back to those that are in use.
pub fn releases(good: &[&Entry], terms: &Terms, kept: &mut BTreeMap<BackupName, String>) {
    let before = || good.iter().copied().filter(|entry| entry.name.kind == Kind::PreDeploy);
    let count = terms.keep.pre_deploy;
    let mut filled = BTreeSet::new();
    let mut nameless = 0;
    for entry in before() {
        let new = match &entry.release {
            Some(release) => filled.insert(release),
            None => {
                nameless += 1;
                true
            }
        };
        let number = filled.len() + nameless;
        if new && number <= count as usize {
            let of =
                entry.release.as_ref().map_or_else(|| "a release that is not known".to_owned(), ToString::to_string);
            note(kept, entry, format!("the newest that leads back to {of} ({number} of {count} releases)"));
        }
    }
    for release in &terms.pinned {
        let of: Vec<&Entry> = before().filter(|entry| entry.release.as_ref() == Some(release)).collect();
        for entry in of.first().into_iter().chain(of.last()) {
            note(kept, entry, format!("leads back to {release}, which is in use or the way back"));
        }
    }
}
