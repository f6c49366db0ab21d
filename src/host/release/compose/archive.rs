//! One image as an archive that an engine takes: the form of `docker save`, which is a layout of OCI with a list beside it that
//! older engines read. It is made while it is read, and lies nowhere as a whole.
//!
//! Layers that the engine has may be left out: it looks for the chain of a layer before it opens its file. The store of
//! containerd wants the bytes that it does not keep; whoever leaves some out is told so, and gives all.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::Stream;
use futures_util::stream::unfold;
use hyper::body::Bytes;
use serde_json::json;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::host::wire::compose::Load;
use crate::model::ids::Digest;
use crate::model::image;

/// So many pieces wait for an engine that is slow.
const PIECES: usize = 8;
/// The size of a piece.
const PIECE: usize = 256 << 10;

/// An image, and the files with its layers.
pub struct Archive {
    texts: Vec<(String, Vec<u8>)>,
    layers: Vec<(String, PathBuf, File)>,
}

impl Archive {
    /// With those layers of which there is a file.
    ///
    /// # Errors
    /// The manifest is no JSON.
    pub fn of(load: &Load, layers: Vec<(Digest, PathBuf, File)>) -> Result<Archive, serde_json::Error> {
        let manifest: serde_json::Value = serde_json::from_str(&load.manifest)?;
        let (of_manifest, of_config) = (Digest::of(load.manifest.as_bytes()), Digest::of(load.config.as_bytes()));
        let paths: Vec<String> = load.layers.iter().map(blob).collect();
        let kind = manifest["mediaType"].as_str().unwrap_or("application/vnd.oci.image.manifest.v1+json");
        let named = json!({
            "io.containerd.image.name": whole(&load.name),
            "org.opencontainers.image.ref.name": image::tag(&load.name),
        });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": kind,
                "digest": format!("sha256:{of_manifest}"),
                "size": load.manifest.len(),
                "annotations": named,
            }],
        });
        let list = json!([{ "Config": blob(&of_config), "RepoTags": [load.name], "Layers": paths }]);
        let texts = vec![
            ("oci-layout".to_owned(), json!({ "imageLayoutVersion": "1.0.0" }).to_string().into_bytes()),
            ("index.json".to_owned(), index.to_string().into_bytes()),
            ("manifest.json".to_owned(), list.to_string().into_bytes()),
            (blob(&of_manifest), load.manifest.clone().into_bytes()),
            (blob(&of_config), load.config.clone().into_bytes()),
        ];
        let layers = layers.into_iter().map(|(digest, path, file)| (blob(&digest), path, file)).collect();
        Ok(Archive { texts, layers })
    }

    /// As a stream for somebody who reads it on another thread.
    pub fn stream(self) -> (impl Stream<Item = io::Result<Bytes>> + Send + 'static, Arc<Went>) {
        let (pieces, taken) = channel(PIECES);
        let went = Arc::new(Went::default());
        let out = Out { pieces, piece: Vec::with_capacity(PIECE), went: went.clone() };
        // It ends with its last piece, or when nobody takes them any more.
        std::thread::spawn(move || self.write(out));
        let next = async |mut taken: Receiver<io::Result<Bytes>>| Some((taken.recv().await?, taken));
        (unfold(taken, next), went)
    }

    fn write(self, out: Out) {
        let (failed, went) = (out.pieces.clone(), out.went.clone());
        let Err((place, error)) = self.pack(out) else { return };
        if error.kind() == io::ErrorKind::BrokenPipe {
            return;
        }
        let why = place.map_or_else(|| error.to_string(), |path| format!("cannot read {}: {error}", path.display()));
        *went.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        // Nobody hears it who has gone.
        let _ = failed.blocking_send(Err(error));
    }

    fn pack(self, out: Out) -> Result<(), (Option<PathBuf>, io::Error)> {
        let plain = |error| (None, error);
        let mut tar = tar::Builder::new(out);
        for (name, bytes) in &self.texts {
            tar.append_data(&mut head(bytes.len() as u64), name, &**bytes).map_err(plain)?;
        }
        for (name, path, file) in self.layers {
            let size = file.metadata().map_err(|error| (Some(path.clone()), error))?.len();
            tar.append_data(&mut head(size), name, file).map_err(|error| (Some(path), error))?;
        }
        tar.into_inner().and_then(|mut out| out.send()).map_err(plain)
    }
}

/// How far it is.
#[derive(Default)]
pub struct Went {
    bytes: AtomicU64,
    failed: Mutex<Option<String>>,
}

impl Went {
    /// So many bytes were taken.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Why it could not be made to its end.
    pub fn failed(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where it is written.
struct Out {
    pieces: Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
    went: Arc<Went>,
}

impl Out {
    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let length = piece.len() as u64;
        self.pieces.blocking_send(Ok(piece.into())).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        self.went.bytes.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn head(size: u64) -> tar::Header {
    let mut head = tar::Header::new_gnu();
    head.set_size(size);
    head.set_mode(0o644);
    head
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{digest}")
}

/// With the registry that people leave out.
fn whole(name: &str) -> String {
    let tag = image::tag(name).unwrap_or("latest");
    format!("{}/{}:{tag}", image::registry(name), image::path(name))
}
