//! What a registry says of an image, as far as somebody needs it who brings the image elsewhere. Pure.

use serde::Deserialize;

use crate::model::ids::Digest;
use crate::model::image::Platform;

/// A manifest of one image, of either of the forms that are in use.
pub const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
/// A list of manifests, one for each platform.
pub const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

/// Something of a registry, by its digest.
#[derive(Debug, Clone, Deserialize)]
pub struct Descriptor {
    digest: String,
    pub size: u64,
    #[serde(default)]
    platform: Option<Described>,
}

#[derive(Debug, Clone, Deserialize)]
struct Described {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

impl Descriptor {
    /// The SHA-256 of its bytes.
    ///
    /// # Errors
    /// It goes by another digest; in words.
    pub fn sha256(&self) -> Result<Digest, String> {
        sha256(&self.digest)
    }
}

/// The SHA-256 of `sha256:…`.
///
/// # Errors
/// It is another digest; in words.
pub fn sha256(text: &str) -> Result<Digest, String> {
    let hex = text.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
    hex.ok_or_else(|| format!("it goes by `{text}`, and only SHA-256 is known here"))
}

/// What stands at a name: an image, or one for each platform.
#[derive(Debug, Clone)]
pub enum Named {
    Image(Manifest),
    Index(Vec<Descriptor>),
}

/// Of what an image is made.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Either {
    #[serde(rename = "schemaVersion", default)]
    version: u32,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

impl Named {
    /// Reads it.
    ///
    /// # Errors
    /// It is neither; in words.
    pub fn read(text: &str) -> Result<Named, String> {
        let read: Either =
            serde_json::from_str(text).map_err(|error| format!("its manifest cannot be read: {error}"))?;
        match (read.manifests, read.config, read.layers) {
            (Some(manifests), None, _) => Ok(Named::Index(manifests)),
            (None, Some(config), Some(layers)) => Ok(Named::Image(Manifest { config, layers })),
            _ if read.version == 1 => {
                Err("its manifest has the first form, which is not in use any more: push it once more".to_owned())
            }
            _ => Err("its manifest is neither that of an image nor a list of some".to_owned()),
        }
    }
}

/// The image for a platform. Of several that fit one that names the same variant, or none.
///
/// # Errors
/// There is none; in words, with those that there are.
pub fn choose<'a>(index: &'a [Descriptor], platform: &Platform) -> Result<&'a Descriptor, String> {
    let fits = |one: &&Descriptor| {
        let of = one.platform.as_ref();
        of.is_some_and(|of| of.os == platform.os && of.architecture == platform.architecture)
    };
    let variant = |one: &Descriptor| one.platform.as_ref().map_or("", |of| of.variant.as_str()).to_owned();
    let mut fitting: Vec<&Descriptor> = index.iter().filter(fits).collect();
    fitting.sort_by_key(|one| match variant(one) {
        own if own == platform.variant => (0, own),
        none if none.is_empty() => (1, none),
        other => (2, other),
    });
    fitting.first().copied().ok_or_else(|| {
        let all = index.iter().filter_map(|one| one.platform.as_ref());
        let known: Vec<String> = all.map(|of| format!("{}/{}", of.os, of.architecture)).collect();
        format!("it has nothing for {platform}, only for {}", known.join(", "))
    })
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// The digests of the layers once they are unpacked, the lowest first: by these an engine knows them.
///
/// # Errors
/// It is no configuration of an image; in words.
pub fn diff_ids(config: &str) -> Result<Vec<String>, String> {
    let config: Config =
        serde_json::from_str(config).map_err(|error| format!("its configuration cannot be read: {error}"))?;
    Ok(config.rootfs.diff_ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[(&str, &str, &str)]) -> Vec<Descriptor> {
        let one = |(os, architecture, variant): &(&str, &str, &str)| Descriptor {
            digest: format!("sha256:{}", Digest::of(format!("{os}{architecture}{variant}").as_bytes())),
            size: 1,
            platform: Some(Described {
                os: (*os).to_owned(),
                architecture: (*architecture).to_owned(),
                variant: (*variant).to_owned(),
            }),
        };
        platforms.iter().map(one).collect()
    }

    #[test]
    fn of_an_index_the_image_of_the_hosts_platform_is_taken() {
        let index = index(&[
            ("unknown", "unknown", ""),
            ("linux", "arm", "v6"),
            ("linux", "arm", "v7"),
            ("linux", "amd64", ""),
            ("linux", "arm64", "v8"),
        ]);
        let chosen = |architecture: &str, variant: &str| {
            let platform =
                Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: variant.to_owned() };
            choose(&index, &platform).map(|one| index.iter().position(|other| other.digest == one.digest))
        };
        assert_eq!(chosen("amd64", ""), Ok(Some(3)));
        assert_eq!(chosen("arm", "v7"), Ok(Some(2)));
        assert_eq!(chosen("arm64", ""), Ok(Some(4)));
        let why = chosen("riscv64", "").unwrap_err();
        assert!(why.contains("linux/riscv64") && why.contains("linux/amd64"), "{why}");
    }

    #[test]
    fn each_form_of_a_manifest_is_read_and_the_rest_refused() {
        let blob = format!(r#"{{"mediaType":"x","digest":"sha256:{}","size":3}}"#, "ab".repeat(32));
        let image = format!(r#"{{"schemaVersion":2,"config":{blob},"layers":[{blob}]}}"#);
        let Named::Image(read) = Named::read(&image).unwrap() else { panic!("{image}") };
        assert_eq!((read.layers[0].size, read.config.sha256().unwrap().short()), (3, "abababababab".to_owned()));
        let list = format!(r#"{{"schemaVersion":2,"manifests":[{blob}]}}"#);
        assert!(matches!(Named::read(&list).unwrap(), Named::Index(all) if all.len() == 1));
        assert!(Named::read(r#"{"schemaVersion":1,"fsLayers":[]}"#).unwrap_err().contains("first form"));
        for bad in ["", "[]", "{}", r#"{"config":{"digest":1}}"#] {
            assert!(Named::read(bad).is_err(), "{bad}");
        }
        assert!(sha256("sha512:00").is_err() && sha256("sha256:00").is_err());
        assert_eq!(diff_ids(r#"{"rootfs":{"type":"layers","diff_ids":["sha256:1"]}}"#).unwrap(), ["sha256:1"]);
    }
}
