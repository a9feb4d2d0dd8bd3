//! Header blocks into fields.

use super::field::{self, Content, Field, Name, STATICS};
use super::{huffman, integer};
use bytes::Bytes;
use std::collections::VecDeque;

/// Bytes of the dynamic table: the default of SETTINGS_HEADER_TABLE_SIZE, which we keep.
const TABLE: usize = 4096;
/// Table sizes that a block may begin with (RFC 7541 4.2).
const MAX_UPDATES: u32 = 2;

/// A block that cannot be decoded: the connection's compression state is lost.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Undecodable;

pub(crate) struct Decoder {
    /// The newest entry first.
    entries: VecDeque<Field>,
    size: usize,
    max_size: usize,
    /// Where Huffman strings are decoded.
    scratch: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            max_size: TABLE,
            scratch: Vec::new(),
        }
    }
}

impl Decoder {
    /// Decodes a whole block and hands out its fields in order.
    ///
    /// # Errors
    /// The block is malformed; fields were handed out before that.
    pub fn decode(
        &mut self,
        mut block: &[u8],
        mut sink: impl FnMut(Field),
    ) -> Result<(), Undecodable> {
        let rest = &mut block;
        let mut updates = 0;
        let mut fields = false;
        while let Some((&first, after)) = rest.split_first() {
            *rest = after;
            if first & 0x80 != 0 {
                let index = integer::decode(first, 7, rest).ok_or(Undecodable)?;
                sink(self.field(index)?);
            } else if first & 0x40 != 0 {
                let field = self.literal(first, 6, rest)?;
                self.insert(field.clone());
                sink(field);
            } else if first & 0x20 != 0 {
                let size = integer::decode(first, 5, rest).ok_or(Undecodable)?;
                updates += 1;
                if fields || size > TABLE || updates > MAX_UPDATES {
                    return Err(Undecodable);
                }
                self.max_size = size;
                self.evict(0);
                continue;
            } else {
                let mut field = self.literal(first, 4, rest)?;
                if first & 0x10 != 0
                    && let Content::Header(_, value) = &mut field.content
                {
                    // Never indexed: nor may who forwards it (RFC 7541 6.2.3).
                    value.set_sensitive(true);
                }
                sink(field);
            }
            fields = true;
        }
        // A block may be large once; what is kept is not.
        if self.scratch.capacity() > TABLE {
            self.scratch = Vec::new();
        }
        Ok(())
    }

    fn field(&self, index: usize) -> Result<Field, Undecodable> {
        match index.checked_sub(STATICS + 1) {
            None => field::known(index).ok_or(Undecodable),
            Some(index) => self.entries.get(index).cloned().ok_or(Undecodable),
        }
    }

    fn literal(&mut self, first: u8, prefix: u32, rest: &mut &[u8]) -> Result<Field, Undecodable> {
        let index = integer::decode(first, prefix, rest).ok_or(Undecodable)?;
        let name = match index.checked_sub(STATICS + 1) {
            _ if index == 0 => Name::parse(string(&mut self.scratch, rest)?),
            None => field::known_name(index).ok_or(Undecodable)?,
            Some(index) => self.entries.get(index).ok_or(Undecodable)?.name(),
        };
        let value = string(&mut self.scratch, rest)?;
        Ok(name.with(Bytes::copy_from_slice(value)))
    }

    fn insert(&mut self, field: Field) {
        self.evict(field.size);
        // One larger than the table empties it and is not kept (RFC 7541 4.4).
        if field.size <= self.max_size {
            self.size += field.size;
            self.entries.push_front(field);
        }
    }

    fn evict(&mut self, room: usize) {
        while self.size + room > self.max_size
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size;
        }
    }
}

/// Takes a string; what was encoded is decoded into `scratch`.
fn string<'a, 'b: 'a>(
    scratch: &'a mut Vec<u8>,
    rest: &mut &'b [u8],
) -> Result<&'a [u8], Undecodable> {
    let (&first, after) = rest.split_first().ok_or(Undecodable)?;
    *rest = after;
    let length = integer::decode(first, 7, rest).ok_or(Undecodable)?;
    let (text, after) = rest.split_at_checked(length).ok_or(Undecodable)?;
    *rest = after;
    if first & 0x80 == 0 {
        return Ok(text);
    }
    scratch.clear();
    huffman::decode(text, scratch).ok_or(Undecodable)?;
    Ok(scratch)
}
