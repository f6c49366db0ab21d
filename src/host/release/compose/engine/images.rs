//! The images that an engine has, and how it gets more: out of a registry, or out of an archive.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::body_try_stream;
use bollard::errors::Error;
use bollard::query_parameters as query;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::{ANSWER, Engine, STOP, words};
use crate::host::release::compose::archive::Archive;
use crate::host::release::compose::container::Image;
use crate::host::release::compose::images::{is_full, no_room};
use crate::host::wire::HostError;
use crate::host::wire::compose::Login;
use crate::model::ids::Digest;
use crate::model::image::{self, Platform, registry};

/// It asks a registry that may be far away.
const LOGIN: Duration = Duration::from_secs(60);
/// A registry, or a disk, may be slow; between two words about it an engine is not silent for so long.
const SILENCE: Duration = Duration::from_secs(120);
/// So often it is asked whether anybody still waits for it.
const GONE: Duration = Duration::from_millis(500);

/// How something that takes long came to its end.
enum Ended {
    Done,
    /// Nobody waits for it.
    Gone,
    /// What the engine says. `refused`: of what it was given, and not because it is gone or has no room.
    Failed {
        why: String,
        refused: bool,
    },
}

impl Engine {
    /// An image by any of its names; `None`: it is not here.
    pub fn image(&self, name: &str) -> Result<Option<Image>, HostError> {
        match self.ask(ANSWER, self.docker.inspect_image(plain(name)?))? {
            Ok(image) => Ok(Some(Image::from(image))),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(Error::DockerResponseServerError { status_code: 400, message }) => {
                Err(HostError::Precondition(format!("`{name}` is no name of an image: {}", message.trim())))
            }
            Err(error) => Err(self.refused(&format!("image {name}"), &error)),
        }
    }

    /// Brings an image from its registry. Gives how many bytes came.
    ///
    /// # Errors
    /// Whatever the registry says: none of it is a verdict on the release.
    pub fn pull(&self, name: &str, login: Option<&Login>, gone: &dyn Fn() -> bool) -> Result<u64, HostError> {
        let failed = |why: &str| HostError::Io(format!("the image {name} cannot be pulled: {}", why.trim()));
        let options = query::CreateImageOptionsBuilder::new().from_image(plain(name)?).build();
        let pieces = self.docker.create_image(Some(options), None, login.map(|login| credentials(name, login)));
        let mut layers = BTreeMap::new();
        let ended = self.follow(pieces, &|| 0, gone, |said| {
            let total = said.progress_detail.and_then(|detail| u64::try_from(detail.total?).ok());
            if let (Some("Downloading"), Some(id), Some(total)) = (said.status.as_deref(), said.id, total) {
                layers.insert(id, total);
            }
        });
        match ended {
            Ended::Done => Ok(layers.values().sum()),
            Ended::Gone => Err(HostError::Stopped(format!("the pull of {name} was given up: nobody waits for it"))),
            Ended::Failed { why, .. } => Err(failed(&why)),
        }
    }

    /// Gives it an archive with images. The outer error is about the engine or this host; the inner one is what the engine has
    /// against the archive.
    ///
    /// # Errors
    /// The engine does not answer, the archive cannot be read, or nobody waits for it.
    pub fn load(&self, archive: Archive, gone: &dyn Fn() -> bool) -> Result<Result<(), String>, HostError> {
        let (body, went) = archive.stream();
        let options = query::ImportImageOptionsBuilder::new().build();
        let pieces = self.docker.import_image(options, body_try_stream(body), None);
        match self.follow(pieces, &|| went.bytes(), gone, |_| {}) {
            Ended::Gone => Err(HostError::Stopped("the engine was not given an image: nobody waits for it".to_owned())),
            Ended::Done => Ok(Ok(())),
            Ended::Failed { why, refused } => {
                let lost = |why: &str| HostError::Io(format!("an image cannot be given to the engine: {}", why.trim()));
                match went.failed() {
                    Some(failed) => Err(lost(&failed)),
                    None if refused => Ok(Err(why)),
                    None => Err(no_room(self, lost(&why))),
                }
            }
        }
    }

    /// The chains of layers of its images, those that have no name aside.
    pub fn chains(&self) -> Result<BTreeSet<Digest>, HostError> {
        let options = query::ListImagesOptionsBuilder::new().build();
        let mut chains = BTreeSet::new();
        for one in self.wait("the list of images", ANSWER, self.docker.list_images(Some(options)))? {
            // One that somebody removes meanwhile has none.
            chains.extend(self.image(&one.id)?.iter().flat_map(|image| image::chains(&image.layers)));
        }
        Ok(chains)
    }

    /// The names of a repository: each with the id of the image that has it.
    pub fn names(&self, repository: &str) -> Result<Vec<(String, String)>, HostError> {
        let filters = HashMap::from([("reference", vec![repository])]);
        let options = query::ListImagesOptionsBuilder::new().filters(&filters).build();
        let mut names = Vec::new();
        for one in self.wait("the list of images", ANSWER, self.docker.list_images(Some(options)))? {
            let own = one.repo_tags.iter().filter(|name| name.rsplit_once(':').is_some_and(|(of, _)| of == repository));
            names.extend(own.map(|name| (name.clone(), one.id.clone())));
        }
        Ok(names)
    }

    /// What its containers run on.
    pub fn platform(&self) -> Result<Platform, HostError> {
        let known = self.wait("version", ANSWER, self.docker.version())?;
        let architecture = known.arch.unwrap_or_default();
        let variant = match architecture.as_str() {
            // The engine names it in the words of the kernel alone: `armv7l`.
            "arm" => {
                let kernel = self.wait("info", ANSWER, self.docker.info())?.architecture.unwrap_or_default();
                let number = kernel.strip_prefix("armv").and_then(|rest| rest.chars().next());
                number.map_or(String::new(), |number| format!("v{number}"))
            }
            _ => String::new(),
        };
        Ok(Platform { os: known.os.unwrap_or_default(), architecture, variant })
    }

    /// Hears what the engine says of what it is at, to the end. `moves`: a number that changes as long as something goes on.
    fn follow<T>(
        &self,
        pieces: impl Stream<Item = Result<T, Error>>,
        moves: &dyn Fn() -> u64,
        gone: &dyn Fn() -> bool,
        mut each: impl FnMut(T),
    ) -> Ended {
        self.runtime.block_on(async {
            let mut pieces = std::pin::pin!(pieces);
            let (mut last, mut moved, mut asks) = (Instant::now(), moves(), Instant::now() + GONE);
            loop {
                let piece = tokio::select! {
                    biased;
                    // Before the next piece: they may come without an end.
                    () = sleep_until(asks) => {
                        asks = Instant::now() + GONE;
                        if gone() {
                            return Ended::Gone;
                        }
                        if moves() != moved {
                            (last, moved) = (Instant::now(), moves());
                        }
                        if last.elapsed() > SILENCE {
                            return Ended::Failed { why: format!("nothing came for {SILENCE:?}"), refused: false };
                        }
                        continue;
                    }
                    piece = pieces.next() => piece,
                };
                last = Instant::now();
                match piece {
                    None => return Ended::Done,
                    Some(Err(error)) => {
                        let why = words(&error);
                        let answers =
                            matches!(error, Error::DockerStreamError { .. } | Error::DockerResponseServerError { .. });
                        return Ended::Failed { refused: answers && !is_full(&why), why };
                    }
                    Some(Ok(said)) => each(said),
                }
            }
        })
    }

    /// Whether a registry lets this login have an image. One that it does not know yet is no refusal.
    ///
    /// # Errors
    /// What it says instead.
    pub fn login(&self, image: &str, login: &Login) -> Result<(), String> {
        let name = plain(image).map_err(|error| error.to_string())?;
        let asked = self.docker.inspect_registry_image(name, Some(credentials(image, login)));
        match self.ask(LOGIN, asked).map_err(|error| error.to_string())? {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(words(&error)),
        }
    }

    /// Gives an image one more name.
    pub fn tag(&self, id: &str, repository: &str, tag: &str) -> Result<(), HostError> {
        let options = query::TagImageOptionsBuilder::new().repo(repository).tag(tag).build();
        let asked = self.docker.tag_image(plain(id)?, Some(options));
        self.wait(&format!("to name image {id}"), ANSWER, asked)
    }

    /// Removes a name of an image, and the image with its last one. `false`: something uses it, or it is gone.
    pub fn remove_image(&self, name: &str) -> Result<bool, HostError> {
        let asked = self.docker.remove_image(plain(name)?, None::<query::RemoveImageOptions>, None);
        match self.ask(STOP, asked)? {
            Ok(_) => Ok(true),
            Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(false),
            Err(error) => Err(self.refused(&format!("to remove image {name}"), &error)),
        }
    }
}

/// There is no such image: whoever hears that was let in.
fn is_missing(error: &Error) -> bool {
    let Error::DockerResponseServerError { status_code, message } = error else { return false };
    *status_code == 404 || message.contains("manifest unknown") || message.contains("not found")
}

/// The name of an image becomes part of an address: it holds nothing that means something else there.
fn plain(name: &str) -> Result<&str, HostError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@+".contains(&byte);
    let is_plain =
        !name.is_empty() && name.bytes().all(fits) && !name.split('/').any(|part| matches!(part, "" | "." | ".."));
    match is_plain {
        true => Ok(name),
        false => Err(HostError::Precondition(format!("`{name}` is no name of an image"))),
    }
}

/// A login for one request: nothing of it is kept by the engine, and nothing is written to a disk.
fn credentials(image: &str, login: &Login) -> DockerCredentials {
    DockerCredentials {
        username: Some(login.user.clone()),
        password: Some(login.password.expose().to_owned()),
        serveraddress: Some(registry(image).to_owned()),
        ..DockerCredentials::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_image_stays_one() {
        for name in ["postgres:16", "127.0.0.1:5055/a/b:one", "a/b:one@sha256:12", "sha256:12"] {
            assert_eq!(plain(name).unwrap(), name);
        }
        for name in ["", "a?b=c", "a/../b", "/a", "a b", "a#b", "a%2fb"] {
            assert!(plain(name).is_err(), "{name}");
        }
    }
}
