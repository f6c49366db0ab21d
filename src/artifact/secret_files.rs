//! Names of files that hold secrets by habit: whoever can read a bundle reads them. A guess by name alone: nothing is opened,
//! and nothing is refused for it.

use super::manifest::Manifest;

/// Whole names, in lower case.
const NAMES: [&str; 22] = [
    ".dockercfg",
    ".git-credentials",
    ".htpasswd",
    ".my.cnf",
    ".netrc",
    ".npmrc",
    ".pgpass",
    ".pypirc",
    ".s3cfg",
    ".vault_pass",
    ".vault-token",
    "_netrc",
    "auth.json",
    "credentials",
    "htpasswd",
    "kubeconfig",
    "secret",
    "secrets",
    "shadow",
    "terraform.tfvars",
    "vault_pass",
    "wallet.dat",
];

/// Endings of private keys, key stores and states, in lower case.
const ENDINGS: [&str; 13] =
    ["env", "jks", "kdb", "kdbx", "key", "keystore", "p12", "p8", "pem", "pfx", "ppk", "tfstate", "truststore"];

/// Endings of what is written to be read by everyone: an example, a public key, a certificate of an authority.
const PUBLIC: [&str; 10] =
    ["default", "defaults", "dist", "enc", "example", "gpg", "pub", "sample", "template", "tmpl"];

/// Lists of public authorities, which libraries bring along.
const AUTHORITIES: [&str; 5] = ["ca-bundle.pem", "ca-certificates.pem", "cacert.pem", "isrgrootx1.pem", "roots.pem"];

/// The files of a release whose names say so, in their order.
pub(super) fn among(manifest: &Manifest) -> Vec<String> {
    let files = manifest.files().map(|(path, ..)| path);
    files.filter(|path| says_so(path)).map(str::to_owned).collect()
}

fn says_so(path: &str) -> bool {
    let path = path.to_lowercase();
    let (dirs, name) = path.rsplit_once('/').unwrap_or(("", &path));
    let parts: Vec<&str> = name.split('.').collect();
    // `.env.example`, `id_rsa.pub`, `example.env`, `.env.dist.php`.
    if parts.iter().any(|part| PUBLIC.contains(part)) || AUTHORITIES.contains(&name) {
        return false;
    }
    let stem = parts.iter().find(|part| !part.is_empty()).copied().unwrap_or_default();
    let ending = parts.last().copied().filter(|_| parts.len() > 1).unwrap_or_default();
    let is_data =
        ["", "cfg", "conf", "csv", "ini", "json", "properties", "toml", "txt", "xml", "yaml", "yml"].contains(&ending);
    let is_key_of_a_person = name.starts_with("id_") && parts.len() == 1;
    let is_environment =
        name == ".env" || name.starts_with(".env.") || name.starts_with(".env-") || name.starts_with(".env_");
    let is_account = is_data
        && ["credential", "secrets", "service-account", "service_account", "serviceaccount", "client_secret"]
            .iter()
            .any(|word| stem.starts_with(word) || stem.ends_with("credentials"));
    let is_kept_by_a_tool = dirs.split('/').any(|dir| matches!(dir, ".ssh" | ".aws" | ".gnupg" | ".docker" | ".kube"));
    NAMES.contains(&name)
        || ENDINGS.contains(&ending)
        || is_key_of_a_person
        || is_environment
        || is_account
        || is_kept_by_a_tool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_and_examples_are_none() {
        for path in [
            ".env",
            ".env.production",
            "deploy/.ENV.local",
            "config/production.env",
            "server.pem",
            "a/server.KEY",
            "id_rsa",
            "home/.ssh/config",
            "id_ed25519",
            "id_ecdsa_sk",
            "credentials",
            ".aws/credentials",
            "credentials.json",
            "google-credentials.json",
            "service-account.json",
            "secrets.yml",
            "auth.json",
            ".npmrc",
            ".netrc",
            "x.p12",
            "master.key",
            "terraform.tfstate",
            ".htpasswd",
            ".env-staging",
        ] {
            assert!(says_so(path), "{path}");
        }
        for path in [
            ".env.example",
            ".env.dist",
            "example.env",
            ".env.sample",
            "id_rsa.pub",
            "id_card.png",
            "index.php",
            "keys.php",
            "credentials.php",
            "src/Credentials/Provider.php",
            "vendor/composer/ca-bundle/res/cacert.pem",
            "environment.json",
            "secretsmanager.js",
            "public/key.svg",
            "env",
            "config/credentials.yml.enc",
            ".envrc.template",
            "monkey",
        ] {
            assert!(!says_so(path), "{path}");
        }
    }
}
