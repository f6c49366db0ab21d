//! What stands in a record and is not known here: a newer program of the same format wrote it, and it is kept. It rides
//! along with the object that it was written into, and goes where that object goes. Pure.

use serde_json::{Map, Value};

use super::Record;

/// The record as it is written: `after`, and what `raw` has beyond what is known of it (`before`).
pub fn keep(raw: &Value, before: &Record, after: &Record) -> serde_json::Result<Value> {
    let (before, mut after) = (serde_json::to_value(before)?, serde_json::to_value(after)?);
    graft(raw, &before, &mut after);
    Ok(after)
}

/// What tells one object of a kind from the next one. Where one of these differs, it is another object, and what was
/// said about the old one is not said about it.
const IDENTITY: [&str; 9] = ["release", "sha", "commit", "at", "since", "armed_at", "from", "staged_at", "name"];

fn graft(raw: &Value, before: &Value, after: &mut Value) {
    match (raw, before, after) {
        (Value::Object(raw), Value::Object(before), Value::Object(after)) if same(before, after) => {
            for (key, value) in raw {
                match (before.get(key), after.get_mut(key)) {
                    (Some(before), Some(after)) => graft(value, before, after),
                    // Known, and meant to be gone.
                    (Some(_), None) => {}
                    (None, _) => {
                        after.entry(key).or_insert_with(|| value.clone());
                    }
                }
            }
        }
        // An entry of a list is never changed in place: it is there as it was, or it is gone.
        (Value::Array(raw), Value::Array(before), Value::Array(after)) => {
            for (raw, before) in raw.iter().zip(before) {
                for after in after.iter_mut().filter(|after| *after == before) {
                    graft(raw, before, after);
                }
            }
        }
        _ => {}
    }
}

fn same(before: &Map<String, Value>, after: &Map<String, Value>) -> bool {
    // A release may be called so, too: what stands there is no text then.
    let told = |of: &Map<String, Value>, key: &str| of.get(key).filter(|value| !value.is_object()).cloned();
    IDENTITY.iter().all(|key| told(before, key) == told(after, key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::ids::Epoch;

    /// A record of a newer program of this format: at every level there is something that this one does not know.
    fn raw() -> Value {
        let (sha, digest) = ("a".repeat(40), "b".repeat(64));
        let key = json!({ "sha": sha, "bundle": null, "config": digest, "files": digest, "new": 1 });
        let command =
            |name: &str| json!({ "name": name, "run": "true", "env": {}, "timeout": 1.0, "hides": [], "new": name });
        let at = "2026-01-01T00:00:00Z";
        json!({
            "format": 2, "by": "soll 9", "epoch": 3, "new": [1, 2],
            "confirmed": { "release": "r1", "sha": sha, "bundle": null, "at": at, "inputs": null, "files": {}, "new": { "deep": 1 } },
            "probation": {
                "release": "r2", "sha": sha, "back_to": "r1", "epoch": 3, "armed_at": at, "lease": 60.0, "key": key,
                "rollback": [command("one"), command("two")], "new": 2
            },
            "closed": { "epoch": 3, "at": at, "lease": 60.0, "open": [command("open"), command("warm")], "new": 3 },
            "releases": { "r1": {
                "sha": sha, "bundle": null, "tree": null, "links": null, "staged_at": at, "sealed": false,
                "confirmed_at": null, "failed": false, "adopted": false, "new": 4
            } },
            "quarantined": [
                { "key": key, "reason": "one", "at": at, "verdict": true, "new": 5 },
                { "key": key, "reason": "two", "at": at, "verdict": true, "alone": true, "new": 6 }
            ],
            "migrations": { "m": "done" },
            "green": { "release": "r1", "since": at, "last": at, "samples": 1, "new": 7 },
            "ailing": null, "accepted": { "commit": "c", "at": at, "new": 8 }, "stopped": null, "returned": null, "cancel": null
        })
    }

    fn written(change: impl FnOnce(&mut Record)) -> Value {
        let raw = raw();
        let before: Record = serde_json::from_value(raw.clone()).unwrap();
        let mut after = before.clone();
        change(&mut after);
        keep(&raw, &before, &after).unwrap()
    }

    #[test]
    fn nothing_is_lost_where_something_else_changes() {
        let mut expected = raw();
        expected["epoch"] = json!(4);
        expected["probation"]["epoch"] = json!(4);
        expected["closed"]["epoch"] = json!(4);
        expected["closed"]["open"].as_array_mut().unwrap().remove(0);
        expected["releases"]["r1"]["sealed"] = json!(true);
        expected["green"]["samples"] = json!(2);
        let got = written(|record| {
            record.acquire(Epoch(4)).unwrap();
            record.take_over(Epoch(4)).unwrap();
            record.opened("open");
            record.releases.values_mut().for_each(|release| release.sealed = true);
            record.green.as_mut().unwrap().samples = 2;
        });
        assert_eq!(got, expected);
    }

    #[test]
    fn what_was_said_about_another_object_is_not_said_about_its_successor() {
        let got = written(|record| {
            let release: crate::model::ids::ReleaseName = "r2".parse().unwrap();
            record.confirmed.as_mut().unwrap().release = release.clone();
            record.quarantined.remove(0);
            record.probation = None;
            record.releases.clear();
            record.accepted.as_mut().unwrap().commit = "d".to_owned();
        });
        assert_eq!(got["confirmed"].get("new"), None);
        assert_eq!(got["accepted"].get("new"), None);
        assert_eq!(got["probation"], Value::Null);
        assert_eq!(got["quarantined"].as_array().unwrap().len(), 1);
        assert_eq!((&got["quarantined"][0]["new"], &got["quarantined"][0]["alone"]), (&json!(6), &json!(true)));
        assert_eq!((&got["new"], &got["by"]), (&json!([1, 2]), &json!("soll 9")));
    }

    #[test]
    fn a_known_key_that_is_left_out_stays_out() {
        let got = written(|record| record.quarantined.iter_mut().for_each(|entry| entry.alone = false));
        assert!(got["quarantined"].as_array().unwrap().iter().all(|entry| entry.get("alone").is_none()), "{got}");
    }
}
