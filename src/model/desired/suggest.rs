//! "Did you mean …": the known word that a wrong one was probably meant to be. Pure.

/// The known word closest to `word`, where one is close enough to be worth a question.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean `x`?`, or the known words where none is close.
pub fn help<'a>(word: &str, what: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match closest(word, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => list(what, known),
    }
}

/// `known keys: `a`, `b``, or that there are none.
pub fn list<'a>(what: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = known.into_iter().map(|word| format!("`{word}`")).collect();
    if words.is_empty() { format!("there are no {what} here") } else { format!("{what}: {}", words.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_near_word_is_suggested() {
        let known = ["drift", "drift_every", "deadline", "root"];
        assert_eq!(closest("drfit", known), Some("drift"));
        assert_eq!(closest("Deadlines", known), Some("deadline"));
        assert_eq!(closest("colour", known), None);
        assert_eq!(help("x", "known keys", ["a1", "b1"]), "known keys: `a1`, `b1`");
    }
}
