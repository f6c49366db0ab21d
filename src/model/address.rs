//! Addresses as people may see them. Pure: nothing is looked at here.

/// The text without what may be secret in it: no user and no password, and of a query the names alone, since signed
/// addresses carry their secrets there. Works on texts that are no URL as well, since they end up in errors.
pub fn redacted(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (rest, fragment) = match rest.split_once('#') {
        Some((rest, _)) => (rest, "#***"),
        None => (rest, ""),
    };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, format!("?{}", query.split('&').map(masked).collect::<Vec<_>>().join("&"))),
        None => (rest, String::new()),
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = authority.rsplit('@').next().unwrap_or(authority);
    format!("{scheme}://{host}{path}{query}{fragment}")
}

/// One parameter of a query. What has no name, or a name and no value, may be a secret as a whole.
fn masked(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => format!("{name}=***"),
        _ if parameter.is_empty() => String::new(),
        _ => "***".to_owned(),
    }
}

/// What lies beside a place, under its name with `suffix` behind it. In a web address the name ends where the query or the
/// fragment begins: `…/x.tar.gz?sig=1` has `…/x.tar.gz.sha256?sig=1` beside it. A suffix with a query of its own keeps that
/// one.
pub fn beside(place: &str, suffix: &str) -> String {
    let web = place
        .split_once("://")
        .is_some_and(|(scheme, _)| ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)));
    let end = if web { place.find(['?', '#']).unwrap_or(place.len()) } else { place.len() };
    let (name, rest) = place.split_at(end);
    match rest.strip_prefix('?').filter(|_| suffix.contains('?')) {
        Some(_) => format!("{name}{suffix}"),
        None => format!("{name}{suffix}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{beside, redacted};

    #[test]
    fn what_may_be_secret_is_not_shown() {
        assert_eq!(
            redacted("https://ann:pw@h/deployment-bundle-{sha}.tar.gz"),
            "https://h/deployment-bundle-{sha}.tar.gz"
        );
        assert_eq!(redacted("https://h:8443/a?token=pw"), "https://h:8443/a?token=***");
        assert_eq!(redacted("https://h/a?v=1&&=pw&pw&pw=#pw"), "https://h/a?v=***&&***&***&***#***");
        assert_eq!(redacted("https://a@b:pw@h#pw?pw"), "https://h#***");
        assert_eq!(redacted("bundles/a@b.tar.gz"), "bundles/a@b.tar.gz");
    }

    #[test]
    fn what_lies_beside_has_the_name_and_not_the_query() {
        for (place, expected) in [
            ("https://h/x.tar.gz", "https://h/x.tar.gz.sha256"),
            ("HTTPS://h/x.tar.gz?sig=a/b.c", "HTTPS://h/x.tar.gz.sha256?sig=a/b.c"),
            ("https://h/x.tar.gz?sig=1#top", "https://h/x.tar.gz.sha256?sig=1#top"),
            ("https://h/x.tar.gz#top?no", "https://h/x.tar.gz.sha256#top?no"),
            ("file:///srv/a?b.tar.gz", "file:///srv/a?b.tar.gz.sha256"),
            ("/srv/a#b?c.tar.gz", "/srv/a#b?c.tar.gz.sha256"),
        ] {
            assert_eq!(beside(place, ".sha256"), expected);
        }
        assert_eq!(beside("https://h/x?sig=1", ".sum?sig=2"), "https://h/x.sum?sig=2");
    }
}
