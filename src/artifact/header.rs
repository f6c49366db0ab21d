//! One header of a tar stream: its fields, as each kind of writer lays them out. Knows nothing of what follows it.

/// The size of a header, and what contents are padded to.
pub(super) const BLOCK: usize = 512;

/// One block that describes a member.
pub(super) struct Header(pub(super) [u8; BLOCK]);

/// Who laid a header out.
#[derive(PartialEq, Eq)]
pub(super) enum Layouter {
    /// Before there was a mark of the format: no prefix.
    V7,
    Posix,
    Gnu,
}

impl Header {
    pub(super) fn layouter(&self) -> Layouter {
        match &self.0[257..263] {
            b"ustar\0" => Layouter::Posix,
            b"ustar " => Layouter::Gnu,
            _ => Layouter::V7,
        }
    }

    /// Up to the first NUL.
    fn text(&self, from: usize, to: usize) -> &[u8] {
        let field = &self.0[from..to];
        &field[..field.iter().position(|byte| *byte == 0).unwrap_or(field.len())]
    }

    pub(super) fn name(&self) -> Vec<u8> {
        let name = self.text(0, 100);
        // What star writes has times where the end of the prefix would be.
        let prefix = match self.layouter() {
            Layouter::Posix if &self.0[508..512] == b"tar\0" => self.text(345, 476),
            Layouter::Posix => self.text(345, 500),
            Layouter::V7 | Layouter::Gnu => b"",
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn kind(&self) -> u8 {
        self.0[156]
    }

    /// `None`: a number that makes no sense.
    pub(super) fn size(&self) -> Option<u64> {
        number(&self.0[124..136])
    }

    /// Likewise. Where nothing is said it is the `usual` one.
    pub(super) fn mode(&self, usual: u32) -> Option<u32> {
        let field = &self.0[100..108];
        if field.iter().all(|byte| matches!(byte, 0 | b' ')) {
            return Some(usual);
        }
        number(field).and_then(|mode| u32::try_from(mode & 0o7777).ok())
    }

    /// When it was modified, where that makes sense.
    pub(super) fn time(&self) -> Option<i64> {
        number(&self.0[136..148]).and_then(|time| i64::try_from(time).ok())
    }

    pub(super) fn target(&self) -> &[u8] {
        self.text(157, 257)
    }

    /// Old writers summed up signed bytes, which differs where a name is not ASCII.
    pub(super) fn is_sound(&self) -> bool {
        let others = || self.0[..148].iter().chain(&self.0[156..]);
        let blanks = 8 * i64::from(b' ');
        let unsigned: i64 = others().map(|byte| i64::from(*byte)).sum::<i64>() + blanks;
        let signed: i64 = others().map(|byte| i64::from(byte.cast_signed())).sum::<i64>() + blanks;
        let said = number(&self.0[148..156]).and_then(|sum| i64::try_from(sum).ok());
        self.0[148..156].iter().any(u8::is_ascii_digit) && (said == Some(unsigned) || said == Some(signed))
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }
}

/// Whether a stream that begins so is one of members.
pub(super) fn is_header(start: &[u8]) -> bool {
    let Some(block) = start.first_chunk::<BLOCK>() else { return false };
    let header = Header(*block);
    // A damaged header with the mark of the format is one all the same.
    !header.is_zero() && (header.layouter() != Layouter::V7 || header.is_sound())
}

/// A number as headers hold it: octal digits between blanks, or binary where the first bit says so. Nothing at all is none.
pub(super) fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        let (high, low) = rest.split_at(rest.len().checked_sub(8)?);
        let is_small = first & 0x7f == 0 && high.iter().all(|byte| *byte == 0);
        let value = u64::from_be_bytes(low.try_into().ok()?);
        return (is_small && value <= i64::MAX as u64).then_some(value);
    }
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = std::str::from_utf8(text).ok()?.trim_matches(' ');
    if text.is_empty() {
        return Some(0);
    }
    let is_octal = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    is_octal.then(|| u64::from_str_radix(text, 8).ok()).flatten()
}
