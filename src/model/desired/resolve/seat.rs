//! Where a place for backups is, so that two names of one place are known as one.

use reqwest::Url;

use super::super::backup::{Place, S3Place, SftpPlace};
use crate::model::origin::Origin;

/// Where a place is: on which machine, and the steps of its path there.
pub(super) struct Seat {
    machine: String,
    pub(super) path: Vec<String>,
}

impl Seat {
    /// `host`: the one that writes, whose directories are its own.
    pub(super) fn of(place: &Place, host: &str) -> Seat {
        let (machine, path) = match place {
            // The same path on another host is another place.
            Place::Directory(path) => (format!("the host {host}"), path),
            // As whom one logs in may decide which directory a path is.
            Place::Sftp(SftpPlace { user, host, port, path, .. }) => {
                let user = user.as_deref().unwrap_or_default();
                (format!("{user}@{}:{}", host.to_ascii_lowercase(), port.unwrap_or(22)), path)
            }
            Place::S3(S3Place { bucket, prefix, endpoint, .. }) => {
                (format!("the bucket {bucket} of {}", server(endpoint.as_deref())), prefix)
            }
        };
        Seat { machine, path: path.split('/').filter(|step| !step.is_empty()).map(str::to_owned).collect() }
    }

    /// Whether one is the other, or lies in it.
    pub(super) fn meets(&self, other: &Seat) -> bool {
        self.machine == other.machine && self.path.iter().zip(&other.path).all(|(a, b)| a == b)
    }
}

/// Who keeps the buckets of an endpoint. At Amazon a name is given once, whatever region it is asked for by.
fn server(endpoint: Option<&str>) -> String {
    let Some(endpoint) = endpoint else { return AMAZON.to_owned() };
    let url = Url::parse(endpoint).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    if host.ends_with(".amazonaws.com") {
        return AMAZON.to_owned();
    }
    let origin = url.as_ref().and_then(Origin::of_url);
    origin.map_or_else(|| endpoint.trim_end_matches('/').to_ascii_lowercase(), |origin| origin.to_string())
}

const AMAZON: &str = "Amazon";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::desired::backup::Key;

    fn bucket(endpoint: Option<&str>, prefix: &str) -> Seat {
        let place = S3Place {
            bucket: "backups".to_owned(),
            prefix: prefix.to_owned(),
            endpoint: endpoint.map(str::to_owned),
            region: None,
            key: Key::Refused(String::new()),
        };
        Seat::of(&Place::S3(place), "web1")
    }

    #[test]
    fn a_bucket_is_one_by_whichever_name_its_server_is_asked() {
        let frankfurt = "https://s3.eu-central-1.amazonaws.com";
        for (one, other, is) in [
            (None, Some(frankfurt), true),
            (Some("https://S3.amazonaws.com/"), Some(frankfurt), true),
            (Some("https://s3.example.com"), Some("https://s3.Example.com:443/"), true),
            (Some("https://s3.example.com"), Some("https://s3.example.com:9000"), false),
            (Some("https://amazonaws.com.example.com"), Some(frankfurt), false),
            (Some("https://s3.cn-north-1.amazonaws.com.cn"), Some(frankfurt), false),
        ] {
            assert_eq!(bucket(one, "shop").meets(&bucket(other, "shop/production")), is, "{one:?} {other:?}");
        }
        assert!(!bucket(None, "shop").meets(&bucket(None, "shop2")));
    }
}
