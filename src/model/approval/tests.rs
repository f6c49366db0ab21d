//! One word about a set, and about one plan.

use super::*;

const REPOSITORY: &str = "first";

fn reviewed(n: u8) -> Reviewed {
    let hosts = BTreeMap::from([("web".parse().unwrap(), Digest::of(&[n]))]);
    Reviewed { scope: Digest::of(&[n]), hosts, irreversible: Vec::new(), unnamed: false }
}

fn of(n: u8) -> EnvName {
    format!("customer-{n}").parse().unwrap()
}

/// A word about the plans of these, as a commit of the history of words.
fn said(about: &[u8], decision: Decision, now: Timestamp) -> (Word, Change) {
    let mut subjects: Vec<_> = about.iter().map(|n| Subject::new(of(*n), reviewed(*n))).collect();
    let also = subjects.split_off(1);
    let (name, email, ttl) = ("Ann", "ann@example.com", Duration::from_secs(3600));
    let id = format!("{about:?}{decision:?}");
    let about = About { id, repository: REPOSITORY, subject: subjects.remove(0), also, name, email, ttl };
    let word = Word::new(about, decision, None, now);
    let bytes = serde_json::to_vec(&Envelope::new(serde_json::to_string(&word).unwrap(), None)).unwrap();
    let Subject { environment, binding, .. } = &word.subject;
    let file = WordFile {
        path: format!("{environment}/{binding}/{}.json", word.id),
        environment: environment.to_string(),
        binding: binding.to_string(),
        read: Read::of(&bytes),
    };
    let (name, email) = (name.to_owned(), email.to_owned());
    let change = Change { commit: word.id.clone(), name, email, said: Some(file), removed: Vec::new(), odd: None };
    (word, change)
}

fn heard(history: &[Change], n: u8, plan: &Reviewed, now: Timestamp) -> Vec<bool> {
    let environment = of(n);
    let ttl = Duration::from_secs(3600);
    let by = Judge { repository: REPOSITORY, environment: &environment, plan, now, ttl, strict: false, makers: &[] };
    let (words, told) = judge(history, &by, |_, _, _| Err(String::new()));
    assert!(told.is_empty(), "{told:?}");
    words.iter().map(|word| word.approve).collect()
}

#[test]
fn one_word_about_a_set_counts_for_each_plan_that_it_names_and_no_other() {
    let now = Timestamp::UNIX_EPOCH;
    let (_, set) = said(&[1, 2, 3], Decision::Approve, now);
    let (_, no) = said(&[2], Decision::Reject, now);
    let history = [set, no];
    assert_eq!(heard(&history, 1, &reviewed(1), now), [true]);
    assert_eq!(heard(&history, 3, &reviewed(3), now), [true]);
    // A later word about one of them stands beside it.
    assert_eq!(heard(&history, 2, &reviewed(2), now), [true, false]);
    // Another plan of the same environment, and an environment that it does not name.
    assert!(heard(&history, 3, &reviewed(9), now).is_empty());
    assert!(heard(&history, 4, &reviewed(4), now).is_empty());
}

#[test]
fn a_word_about_one_plan_has_the_form_that_it_always_had() {
    let (word, _) = said(&[1], Decision::Approve, Timestamp::UNIX_EPOCH);
    let keys: Vec<_> = serde_json::to_value(&word).unwrap().as_object().unwrap().keys().cloned().collect();
    let known = [
        "at",
        "binding",
        "decision",
        "email",
        "environment",
        "expires",
        "format",
        "id",
        "name",
        "note",
        "repository",
        "reviewed",
    ];
    assert_eq!(keys, known);
}

#[test]
fn a_set_in_which_one_plan_is_not_what_it_is_bound_to_is_no_word() {
    let now = Timestamp::UNIX_EPOCH;
    let (mut word, mut change) = said(&[1, 2], Decision::Approve, now);
    word.also[0].reviewed = reviewed(7);
    let bytes = serde_json::to_vec(&Envelope::new(serde_json::to_string(&word).unwrap(), None)).unwrap();
    change.said.as_mut().unwrap().read = Read::of(&bytes);
    let (environment, plan) = (of(2), reviewed(7));
    let ttl = Duration::from_secs(3600);
    let by =
        Judge { repository: REPOSITORY, environment: &environment, plan: &plan, now, ttl, strict: false, makers: &[] };
    let (words, told) = judge(&[change], &by, |_, _, _| Err(String::new()));
    assert!(words.is_empty() && told[0].message.contains("said about another plan"), "{told:?}");
}
