//! Fields into header blocks.
//!
//! A field enters the dynamic table when it is sent for the second time within a short
//! while: what repeats is indexed, what is unique (identifiers, paths) does not push it out.

use super::field::{self, OVERHEAD, Pseudo, STATICS};
use super::{huffman, integer};
use http::header::{self, HeaderName, HeaderValue};
use std::collections::VecDeque;
use xxhash_rust::xxh64::xxh64;

/// Bytes of the dynamic table, where the peer allows as many.
const TABLE: usize = 4096;
/// Larger fields are not worth their place.
const LARGEST: usize = TABLE / 4;
/// Cookies shorter than this could be guessed byte by byte (RFC 7541 7.1.3).
const SHORT_COOKIE: usize = 20;
const SLOTS: usize = 64;

const INDEXED: (u8, u32) = (0x80, 7);
const INDEXING: (u8, u32) = (0x40, 6);
const NOT_INDEXED: (u8, u32) = (0, 4);
const NEVER_INDEXED: (u8, u32) = (0x10, 4);

pub(crate) struct Encoder {
    max_size: usize,
    /// The smallest and the last size since the last block, when the peer has set one.
    update: Option<(usize, usize)>,
    /// Made with the first block.
    table: Option<Box<Table>>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            max_size: TABLE,
            update: None,
            table: None,
        }
    }
}

impl Encoder {
    /// The peer's SETTINGS_HEADER_TABLE_SIZE.
    pub fn set_max_size(&mut self, size: usize) {
        let size = size.min(TABLE);
        if size == self.max_size && self.update.is_none() {
            return;
        }
        let smallest = self.update.map_or(size, |(smallest, _)| smallest.min(size));
        self.update = Some((smallest, size));
        self.max_size = size;
        if let Some(table) = &mut self.table {
            table.evict(size, 0);
        }
    }

    /// Begins a block.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some((smallest, last)) = self.update.take() {
            if smallest < last {
                integer::encode(0x20, 5, smallest, out);
            }
            integer::encode(0x20, 5, last, out);
        }
    }

    pub fn status(&mut self, status: http::StatusCode, out: &mut Vec<u8>) {
        let index = match status.as_u16() {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                let value = status.as_str().as_bytes();
                return self.field(8, Pseudo::Status.name(), value, out);
            }
        };
        integer::encode(INDEXED.0, INDEXED.1, index, out);
    }

    pub fn pseudo(&mut self, pseudo: Pseudo, value: &[u8], out: &mut Vec<u8>) {
        let (index, whole) = match (pseudo, value) {
            (Pseudo::Method, b"GET") => (2, true),
            (Pseudo::Method, b"POST") => (3, true),
            (Pseudo::Path, b"/") => (4, true),
            (Pseudo::Scheme, b"http") => (6, true),
            (Pseudo::Scheme, b"https") => (7, true),
            (Pseudo::Authority, _) => (1, false),
            (Pseudo::Method, _) => (2, false),
            (Pseudo::Path, _) => (4, false),
            (Pseudo::Scheme, _) => (6, false),
            (Pseudo::Status, _) => (8, false),
            (Pseudo::Protocol, _) => (0, false),
        };
        if whole {
            integer::encode(INDEXED.0, INDEXED.1, index, out);
        } else {
            self.field(index, pseudo.name(), value, out);
        }
    }

    pub fn header(&mut self, name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) {
        let index = field::index_of(name);
        if is_sensitive(name, value) {
            literal(NEVER_INDEXED, index, name.as_str(), value.as_bytes(), out);
        } else {
            self.field(index, name.as_str(), value.as_bytes(), out);
        }
    }

    fn field(&mut self, index: usize, name: &str, value: &[u8], out: &mut Vec<u8>) {
        let size = name.len() + value.len() + OVERHEAD;
        if size > LARGEST.min(self.max_size) {
            return literal(NOT_INDEXED, index, name, value, out);
        }
        let table = self.table.get_or_insert_default();
        let hash = xxh64(value, xxh64(name.as_bytes(), 0)) as u32;
        if let Some(found) = table.find(hash, name, value) {
            return integer::encode(INDEXED.0, INDEXED.1, found, out);
        }
        let form = if table.repeats(hash) {
            table.insert(hash, name, value, self.max_size);
            INDEXING
        } else {
            NOT_INDEXED
        };
        literal(form, index, name, value, out);
    }
}

fn is_sensitive(name: &HeaderName, value: &HeaderValue) -> bool {
    value.is_sensitive()
        || match *name {
            header::AUTHORIZATION | header::PROXY_AUTHORIZATION => true,
            header::COOKIE => value.len() < SHORT_COOKIE,
            _ => false,
        }
}

fn literal(form: (u8, u32), index: usize, name: &str, value: &[u8], out: &mut Vec<u8>) {
    integer::encode(form.0, form.1, index, out);
    if index == 0 {
        string(name.as_bytes(), out);
    }
    string(value, out);
}

fn string(text: &[u8], out: &mut Vec<u8>) {
    let encoded = huffman::encoded_len(text);
    if encoded < text.len() {
        integer::encode(0x80, 7, encoded, out);
        huffman::encode(text, out);
    } else {
        integer::encode(0, 7, text.len(), out);
        out.extend_from_slice(text);
    }
}

/// The dynamic table, and where to look in it.
struct Table {
    /// The oldest entry first.
    entries: VecDeque<Entry>,
    size: usize,
    /// Entries ever inserted.
    inserted: u32,
    /// Number of the entry whose hash falls on the slot, from 1; it may be gone, or replaced
    /// by another of the same slot.
    numbers: [u32; SLOTS],
    /// Hashes of fields sent lately.
    sent: [u32; SLOTS],
}

struct Entry {
    /// Name and value.
    text: Box<[u8]>,
    name: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            inserted: 0,
            numbers: [0; SLOTS],
            sent: [0; SLOTS],
        }
    }
}

impl Table {
    /// The index of an equal entry.
    fn find(&self, hash: u32, name: &str, value: &[u8]) -> Option<usize> {
        let age = self
            .inserted
            .wrapping_sub(self.numbers[hash as usize % SLOTS]) as usize;
        let position = self.entries.len().checked_sub(age + 1)?;
        let entry = &self.entries[position];
        let (own_name, own_value) = entry.text.split_at(entry.name);
        (own_value == value && own_name == name.as_bytes()).then_some(STATICS + 1 + age)
    }

    /// Whether the field was sent lately; it was now.
    fn repeats(&mut self, hash: u32) -> bool {
        // The low bits choose among the table's slots: others are used here.
        let slot = &mut self.sent[(hash >> 16) as usize % SLOTS];
        std::mem::replace(slot, hash) == hash
    }

    fn insert(&mut self, hash: u32, name: &str, value: &[u8], max_size: usize) {
        let size = name.len() + value.len() + OVERHEAD;
        self.evict(max_size, size);
        self.size += size;
        self.entries.push_back(Entry {
            text: [name.as_bytes(), value].concat().into(),
            name: name.len(),
        });
        self.inserted = self.inserted.wrapping_add(1);
        self.numbers[hash as usize % SLOTS] = self.inserted;
    }

    fn evict(&mut self, max_size: usize, room: usize) {
        while self.size + room > max_size
            && let Some(oldest) = self.entries.pop_front()
        {
            self.size -= oldest.text.len() + OVERHEAD;
        }
    }
}
