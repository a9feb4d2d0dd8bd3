//! The ClientHello: is it TLS, for which server name, with which protocols (RFC 8446 §4.1.2,
//! RFC 6066 §3, RFC 7301).

/// Bound on a ClientHello with its record headers (Envoy's `max_client_hello_size`).
pub const MAX_CLIENT_HELLO: usize = 16 * 1024;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const STATUS_REQUEST: u16 = 5;
const ALPN: u16 = 16;

/// What the bytes seen so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsVerdict {
    NeedMore,
    NotTls,
    /// TLS whose ClientHello exceeds [`MAX_CLIENT_HELLO`].
    TooLarge,
    Tls {
        /// In lower case.
        server_name: Option<Box<str>>,
        protocols: Vec<Box<[u8]>>,
        /// For an OCSP response (`status_request`).
        asks_staple: bool,
    },
}

/// Judges the beginning of a stream. The verdict on a longer beginning is the same once it
/// is not `NeedMore`.
pub fn client_hello(bytes: &[u8]) -> TlsVerdict {
    let mut hello = Vec::new();
    let mut rest = bytes;
    loop {
        let record = match record(rest) {
            Record::Complete(record, length) => {
                rest = &rest[length..];
                record
            }
            // What there is of the record may hold all that is needed.
            Record::Part(record) => {
                rest = &[];
                record
            }
            Record::Wrong => return TlsVerdict::NotTls,
            Record::NeedMore => return more(bytes),
        };
        // Nearly every hello is in one record: no copy then.
        let message = if hello.is_empty() {
            record
        } else {
            hello.extend_from_slice(record);
            &hello
        };
        match message_of(message) {
            Message::Complete(body) => {
                return match parse(body) {
                    Some(hello) => TlsVerdict::Tls {
                        server_name: hello.server_name,
                        protocols: hello.protocols,
                        asks_staple: hello.asks_staple,
                    },
                    None => TlsVerdict::NotTls,
                };
            }
            Message::Wrong => return TlsVerdict::NotTls,
            Message::TooLarge => return TlsVerdict::TooLarge,
            Message::NeedMore if rest.is_empty() => return more(bytes),
            Message::NeedMore => {
                if hello.is_empty() {
                    hello.extend_from_slice(record);
                }
            }
        }
    }
}

fn more(bytes: &[u8]) -> TlsVerdict {
    if bytes.len() >= MAX_CLIENT_HELLO {
        TlsVerdict::TooLarge
    } else {
        TlsVerdict::NeedMore
    }
}

enum Record<'a> {
    /// Content, and length with the header.
    Complete(&'a [u8], usize),
    Part(&'a [u8]),
    NeedMore,
    Wrong,
}

/// One TLS record: type, version (3, 0..=4), length.
fn record(bytes: &[u8]) -> Record<'_> {
    let wrong = bytes.first().is_some_and(|kind| *kind != HANDSHAKE)
        || bytes.get(1).is_some_and(|major| *major != 3)
        || bytes.get(2).is_some_and(|minor| *minor > 4);
    if wrong {
        return Record::Wrong;
    }
    let Some((header, content)) = bytes.split_at_checked(5) else {
        return Record::NeedMore;
    };
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if length == 0 || length > MAX_CLIENT_HELLO {
        return Record::Wrong;
    }
    match content.get(..length) {
        Some(content) => Record::Complete(content, 5 + length),
        None if content.is_empty() => Record::NeedMore,
        None => Record::Part(content),
    }
}

enum Message<'a> {
    Complete(&'a [u8]),
    NeedMore,
    TooLarge,
    Wrong,
}

/// The handshake message at the beginning of the records' content.
fn message_of(content: &[u8]) -> Message<'_> {
    if content.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Message::Wrong;
    }
    let Some((header, body)) = content.split_at_checked(4) else {
        return Message::NeedMore;
    };
    let length =
        usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
    if length > MAX_CLIENT_HELLO {
        return Message::TooLarge;
    }
    body.get(..length)
        .map_or(Message::NeedMore, Message::Complete)
}

/// A cursor that yields `None` beyond its end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<usize> {
        self.take(1).map(|bytes| usize::from(bytes[0]))
    }

    fn u16(&mut self) -> Option<usize> {
        self.take(2)
            .map(|bytes| usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length)
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length)
    }
}

#[derive(Default)]
struct Hello {
    server_name: Option<Box<str>>,
    protocols: Vec<Box<[u8]>>,
    asks_staple: bool,
}

/// `None` when the message is malformed.
fn parse(body: &[u8]) -> Option<Hello> {
    let mut reader = Reader(body);
    reader.take(2 + 32)?; // version, random
    let session = reader.vector8()?;
    let suites = reader.vector16()?;
    let compressions = reader.vector8()?;
    if session.len() > 32 || suites.len() < 2 || suites.len() % 2 != 0 || compressions.is_empty() {
        return None;
    }
    let mut hello = Hello::default();
    if reader.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = Reader(reader.vector16()?);
    if !reader.0.is_empty() {
        return None;
    }
    while !extensions.0.is_empty() {
        let kind = extensions.u16()? as u16;
        let mut data = Reader(extensions.vector16()?);
        match kind {
            SERVER_NAME => hello.server_name = server_name(&mut data)?,
            ALPN => hello.protocols = protocols(&mut data)?,
            STATUS_REQUEST => hello.asks_staple = true,
            _ => {}
        }
    }
    Some(hello)
}

/// `Some(None)` when there is no host name in the list.
fn server_name(data: &mut Reader<'_>) -> Option<Option<Box<str>>> {
    let mut list = Reader(data.vector16()?);
    while !list.0.is_empty() {
        let kind = list.u8()?;
        let name = list.vector16()?;
        if kind == 0 {
            let name = std::str::from_utf8(name).ok()?;
            if name.is_empty() || name.contains('\0') {
                return None;
            }
            return Some(Some(name.to_ascii_lowercase().into()));
        }
    }
    Some(None)
}

fn protocols(data: &mut Reader<'_>) -> Option<Vec<Box<[u8]>>> {
    let mut list = Reader(data.vector16()?);
    let mut found = Vec::new();
    while !list.0.is_empty() {
        let name = list.vector8()?;
        if name.is_empty() {
            return None;
        }
        found.push(name.into());
    }
    Some(found)
}

#[cfg(test)]
#[path = "client_hello_tests.rs"]
mod tests;
