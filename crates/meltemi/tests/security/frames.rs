//! HTTP/2 by hand: what no library would send, and what came back.

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// RFC 9113, 7.
const ERRORS: &[&str] = &[
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
];
/// RFC 7541, appendix A, from index 8.
const STATUSES: &[u16] = &[200, 204, 206, 304, 400, 404, 500];

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (name, value) in values {
        payload.extend(name.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

/// A field, literal and not to be remembered (RFC 7541, 6.2.2).
pub fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        match text.len() {
            length @ 0..127 => out.push(length as u8),
            mut length => {
                out.push(127);
                length -= 127;
                while length >= 128 {
                    out.push((length % 128) as u8 | 128);
                    length /= 128;
                }
                out.push(length as u8);
            }
        }
        out.extend(text);
    }
    out
}

pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let field = |(name, value): &(&str, &str)| field(name.as_bytes(), value.as_bytes());
    fields.iter().flat_map(field).collect()
}

/// A whole head without a body.
pub fn head(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(fields))
}

/// What an ordinary request begins with.
pub const GET: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "a.test"),
    (":path", "/"),
];
pub const POST: &[(&str, &str)] = &[
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "a.test"),
    (":path", "/"),
];

/// What a server sent: statuses, streams that it reset, and how it took leave. Whether an answer
/// or a refusal is complete among it.
pub fn told(mut bytes: &[u8]) -> (Vec<String>, bool) {
    let (mut told, mut complete) = (Vec::new(), false);
    let mut remembered = 0;
    while let [a, b, c, kind, flags, _, _, _, _, rest @ ..] = bytes {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some(payload) = rest.get(..length) else {
            break;
        };
        bytes = &rest[length..];
        match *kind {
            HEADERS => {
                let status = status(payload, &mut remembered);
                told.extend(status.map(|status| status.to_string()));
                complete |= flags & END_STREAM != 0;
            }
            DATA => complete |= flags & END_STREAM != 0,
            RST_STREAM => {
                told.push(format!("reset {}", error(payload)));
                complete = true;
            }
            GOAWAY => {
                told.push(format!(
                    "goaway {}",
                    error(payload.get(4..).unwrap_or_default())
                ));
            }
            _ => {}
        }
    }
    (told, complete)
}

fn error(payload: &[u8]) -> &'static str {
    let code = payload.get(3).copied().unwrap_or_default();
    ERRORS.get(usize::from(code)).unwrap_or(&"(unknown)")
}

/// The status at the beginning of a block; none in trailers. Servers repeat it from the table.
fn status(mut block: &[u8], remembered: &mut u16) -> Option<u16> {
    // Changes of the table's size (RFC 7541, 6.3).
    while block.first().is_some_and(|byte| byte & 0xe0 == 0x20) {
        let long = block[0] == 0x3f;
        block = &block[1..];
        while long && block.first().is_some_and(|byte| byte & 0x80 != 0) {
            block = &block[1..];
        }
        block = &block[usize::from(long)..];
    }
    match block {
        [index @ 0x88..=0x8e, ..] => STATUSES.get(usize::from(index - 0x88)).copied(),
        [0x48 | 0x08 | 0x18, 0x03, digits @ ..] => {
            *remembered = std::str::from_utf8(digits.get(..3)?).ok()?.parse().ok()?;
            Some(*remembered)
        }
        [0x48 | 0x08 | 0x18, length, coded @ ..] if length & 0x80 != 0 => {
            *remembered = digits(coded)?;
            Some(*remembered)
        }
        [0xbe..=0xff, ..] => Some(*remembered),
        _ => None,
    }
}

/// Three digits in Huffman's code: `0`, `1`, `2` take five bits, the others six.
fn digits(coded: &[u8]) -> Option<u16> {
    let mut bits = coded
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1)));
    let mut number = 0;
    for _ in 0..3 {
        let mut code = 0;
        for _ in 0..5 {
            code = code * 2 + bits.next()?;
        }
        let digit = match code {
            0..=2 => code,
            _ => (code * 2 + bits.next()?).checked_sub(0x19)? + 3,
        };
        number = number * 10 + digit;
    }
    Some(number)
}
