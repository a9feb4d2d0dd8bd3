//! Protection of TLS records with keys that rustls negotiated: TLS 1.3 (RFC 8446 §5), and TLS
//! 1.2 with AES-GCM (RFC 5288) and ChaCha20-Poly1305 (RFC 7905).
//!
//! Records are sealed from the sender's memory straight into the outgoing bytes, and opened from
//! the incoming bytes straight into the reader's memory.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use rustls::{ConnectionTrafficSecrets, Error, InvalidMessage, PeerMisbehaved};
use std::ops::Range;

const CHANGE_CIPHER_SPEC: u8 = 20;
pub const ALERT: u8 = 21;
pub const HANDSHAKE: u8 = 22;
pub const APPLICATION_DATA: u8 = 23;
/// The last type that is known (RFC 6520). Nobody asks for heartbeats, so none is taken; as rustls
/// does, that is said of a whole record.
const HEARTBEAT: u8 = 24;

/// Bytes of a record's header.
pub const HEADER: usize = 5;
/// Bytes of content that a record may hold.
pub const MAX_CONTENT: usize = 16 * 1024;
/// Bytes that a protected record may have beyond its content (RFC 8446 §5.2). TLS 1.2 allows
/// more, but none of its suites here needs it.
const MAX_EXPANSION: usize = 256;
/// Bytes of the longest record.
pub const MAX_RECORD: usize = HEADER + MAX_CONTENT + MAX_EXPANSION;
/// Bytes of a full record of TLS 1.3 without padding.
pub const FULL_RECORD: usize = HEADER + MAX_CONTENT + 1 + TAG;
/// Bytes that sealing may add to content: header, explicit nonce (TLS 1.2) or type (TLS 1.3), tag.
pub const OVERHEAD: usize = HEADER + EXPLICIT_NONCE + TAG;

const EXPLICIT_NONCE: usize = 8;
const TAG: usize = 16;

/// How a version and a suite put a record together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    V1_3,
    /// TLS 1.2, part of the nonce in the record: AES-GCM.
    V1_2Explicit,
    /// TLS 1.2, the nonce follows from the sequence number: ChaCha20-Poly1305.
    V1_2,
}

/// The keys of one direction.
pub struct Keys {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    format: Format,
}

/// A record's length, header included, by its first bytes; `None` while they are too few to tell
/// and may still be a record's.
///
/// # Errors
/// A header that no record has.
pub fn length(bytes: &[u8]) -> Result<Option<usize>, Error> {
    let known = CHANGE_CIPHER_SPEC..=HEARTBEAT;
    if bytes.first().is_some_and(|kind| !known.contains(kind)) {
        return Err(InvalidMessage::InvalidContentType.into());
    }
    // The version is judged when it is whole, as rustls does.
    if matches!(bytes, [_, major, _, ..] if *major != 3) {
        return Err(InvalidMessage::UnknownProtocolVersion.into());
    }
    let [_, _, _, high, low, ..] = *bytes else {
        return Ok(None);
    };
    let length = HEADER + usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_RECORD {
        return Err(Error::PeerSentOversizedRecord);
    }
    Ok(Some(length))
}

impl Keys {
    /// `sequence`: the number of the next record.
    ///
    /// # Errors
    /// Secrets that do not fit their suite.
    pub fn new(
        tls13: bool,
        sequence: u64,
        secrets: &ConnectionTrafficSecrets,
    ) -> Result<Self, Error> {
        use ConnectionTrafficSecrets::{Aes128Gcm, Aes256Gcm, Chacha20Poly1305};
        let (algorithm, key, iv): (&'static Algorithm, _, _) = match secrets {
            Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(Error::General("an unknown cipher was negotiated".into())),
        };
        let unfit = || Error::General("key of another length than its cipher's".into());
        let chacha = matches!(secrets, Chacha20Poly1305 { .. });
        Ok(Self {
            key: LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).map_err(|_| unfit())?),
            iv: iv.as_ref().try_into().map_err(|_| unfit())?,
            sequence,
            format: match (tls13, chacha) {
                (true, _) => Format::V1_3,
                (false, true) => Format::V1_2,
                (false, false) => Format::V1_2Explicit,
            },
        })
    }

    /// Records protected so far.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The nonce of the next record: the sequence number over the IV's last bytes.
    fn nonce(&self) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }

    /// What a TLS 1.2 record's tag covers beside its content: the header's type and version among
    /// it, as they stand there.
    fn additional(&self, head: &[u8], length: usize) -> [u8; 13] {
        let mut additional = [0; 13];
        additional[..8].copy_from_slice(&self.sequence.to_be_bytes());
        additional[8..11].copy_from_slice(&head[..3]);
        additional[11..].copy_from_slice(&(length as u16).to_be_bytes());
        additional
    }

    /// Where a record's content begins, which [`Keys::seal_in_place`] finds there.
    pub fn content_start(&self) -> usize {
        match self.format {
            Format::V1_2Explicit => HEADER + EXPLICIT_NONCE,
            Format::V1_3 | Format::V1_2 => HEADER,
        }
    }

    /// Writes the record of at most [`MAX_CONTENT`] bytes of content to the beginning of `out`,
    /// which needs [`OVERHEAD`] more, and returns its length.
    ///
    /// # Errors
    /// Too much content, too little room.
    pub fn seal(&mut self, kind: u8, content: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        self.seal_with(kind, content.len(), out, Some(content))
    }

    /// As [`Keys::seal`], of content that is in `out` already, from [`Keys::content_start`].
    pub fn seal_in_place(
        &mut self,
        kind: u8,
        length: usize,
        out: &mut [u8],
    ) -> Result<usize, Error> {
        self.seal_with(kind, length, out, None)
    }

    fn seal_with(
        &mut self,
        kind: u8,
        length: usize,
        out: &mut [u8],
        content: Option<&[u8]>,
    ) -> Result<usize, Error> {
        if length > MAX_CONTENT || out.len() < length + OVERHEAD {
            return Err(Error::EncryptError);
        }
        let start = self.content_start();
        let inner = [kind];
        let (shown, inner): (u8, &[u8]) = match self.format {
            Format::V1_3 => (APPLICATION_DATA, &inner),
            Format::V1_2Explicit | Format::V1_2 => (kind, &[]),
        };
        let body = start - HEADER + length + inner.len() + TAG;
        let (head, rest) = out.split_at_mut(start);
        let nonce = self.nonce();
        head[..3].copy_from_slice(&[shown, 3, 3]);
        head[3..HEADER].copy_from_slice(&(body as u16).to_be_bytes());
        head[HEADER..].copy_from_slice(&nonce[12 - (start - HEADER)..]);
        let additional = self.additional(head, length);
        let additional = match self.format {
            Format::V1_3 => &head[..HEADER],
            Format::V1_2Explicit | Format::V1_2 => &additional[..],
        };
        let (sealed, rest) = rest.split_at_mut(length);
        let tag = &mut rest[..inner.len() + TAG];
        let (nonce, additional) = (Nonce::assume_unique_for_key(nonce), Aad::from(additional));
        match content {
            Some(content) => self
                .key
                .seal_out_of_place_scatter(nonce, additional, content, sealed, inner, tag),
            None => self
                .key
                .seal_in_place_scatter(nonce, additional, sealed, inner, tag),
        }
        .map_err(|_| Error::EncryptError)?;
        self.sequence += 1;
        Ok(HEADER + body)
    }

    /// Bytes of memory that opening `record` (complete, header included) needs.
    ///
    /// # Errors
    /// A record that is too short to be protected.
    pub fn opened_length(&self, record: &[u8]) -> Result<usize, Error> {
        record
            .len()
            .checked_sub(self.content_start() + TAG)
            .ok_or(Error::DecryptError)
    }

    /// Opens a complete record into `out`, of [`Keys::opened_length`] bytes, and returns its type
    /// and how many bytes of content `out` begins with.
    ///
    /// # Errors
    /// A record that was not sealed with these keys, or breaks the rules of its version.
    pub fn open(&mut self, record: &[u8], out: &mut [u8]) -> Result<(u8, usize), Error> {
        let length = self.opened_length(record)?;
        let (head, sealed) = record.split_at(self.content_start());
        let (sealed, tag) = sealed.split_at(length);
        let (nonce, additional) = self.opening(head, length);
        self.key
            .open_separate_gather(nonce, Aad::from(additional.bytes()), sealed, tag, out)
            .map_err(|_| Error::DecryptError)?;
        self.opened(record[0], out)
    }

    /// Opens a complete record where it is, and returns its type and where in it its content is.
    ///
    /// # Errors
    /// As [`Keys::open`].
    pub fn open_in_place(&mut self, record: &mut [u8]) -> Result<(u8, Range<usize>), Error> {
        let length = self.opened_length(record)?;
        let start = self.content_start();
        let shown = record[0];
        let (head, sealed) = record.split_at_mut(start);
        let (nonce, additional) = self.opening(head, length);
        self.key
            .open_in_place(nonce, Aad::from(additional.bytes()), sealed)
            .map_err(|_| Error::DecryptError)?;
        let (kind, content) = self.opened(shown, &sealed[..length])?;
        Ok((kind, start..start + content))
    }

    /// The nonce, and what the tag covers beside the content, of the next record.
    fn opening(&self, head: &[u8], length: usize) -> (Nonce, Additional) {
        let mut nonce = self.nonce();
        if self.format == Format::V1_2Explicit {
            nonce[4..].copy_from_slice(&head[HEADER..]);
        }
        let additional = match self.format {
            Format::V1_3 => {
                let mut bytes = [0; 13];
                bytes[..HEADER].copy_from_slice(&head[..HEADER]);
                Additional(bytes, HEADER)
            }
            Format::V1_2Explicit | Format::V1_2 => Additional(self.additional(head, length), 13),
        };
        (Nonce::assume_unique_for_key(nonce), additional)
    }

    /// Counts an opened record; its type and the length of its content.
    fn opened(&mut self, shown: u8, opened: &[u8]) -> Result<(u8, usize), Error> {
        self.sequence += 1;
        let (kind, length) = match self.format {
            Format::V1_2Explicit | Format::V1_2 => (shown, opened.len()),
            Format::V1_3 if shown != APPLICATION_DATA => {
                return Err(InvalidMessage::InvalidContentType.into());
            }
            // The type is the last byte that is not padding.
            Format::V1_3 => match opened.iter().rposition(|byte| *byte != 0) {
                Some(last) => (opened[last], last),
                None => return Err(PeerMisbehaved::IllegalTlsInnerPlaintext.into()),
            },
        };
        if length > MAX_CONTENT {
            return Err(Error::PeerSentOversizedRecord);
        }
        Ok((kind, length))
    }
}

/// What a tag covers beside the content.
struct Additional([u8; 13], usize);

impl Additional {
    fn bytes(&self) -> &[u8] {
        &self.0[..self.1]
    }
}
