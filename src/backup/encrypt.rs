//! Encrypts a stream for recipients of age: whoever reads the target reads nothing, and `age -d -i KEY` opens it by hand.

use std::io::{self, Write};

use age::stream::StreamWriter;
use age::x25519::Recipient;

use crate::backup::BackupError;

/// A stream that is encrypted, or one that is not.
pub enum Cipher<W: Write> {
    Clear(W),
    Age(Box<StreamWriter<W>>),
}

impl<W: Write> Cipher<W> {
    /// In front of `to`; without recipients nothing is encrypted.
    ///
    /// # Errors
    /// One of them is no recipient; `to` does not take the header.
    pub fn new(recipients: &[String], to: W) -> Result<Cipher<W>, BackupError> {
        if recipients.is_empty() {
            return Ok(Cipher::Clear(to));
        }
        let parse = |text: &String| {
            let parsed = text.parse::<Recipient>();
            parsed.map_err(|why| BackupError(format!("`{text}` is not a recipient of age: {why}")))
        };
        let recipients = recipients.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let failed = |why: String| BackupError(format!("the backup cannot be encrypted: {why}"));
        let each = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(each).map_err(|error| failed(error.to_string()))?;
        let writer = encryptor.wrap_output(to).map_err(|error| failed(error.to_string()))?;
        Ok(Cipher::Age(Box::new(writer)))
    }

    /// The last chunk goes out. Gives what it stands in front of.
    ///
    /// # Errors
    /// Those of whoever takes it.
    pub fn end(self) -> io::Result<W> {
        match self {
            Cipher::Clear(to) => Ok(to),
            Cipher::Age(writer) => writer.finish(),
        }
    }
}

impl<W: Write> Write for Cipher<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Cipher::Clear(to) => to.write(bytes),
            Cipher::Age(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
