//! Addresses as people may see them. Pure: nothing is looked at here.

/// The text without what may be secret in it. Works on texts that are no URL as well, since they end up in errors.
pub fn redacted(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (rest, query) = match rest.split_once(['?', '#']) {
        Some((rest, _)) => (rest, "?…"),
        None => (rest, ""),
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = authority.rsplit('@').next().unwrap_or(authority);
    format!("{scheme}://{host}{path}{query}")
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        assert_eq!(
            redacted("https://ann:pw@h/deployment-bundle-{sha}.tar.gz"),
            "https://h/deployment-bundle-{sha}.tar.gz"
        );
        assert_eq!(redacted("https://h:8443/a?token=pw"), "https://h:8443/a?…");
        assert_eq!(redacted("https://a@b:pw@h#pw"), "https://h?…");
        assert_eq!(redacted("bundles/a@b.tar.gz"), "bundles/a@b.tar.gz");
    }
}
