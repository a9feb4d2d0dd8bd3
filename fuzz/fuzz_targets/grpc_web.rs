//! Bodies of gRPC-Web and gRPC's messages, beside slow readings of them as a whole: base64 group
//! by group, frames one after the other. They come in pieces, and so does the room for output;
//! neither makes a difference.
//!
//! The first two bytes of an input choose how long pieces are and how much room there is, the
//! third what is done: `d`ecode, or encode as `t`ext, as `b`inary, or what is no gRPC as a
//! `m`essage (`M` in text).
#![no_main]

use http::{HeaderMap, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use meltemi_proxy::http::fuzzing::{grpc_messages, grpc_web_decode, grpc_web_encode};

/// Of a message, from the body of what is no gRPC.
const MAX_MESSAGE: usize = 16 * 1024;

fuzz_target!(|input: &[u8]| {
    let [piece, room, kind, body @ ..] = input else {
        return;
    };
    let room = usize::from(*room).max(1);
    let pieces: Vec<&[u8]> = body.chunks(usize::from(*piece).max(1)).collect();
    assert_eq!(grpc_messages(&pieces), messages(body), "{body:?}");
    match kind {
        b'd' => assert_eq!(grpc_web_decode(&pieces, room), base64(body)),
        b't' | b'b' => encode(*kind == b't', &pieces, body, room),
        b'm' | b'M' => message(*kind == b'M', &pieces, body, room),
        _ => {}
    }
});

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers
}

const TRAILERS: &[u8] = b"\x80\0\0\0\x0fgrpc-status:0\r\n";

fn encode(text: bool, pieces: &[&[u8]], body: &[u8], room: usize) {
    let bare = grpc_web_encode(text, None, pieces, None, room);
    let told = grpc_web_encode(text, None, pieces, Some(trailers()), room);
    match text {
        false => {
            assert_eq!(bare, body);
            assert_eq!(told, [body, TRAILERS].concat());
        }
        true => {
            assert_eq!(base64(&bare).as_deref(), Some(body));
            assert_eq!(base64(&told), Some([body, TRAILERS].concat()));
            // A frame that is whole can be read without the next one.
            let frames: String = frames(body).iter().map(|frame| to_base64(frame)).collect();
            assert_eq!(bare, frames.as_bytes());
        }
    }
}

fn message(text: bool, pieces: &[&[u8]], body: &[u8], room: usize) {
    let made = grpc_web_encode(text, Some(StatusCode::NOT_FOUND), pieces, None, room);
    let made = match text {
        true => base64(&made).expect("base64"),
        false => made,
    };
    let [0x80, a, b, c, d, lines @ ..] = &made[..] else {
        panic!("{made:?} is no frame of trailers");
    };
    assert_eq!(u32::from_be_bytes([*a, *b, *c, *d]) as usize, lines.len());
    let lines = std::str::from_utf8(lines).expect("text");
    let mut lines = lines.split("\r\n");
    assert_eq!(lines.next(), Some("grpc-status:12"));
    let message = lines
        .next()
        .and_then(|line| line.strip_prefix("grpc-message:"))
        .expect("a message");
    let shown = String::from_utf8_lossy(&body[..body.len().min(MAX_MESSAGE)]);
    assert_eq!(percent_decoded(message), shown.as_bytes());
    assert_eq!(lines.collect::<Vec<_>>(), [""]);
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        out.push(u8::from_str_radix(&part[..2], 16).expect("two digits"));
        out.extend_from_slice(&part.as_bytes()[2..]);
    }
    out
}

/// Whole frames with their prefixes, and what is left.
fn frames(body: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    let mut rest = body;
    while let [_, a, b, c, d, ..] = rest {
        let length = 5 + u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (frame, after) = rest.split_at(length.min(rest.len()));
        frames.push(frame);
        rest = after;
    }
    if !rest.is_empty() {
        frames.push(rest);
    }
    frames
}

/// Messages whose prefix is there.
fn messages(body: &[u8]) -> u64 {
    frames(body).iter().filter(|frame| frame.len() >= 5).count() as u64
}

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Groups of four letters, each padded or not; bits that stand for nothing are zero.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for group in text.chunks(4) {
        let padding = group
            .iter()
            .rev()
            .take_while(|letter| **letter == b'=')
            .count();
        if group.len() < 4 || padding > 2 {
            return None;
        }
        let mut bits = 0;
        for letter in &group[..4 - padding] {
            let value = LETTERS.iter().position(|known| known == letter)?;
            bits = bits << 6 | value as u32;
        }
        bits <<= 6 * padding;
        let bytes = bits.to_be_bytes();
        if bytes[4 - padding..].iter().any(|byte| *byte != 0) {
            return None;
        }
        out.extend_from_slice(&bytes[1..4 - padding]);
    }
    Some(out)
}

fn to_base64(bytes: &[u8]) -> String {
    let groups = bytes.chunks(3).map(|group| {
        let mut three = [0; 3];
        three[..group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        let letters = (0..4).map(|at| match at <= group.len() {
            true => char::from(LETTERS[(bits >> (18 - 6 * at) & 0x3f) as usize]),
            false => '=',
        });
        letters.collect::<String>()
    });
    groups.collect()
}
