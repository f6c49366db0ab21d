//! Logins that the host lets in by their key and then turns away, because the password or the account behind them has run out:
//! what sshd and PAM say of it, and what helps.

/// As OpenSSH, pam_unix and shadow say that a new password is asked for.
const PASSWORD: [&str; 4] =
    ["password has expired", "password change required", "required to change your password", "password expired"];
/// As they say that nobody comes in any more.
const ACCOUNT: [&str; 2] = ["account has expired", "account expired"];

/// What helps, where this is what was said.
pub fn cure(said: &str, user: &str) -> Option<String> {
    let said = said.to_ascii_lowercase();
    let any = |signs: &[&str]| signs.iter().any(|sign| said.contains(sign));
    if any(&ACCOUNT) {
        return Some(format!("as root on the host: `chage -E -1 {user}` lets the account live on"));
    }
    any(&PASSWORD).then(|| {
        format!(
            "as root on the host: `chage -d $(date +%F) -M -1 {user}` lets the password of {user} last (it is not used for keys), \
             or `passwd {user}` sets a new one"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::cure;

    #[test]
    fn what_has_run_out_is_told_apart() {
        for said in [
            "ended with exit code 1: WARNING: Your password has expired. | Password change required but no TTY available.",
            "You are required to change your password immediately (administrator enforced).",
        ] {
            assert!(cure(said, "deploy").is_some_and(|cure| cure.contains("-M -1 deploy`")), "{said}");
        }
        let said = "Your account has expired; please contact your system administrator.";
        assert!(cure(said, "deploy").is_some_and(|cure| cure.contains("`chage -E -1 deploy`")));
        assert_eq!(cure("Permission denied (publickey).", "deploy"), None);
    }
}
