//! An error and what lies behind it. The outermost one often only repeats what was asked for; the next move stands further in.

use std::error::Error;
use std::io;

/// An error, what caused it, and so on, the innermost last.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        let error: &'a (dyn Error + 'static) = *error;
        // An I/O error that wraps another error does not name it as its source.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// All of them in one line, `a: b: c`. What one only repeats of the others is said once.
pub fn in_one_line(error: &(dyn Error + 'static)) -> String {
    behind(error.to_string(), error)
}

/// The same with other words for the outermost one.
pub fn behind(said: String, error: &(dyn Error + 'static)) -> String {
    causes(error).skip(1).fold(said, |said, cause| {
        let more = cause.to_string();
        if said.contains(&more) { said } else { format!("{said}: {more}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn each_cause_is_said_once() {
        let of = |words: &[&'static str]| {
            words.iter().rev().fold(None, |inner, word| Some(Box::new(Layer(word, inner)))).unwrap()
        };
        let error = of(&["cannot ask: no way", "no way", "", "refused"]);
        assert_eq!(in_one_line(&*error), "cannot ask: no way: refused");
        assert_eq!(causes(&*error).last().map(ToString::to_string), Some("refused".to_owned()));
        assert_eq!(in_one_line(&*of(&["alone"])), "alone");
        let wrapped = io::Error::other(*of(&["the wire", "broke"]));
        assert_eq!(in_one_line(&wrapped), "the wire: broke");
        assert!(causes(&wrapped).any(|cause| cause.downcast_ref::<Layer>().is_some_and(|layer| layer.0 == "the wire")));
        assert_eq!(behind("too late".to_owned(), &*error), "too late: no way: refused");
    }
}
