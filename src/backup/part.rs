//! One part of a backup, from its source to every target: counted, packed, encrypted, written, and read back from there.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::backup::archive::{self, Archived, Files};
use crate::backup::compress::Packer;
use crate::backup::dump::{Dumped, Login, Sink, mysql, postgres, sqlite};
use crate::backup::encrypt::Cipher;
use crate::backup::fan::{Fan, Leg};
use crate::backup::measure::Measure;
use crate::backup::target::Target;
use crate::backup::throttle::Slowed;
use crate::backup::{BackupError, Wanted, unwanted};
use crate::model::backup::checksum;
use crate::model::backup::name::Compression;
use crate::model::ids::{Digest, Hasher};
use crate::model::rate::Rate;

/// Where a part comes from.
pub enum Source {
    Mysql(Login),
    Postgres(Login),
    Sqlite {
        path: PathBuf,
        /// Where a copy may lie for a moment.
        scratch: PathBuf,
    },
    Files {
        path: PathBuf,
        name: PathBuf,
        exclude: Vec<String>,
        leave_out: Vec<PathBuf>,
    },
}

/// Where it goes.
pub struct Destination<'a> {
    /// The directory on each target.
    pub dir: &'a str,
    pub file: &'a str,
    pub compress: Compression,
    pub encrypt: &'a [String],
    /// So fast they are written to and read back from at most.
    pub limit: Option<Rate>,
    /// By name.
    pub targets: Vec<(String, Result<Target, BackupError>)>,
}

/// What was written.
pub struct Written {
    pub of: Of,
    /// As it is stored.
    pub bytes: u64,
    pub sha256: Digest,
    /// As it came from its source.
    pub plain_bytes: u64,
    pub plain_sha256: Digest,
    /// By target: it lies there and was read back, or why not.
    pub targets: Vec<(String, Result<(), BackupError>)>,
}

/// What is known of the source.
pub enum Of {
    Database(Dumped),
    Files(Archived),
}

/// Writes it.
///
/// # Errors
/// The source cannot be read to its end, or no target takes it. Of one that is left out the reason is in what is given.
pub fn write(source: &Source, to: Destination<'_>, wanted: &dyn Wanted) -> Result<Written, BackupError> {
    let Destination { dir, file, compress, encrypt, limit, targets } = to;
    let leg = |(name, target): &(String, Result<Target, BackupError>)| Leg {
        target: name.clone(),
        put: target.clone().and_then(|target| target.put(dir, file)).map_err(|error| error.0),
    };
    let fan = Fan::new(targets.iter().map(leg).collect(), wanted);
    let failed = |error: io::Error| BackupError(format!("{file} cannot be written: {error}"));
    let cipher = Cipher::new(encrypt, Measure::new(Slowed::new(fan, limit, wanted)))?;
    let mut plain = Measure::new(Packer::new(compress, cipher).map_err(failed)?);
    let of = match source {
        Source::Mysql(login) => Of::Database(mysql::dump(login, &mut Sink { to: &mut plain, wanted })?),
        Source::Postgres(login) => Of::Database(postgres::dump(login, &mut Sink { to: &mut plain, wanted })?),
        Source::Sqlite { path, scratch } => {
            Of::Database(sqlite::dump(path, scratch, &mut Sink { to: &mut plain, wanted })?)
        }
        Source::Files { path, name, exclude, leave_out } => {
            let files = Files { path, name, exclude, leave_out };
            Of::Files(archive::archive(&files, &mut plain, wanted)?)
        }
    };
    let (packer, plain_bytes, plain_sha256) = plain.end();
    let stored = packer.end().and_then(Cipher::end).map_err(failed)?;
    let (slowed, bytes, sha256) = stored.end();
    let fan = slowed.into_inner();
    let mut done = Vec::new();
    for (leg, (_, target)) in fan.into_legs().into_iter().zip(&targets) {
        let ended = match (leg.put, target) {
            (Ok(put), Ok(target)) => put
                .end()
                .and_then(|()| write_small(target, dir, &format!("{file}.sha256"), &checksum::line(&sha256, file)))
                .and_then(|()| read_back_at(target, dir, file, (bytes, sha256), (limit, wanted))),
            (Err(why), _) => Err(BackupError(why)),
            (_, Err(error)) => Err(error.clone()),
        };
        done.push((leg.target, ended));
    }
    Ok(Written { of, bytes, sha256, plain_bytes, plain_sha256, targets: done })
}

/// A small file: a checksum, a manifest.
///
/// # Errors
/// The target does not take it.
pub fn write_small(target: &Target, dir: &str, file: &str, text: &str) -> Result<(), BackupError> {
    let mut put = target.put(dir, file)?;
    put.write_all(text.as_bytes()).map_err(|error| BackupError(error.to_string()))?;
    put.end()
}

/// Reads a file back and compares it with what was written: a disk, a server or a wire that lies is found now, and not on the
/// day on which it is needed.
///
/// # Errors
/// It is another one, and how.
pub fn read_back(
    target: &Target,
    dir: &str,
    file: &str,
    expected: (u64, Digest),
    wanted: &dyn Wanted,
) -> Result<(), BackupError> {
    read_back_at(target, dir, file, expected, (None, wanted))
}

fn read_back_at(
    target: &Target,
    dir: &str,
    file: &str,
    expected: (u64, Digest),
    how: (Option<Rate>, &dyn Wanted),
) -> Result<(), BackupError> {
    match compared(target, dir, file, expected, how)? {
        Some(why) => Err(BackupError(why)),
        None => Ok(()),
    }
}

/// Reads a file and compares it with what was written. Gives what is wrong with it.
///
/// # Errors
/// It cannot be read to its end: that says nothing about what lies there.
pub fn compared(
    target: &Target,
    dir: &str,
    file: &str,
    (bytes, sha256): (u64, Digest),
    (limit, wanted): (Option<Rate>, &dyn Wanted),
) -> Result<Option<String>, BackupError> {
    let failed = |error: io::Error| BackupError(format!("{dir}/{file} cannot be read back: {error}"));
    let (there, digest) = digest(&mut Slowed::new(target.read(dir, file)?, limit, wanted), wanted).map_err(failed)?;
    if there != bytes {
        return Ok(Some(format!("{dir}/{file} has {there} bytes there, and {bytes} were written")));
    }
    Ok((digest != sha256).then(|| {
        let (digest, sha256) = (digest.short(), sha256.short());
        format!("{dir}/{file} is not what was written: its SHA-256 is {digest}, and was {sha256}")
    }))
}

fn digest(from: &mut dyn Read, wanted: &dyn Wanted) -> io::Result<(u64, Digest)> {
    let (mut hasher, mut bytes, mut piece) = (Hasher::new(), 0, vec![0; 256 * 1024]);
    loop {
        let length = match from.read(&mut piece) {
            Ok(0) => return Ok((bytes, hasher.finish())),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if !wanted.is_wanted() {
            return Err(unwanted());
        }
        hasher.update(&piece[..length]);
        bytes += length as u64;
    }
}

/// What a path is called in an archive: below ROOT relative to it, else without its first `/`.
pub fn archived_name(path: &Path, root: &Path) -> PathBuf {
    let name = path.strip_prefix(root).or_else(|_| path.strip_prefix("/")).unwrap_or(path);
    if name.as_os_str().is_empty() { PathBuf::from("root") } else { name.to_owned() }
}
