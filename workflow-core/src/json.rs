//! Writes JSON within bounds: of depth, since whoever writes or reads it recurses, and of size, since it is kept in
//! memory.

use std::cell::Cell;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Why a value isn't written.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It nests deeper than allowed. Nothing below was looked at, so that the stack lasts.
    TooDeep,
    /// It has so many bytes. No more than allowed were kept.
    TooLarge(usize),
    /// What serde said.
    Serde(String),
}

/// Writes `value` as compact JSON with at most `levels` of arrays and objects and at most `limit_bytes`.
pub(crate) fn encode<T>(value: &T, levels: usize, limit_bytes: usize) -> Result<Vec<u8>, Refusal>
where
    T: Serialize + ?Sized,
{
    let too_deep = Cell::new(false);
    let mut bounded = Bounded { bytes: Vec::with_capacity(128), limit_bytes, size_bytes: 0 };
    let nesting = Nesting { levels, too_deep: &too_deep };
    let result = value.serialize(&mut Serializer::with_formatter(&mut bounded, nesting));
    match result {
        _ if too_deep.get() => Err(Refusal::TooDeep),
        Err(error) => Err(Refusal::Serde(error.to_string())),
        Ok(()) if bounded.size_bytes > limit_bytes => Err(Refusal::TooLarge(bounded.size_bytes)),
        Ok(()) => Ok(bounded.bytes),
    }
}

/// Keeps what fits, and counts the rest.
struct Bounded {
    bytes: Vec<u8>,
    limit_bytes: usize,
    size_bytes: usize,
}

impl Write for Bounded {
    #[inline]
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        self.size_bytes = self.size_bytes.saturating_add(more.len());
        if self.size_bytes <= self.limit_bytes {
            self.bytes.extend_from_slice(more);
        }
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts the levels. An error of the formatter ends the recursion.
struct Nesting<'a> {
    /// How many more are allowed.
    levels: usize,
    too_deep: &'a Cell<bool>,
}

impl Nesting<'_> {
    fn enter(&mut self) -> io::Result<()> {
        match self.levels.checked_sub(1) {
            Some(left) => {
                self.levels = left;
                Ok(())
            }
            None => {
                self.too_deep.set(true);
                Err(io::Error::other("it nests too deep"))
            }
        }
    }
}

impl Formatter for Nesting<'_> {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.levels += 1;
        writer.write_all(b"]")
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.levels += 1;
        writer.write_all(b"}")
    }
}
