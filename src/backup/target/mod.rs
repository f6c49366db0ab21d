//! Where backups lie. A file counts once it has its name: until then it is a `.part` that nobody lists.

mod directory;
mod remote;
mod s3;
mod sftp;

use std::io::{self, Read, Write};

pub use self::directory::Directory;
pub use self::s3::S3;
pub use self::sftp::Sftp;

use crate::backup::BackupError;
pub use crate::model::backup::NO_RIGHT;

/// A place for backups.
#[derive(Debug, Clone)]
pub enum Target {
    /// A directory of the machine that writes: a mounted NAS, another disk, or the server's own.
    Directory(Directory),
    /// A directory behind a server that speaks SFTP.
    Sftp(Sftp),
    /// A prefix in a bucket.
    S3(S3),
}

/// A file that lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub name: String,
    pub bytes: u64,
}

/// A file on its way to a target. Dropped before its end it leaves nothing that counts.
pub enum Put {
    Directory(directory::Part),
    Remote(remote::RemotePut),
}

impl Target {
    /// Begins a file. It must not be there.
    ///
    /// # Errors
    /// The target cannot be written to; the file is there.
    pub fn put(&self, dir: &str, name: &str) -> Result<Put, BackupError> {
        match self {
            Target::Directory(directory) => directory.put(dir, name).map(Put::Directory),
            Target::Sftp(sftp) => sftp.put(dir, name).map(Put::Remote),
            Target::S3(s3) => s3.put(dir, name).map(Put::Remote),
        }
    }

    /// The files of a directory, without those that are not complete. One that was never written to has none.
    ///
    /// # Errors
    /// The target cannot be read.
    pub fn list(&self, dir: &str) -> Result<Vec<Found>, BackupError> {
        match self {
            Target::Directory(directory) => directory.list(dir),
            Target::Sftp(sftp) => sftp.list(dir),
            Target::S3(s3) => s3.list(dir),
        }
    }

    /// A file from its beginning.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub fn read(&self, dir: &str, name: &str) -> Result<Box<dyn Read>, BackupError> {
        match self {
            Target::Directory(directory) => directory.read(dir, name).map(|file| Box::new(file) as Box<dyn Read>),
            Target::Sftp(sftp) => sftp.read(dir, name).map(|file| Box::new(file) as Box<dyn Read>),
            Target::S3(s3) => s3.read(dir, name).map(|file| Box::new(file) as Box<dyn Read>),
        }
    }

    /// Files of a directory that have not come to their end, by the names that they have until then.
    ///
    /// # Errors
    /// The target cannot be read.
    pub fn unfinished(&self, dir: &str) -> Result<Vec<Found>, BackupError> {
        match self {
            Target::Directory(directory) => directory.unfinished(dir),
            Target::Sftp(sftp) => sftp.unfinished(dir),
            // An object is there whole, or not at all.
            Target::S3(_) => Ok(Vec::new()),
        }
    }

    /// Removes a file, by way of `trash/`: what a crash leaves half removed lies there and counts no more.
    ///
    /// # Errors
    /// It cannot be removed, and lies where it was. Where the right to is missing, perhaps on purpose (I20), the error says
    /// [`NO_RIGHT`].
    pub fn remove(&self, dir: &str, name: &str) -> Result<(), BackupError> {
        match self {
            Target::Directory(directory) => directory.remove(dir, name),
            Target::Sftp(sftp) => sftp.remove(dir, name),
            Target::S3(s3) => s3.remove(dir, name),
        }
    }

    /// How many bytes still go there, where somebody can say.
    ///
    /// # Errors
    /// The target cannot be asked.
    pub fn room(&self) -> Result<Option<u64>, BackupError> {
        match self {
            Target::Directory(directory) => directory.room(),
            Target::Sftp(sftp) => sftp.room(),
            // As much as is paid for.
            Target::S3(_) => Ok(None),
        }
    }
}

impl Put {
    /// All is written: it is made durable, its size is looked at, and it gets its name.
    ///
    /// # Errors
    /// The target did not keep what was written, or somebody was there first.
    pub fn end(self) -> Result<(), BackupError> {
        match self {
            Put::Directory(part) => part.end(),
            Put::Remote(put) => put.end(),
        }
    }
}

impl Write for Put {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Put::Directory(part) => part.write(bytes),
            Put::Remote(put) => put.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
