//! Names that nobody can guess.

use std::io;

/// 32 hexadecimal digits from the kernel's random numbers.
///
/// # Errors
/// There is no randomness to be had.
pub fn token() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    if filled < bytes.len() {
        // As many as this come whole once the kernel has any.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_equal() {
        let (one, other) = (token().unwrap(), token().unwrap());
        assert_ne!(one, other);
        assert_eq!((one.len(), one.chars().all(|c| c.is_ascii_hexdigit())), (32, true));
    }
}
