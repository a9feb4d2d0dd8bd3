//! Frames (RFC 9113 4 and 6): their headers, and how ours are written.

use super::reason::{Broken, Reason};

/// Bytes of a frame's header.
pub(super) const HEAD: usize = 9;
/// Bytes of a frame's payload that we accept: the default of SETTINGS_MAX_FRAME_SIZE, which
/// we keep.
pub(super) const MAX_PAYLOAD: usize = 16_384;

/// The client connection preface.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

pub(super) mod flag {
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 0x20;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub length: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl Head {
    pub fn parse(bytes: &[u8; HEAD]) -> Self {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes;
        Self {
            length: u32::from_be_bytes([0, l0, l1, l2]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
        }
    }

    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub fn write(self, out: &mut Vec<u8>) {
        let [_, l0, l1, l2] = (self.length as u32).to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        out.extend_from_slice(&[l0, l1, l2, self.kind, self.flags, s0, s1, s2, s3]);
    }
}

/// A DATA or HEADERS payload without its padding.
pub(super) fn unpadded(head: Head, payload: &[u8]) -> Result<&[u8], Broken> {
    if !head.has(flag::PADDED) {
        return Ok(payload);
    }
    let (&padding, rest) = payload
        .split_first()
        .ok_or(Broken::size("a padded frame without its padding's length"))?;
    let length = rest
        .len()
        .checked_sub(padding.into())
        .ok_or(Broken::protocol("padding longer than the frame"))?;
    Ok(&rest[..length])
}

/// The first four bytes as a number.
pub(super) fn number(payload: &[u8]) -> Option<(u32, &[u8])> {
    let (first, rest) = payload.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*first), rest))
}

fn write(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    let head = Head {
        length: payload.len(),
        kind,
        flags,
        stream,
    };
    head.write(out);
    out.extend_from_slice(payload);
}

pub(super) fn data(stream: u32, data: &[u8], end: bool, out: &mut Vec<u8>) {
    let flags = if end { flag::END_STREAM } else { 0 };
    write(kind::DATA, flags, stream, data, out);
}

pub(super) fn rst_stream(stream: u32, reason: Reason, out: &mut Vec<u8>) {
    write(kind::RST_STREAM, 0, stream, &reason.0.to_be_bytes(), out);
}

pub(super) fn settings_ack(out: &mut Vec<u8>) {
    write(kind::SETTINGS, flag::ACK, 0, &[], out);
}

pub(super) fn ping(ack: bool, payload: [u8; 8], out: &mut Vec<u8>) {
    write(kind::PING, u8::from(ack) * flag::ACK, 0, &payload, out);
}

pub(super) fn goaway(last: u32, reason: Reason, out: &mut Vec<u8>) {
    let payload = [last.to_be_bytes(), reason.0.to_be_bytes()];
    write(kind::GOAWAY, 0, 0, payload.as_flattened(), out);
}

pub(super) fn window_update(stream: u32, increment: u32, out: &mut Vec<u8>) {
    write(
        kind::WINDOW_UPDATE,
        0,
        stream,
        &increment.to_be_bytes(),
        out,
    );
}

/// Writes a header block that `encode` appends, as HEADERS and, where it is longer than the
/// peer takes, CONTINUATION frames.
pub(super) fn headers(
    stream: u32,
    end: bool,
    max_payload: usize,
    out: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    encode(out);
    let mut block = Vec::new();
    if out.len() - start - HEAD > max_payload {
        block = out.split_off(start + HEAD + max_payload);
    }
    let mut flags = if end { flag::END_STREAM } else { 0 };
    if block.is_empty() {
        flags |= flag::END_HEADERS;
    }
    let head = Head {
        length: out.len() - start - HEAD,
        kind: kind::HEADERS,
        flags,
        stream,
    };
    let mut written = Vec::with_capacity(HEAD);
    head.write(&mut written);
    out[start..start + HEAD].copy_from_slice(&written);
    let mut pieces = block.chunks(max_payload).peekable();
    while let Some(piece) = pieces.next() {
        let flags = match pieces.peek() {
            Some(_) => 0,
            None => flag::END_HEADERS,
        };
        write(kind::CONTINUATION, flags, stream, piece, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(mut bytes: &[u8]) -> Vec<Head> {
        let mut heads = Vec::new();
        while let Some((head, rest)) = bytes.split_first_chunk() {
            let head = Head::parse(head);
            bytes = &rest[head.length..];
            heads.push(head);
        }
        heads
    }

    #[test]
    fn long_blocks_continue() {
        let mut out = Vec::new();
        headers(7, true, 10, &mut out, |out| out.extend(0..25));
        let seen: Vec<_> = heads(&out)
            .iter()
            .map(|head| (head.kind, head.flags, head.length, head.stream))
            .collect();
        assert_eq!(
            seen,
            [
                (kind::HEADERS, flag::END_STREAM, 10, 7),
                (kind::CONTINUATION, 0, 10, 7),
                (kind::CONTINUATION, flag::END_HEADERS, 5, 7),
            ]
        );
        out.clear();
        headers(7, false, 25, &mut out, |out| out.extend(0..25));
        assert_eq!(heads(&out)[0].flags, flag::END_HEADERS);
        assert_eq!(out.len(), HEAD + 25);
    }

    #[test]
    fn padding_is_taken_off() {
        let head = Head {
            length: 4,
            kind: kind::DATA,
            flags: flag::PADDED,
            stream: 1,
        };
        assert_eq!(unpadded(head, &[1, 7, 8, 0]).unwrap(), [7, 8]);
        assert!(unpadded(head, &[3, 0, 0, 0]).unwrap().is_empty());
        assert!(unpadded(head, &[4, 0, 0, 0]).is_err());
        assert!(unpadded(head, &[]).is_err());
    }
}
