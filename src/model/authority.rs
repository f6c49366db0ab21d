//! What is said where a server's certificate is signed by nobody whom this machine trusts: a private authority is the usual
//! reason, and whoever reads the error has its certificate. Pure.

/// The variable that names a file with the certificates of authorities.
pub const VARIABLE: &str = "SSL_CERT_FILE";

/// Whether an error of TLS says that nobody is trusted who has signed.
pub fn is_unknown(error: &str) -> bool {
    ["UnknownIssuer", "CaUsedAsEndEntity", "No CA certificates"].iter().any(|sign| error.contains(sign))
}

/// What to do about it. `named`: what [`VARIABLE`] says; `readable`: why such a file cannot be read.
pub fn cure(named: Option<&str>, readable: impl FnOnce(&str) -> Result<(), String>) -> String {
    let Some(file) = named.filter(|file| !file.is_empty()) else {
        return format!(
            "where the authority is a private one, name the file with that one's certificate in {VARIABLE} (then only what is \
             in it is trusted), or install it: /usr/local/share/ca-certificates/NAME.crt, then `update-ca-certificates`"
        );
    };
    match readable(file) {
        Ok(()) => format!("only what is in {VARIABLE}={file} is trusted: add the certificate of the authority there"),
        Err(why) => format!("{VARIABLE}={file} cannot be read: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_counts_is_named() {
        let bad = |_: &str| Err("no such file".to_owned());
        for none in [None, Some("")] {
            assert!(cure(none, bad).contains("name the file with that one's certificate in SSL_CERT_FILE"));
        }
        assert!(cure(Some("/ca.pem"), |_| Ok(())).starts_with("only what is in SSL_CERT_FILE=/ca.pem is trusted"));
        assert_eq!(cure(Some("/ca.pem"), bad), "SSL_CERT_FILE=/ca.pem cannot be read: no such file");
        assert!(is_unknown("invalid peer certificate: UnknownIssuer") && !is_unknown("connection refused"));
    }
}
