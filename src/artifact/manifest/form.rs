//! How manifests and listings are written: JSON, an entry one flat object.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};

use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Entry, Manifest, Node, PERMISSIONS, Times};
use crate::model::ids::Digest;

/// One line of a listing ([`super::delta`]): what a tree has, or what it has not and the one that it is told against has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<S> {
    Is(Entry<S>),
    Gone(S),
    /// Behind all entries: the next so many files have this time ([`Times`]).
    Times(Option<i64>, u32),
}

/// An entry as it is written: one flat object. Manifests of thousands of files are read many times in a deployment, and
/// this is read in a fifth of the time that a flattened enum takes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flat<P> {
    path: P,
    r#type: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    executable: Option<bool>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    target: Option<P>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<u16>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Dir,
    File,
    Link,
    /// Nothing is there: in a listing alone.
    Gone,
}

fn none<P>() -> Option<P> {
    None
}

/// A text that is read where it lies.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a, S: AsRef<str>> From<&'a Entry<S>> for Flat<&'a str> {
    fn from(entry: &'a Entry<S>) -> Flat<&'a str> {
        let path = entry.path.as_ref();
        let flat = Flat {
            path,
            r#type: Kind::Dir,
            sha256: None,
            size: None,
            executable: None,
            target: None,
            mode: entry.mode,
        };
        match &entry.node {
            Node::Dir => flat,
            Node::File { sha256, size, executable } => Flat {
                r#type: Kind::File,
                sha256: Some(*sha256),
                size: Some(*size),
                executable: Some(*executable),
                ..flat
            },
            Node::Link { target } => Flat { r#type: Kind::Link, target: Some(target.as_ref()), ..flat },
        }
    }
}

impl<'a> TryFrom<Flat<Text<'a>>> for Line<Cow<'a, str>> {
    type Error = String;

    fn try_from(flat: Flat<Text<'a>>) -> Result<Self, String> {
        let mode = flat.mode;
        if mode.is_some_and(|mode| mode & !PERMISSIONS != 0) {
            return Err(format!("`{}` has a mode that no release gives", flat.path.0));
        }
        let node = match flat {
            Flat { path, r#type: Kind::Gone, sha256: None, size: None, executable: None, target: None, mode: None } => {
                return Ok(Line::Gone(path.0));
            }
            Flat { r#type: Kind::Dir, sha256: None, size: None, executable: None, target: None, .. } => Node::Dir,
            Flat {
                r#type: Kind::File,
                sha256: Some(sha256),
                size: Some(size),
                executable: Some(executable),
                target: None,
                ..
            } => Node::File { sha256, size, executable },
            Flat {
                r#type: Kind::Link,
                sha256: None,
                size: None,
                executable: None,
                target: Some(Text(target)),
                path,
                mode: None,
            } => {
                return Ok(Line::Is(Entry { path: path.0, node: Node::Link { target }, mode: None }));
            }
            Flat { path: Text(path), .. } => return Err(format!("`{path}` has not what an entry of its type has")),
        };
        Ok(Line::Is(Entry { path: flat.path.0, node, mode }))
    }
}

impl<S: AsRef<str>> Serialize for Entry<S> {
    fn serialize<T: Serializer>(&self, to: T) -> Result<T::Ok, T::Error> {
        Flat::from(self).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Entry<Cow<'de, str>> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Line::deserialize(from)? {
            Line::Is(entry) => Ok(entry),
            Line::Gone(path) => Err(serde::de::Error::custom(format!("`{path}` is said not to be there"))),
            Line::Times(..) => Err(serde::de::Error::custom("a time is no entry")),
        }
    }
}

impl<S: AsRef<str>> Serialize for Line<S> {
    fn serialize<T: Serializer>(&self, to: T) -> Result<T::Ok, T::Error> {
        match self {
            Line::Is(entry) => entry.serialize(to),
            Line::Gone(path) => {
                let (path, r#type) = (path.as_ref(), Kind::Gone);
                Flat { path, r#type, sha256: None, size: None, executable: None, target: None, mode: None }
                    .serialize(to)
            }
            Line::Times(time, files) => (time, files).serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Line<Cow<'de, str>> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Flat::<Text<'de>>::deserialize(from)?.try_into().map_err(serde::de::Error::custom)
    }
}

impl<'de> Line<Cow<'de, str>> {
    /// Reads one line of a listing.
    ///
    /// # Errors
    /// It is none, in words.
    pub fn read(line: &'de [u8]) -> Result<Self, String> {
        let read = match line.first() {
            Some(b'[') => serde_json::from_slice(line).map(|(time, files)| Line::Times(time, files)),
            _ => serde_json::from_slice(line),
        };
        read.map_err(|error| error.to_string())
    }
}

impl Serialize for Manifest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        struct Rows<'a>(&'a Manifest);
        impl Serialize for Rows<'_> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_seq(self.0.entries())
            }
        }
        let times = self.times();
        let mut form = to.serialize_struct("Manifest", 1 + usize::from(!times.is_empty()))?;
        form.serialize_field("entries", &Rows(self))?;
        if !times.is_empty() {
            form.serialize_field("times", &times)?;
        }
        form.end().map_err(S::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Manifest, D::Error> {
        #[derive(Deserialize)]
        struct Form {
            entries: Rows,
            #[serde(default)]
            times: Times,
        }
        struct Rows(Manifest);
        impl<'de> Deserialize<'de> for Rows {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Rows, D::Error> {
                from.deserialize_seq(Taken).map(Rows)
            }
        }
        struct Taken;
        impl<'de> Visitor<'de> for Taken {
            type Value = Manifest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the entries of a manifest")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Manifest, A::Error> {
                let mut manifest = Manifest::default();
                while let Some(entry) = from.next_element::<Entry<Cow<'de, str>>>()? {
                    manifest.push(entry.as_ref()).map_err(serde::de::Error::custom)?;
                }
                Ok(manifest)
            }
        }
        Form::deserialize(from).map(|Form { entries: Rows(mut manifest), times }| {
            manifest.set_times(times);
            manifest
        })
    }
}

/// A longer file is read piece by piece: whole it would take more memory than what it says.
const WHOLE: u64 = 16 << 20;

/// What a file says that holds a manifest.
///
/// # Errors
/// It cannot be read, or says something else.
pub fn from_file<T: DeserializeOwned>(mut file: File) -> io::Result<T> {
    let length = file.metadata()?.len();
    if length > WHOLE {
        return serde_json::from_reader(BufReader::with_capacity(256 << 10, file)).map_err(io::Error::from);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).map_err(io::Error::from)
}
