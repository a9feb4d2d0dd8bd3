//! Is it HTTP? The verdicts of Envoy's HTTP inspector (with its Balsa parser): a request
//! line of HTTP/1.x, or the HTTP/2 connection preface. It may come to "no" on fewer bytes
//! than Envoy, never to another answer.

/// Bytes looked at; a request line that is longer is not recognised (Envoy's bound).
pub const MAX_INSPECT: usize = 64 * 1024;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const METHODS: &[&[u8]] = &[
    b"ACL",
    b"BIND",
    b"CHECKOUT",
    b"CONNECT",
    b"COPY",
    b"DELETE",
    b"GET",
    b"HEAD",
    b"LINK",
    b"LOCK",
    b"MERGE",
    b"MKACTIVITY",
    b"MKCALENDAR",
    b"MKCOL",
    b"MOVE",
    b"M-SEARCH",
    b"NOTIFY",
    b"OPTIONS",
    b"PATCH",
    b"POST",
    b"PROPFIND",
    b"PROPPATCH",
    b"PURGE",
    b"PUT",
    b"REBIND",
    b"REPORT",
    b"SEARCH",
    b"SOURCE",
    b"SUBSCRIBE",
    b"TRACE",
    b"UNBIND",
    b"UNLINK",
    b"UNLOCK",
    b"UNSUBSCRIBE",
];

/// What the bytes seen so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVerdict {
    NeedMore,
    NotHttp,
    Http10,
    Http11,
    /// HTTP/2 with prior knowledge.
    H2c,
}

impl HttpVerdict {
    /// The application protocol that filter chains match.
    pub fn protocol(self) -> Option<&'static [u8]> {
        match self {
            HttpVerdict::Http10 => Some(b"http/1.0"),
            HttpVerdict::Http11 => Some(b"http/1.1"),
            HttpVerdict::H2c => Some(b"h2c"),
            HttpVerdict::NeedMore | HttpVerdict::NotHttp => None,
        }
    }
}

/// Judges the beginning of a stream. The verdict on a longer beginning is the same once it
/// is not `NeedMore`.
pub fn http(bytes: &[u8]) -> HttpVerdict {
    if bytes.is_empty() {
        return HttpVerdict::NeedMore;
    }
    let common = bytes.len().min(PREFACE.len());
    if bytes[..common] == PREFACE[..common] {
        return if common == PREFACE.len() {
            HttpVerdict::H2c
        } else {
            HttpVerdict::NeedMore
        };
    }
    let bytes = &bytes[..bytes.len().min(MAX_INSPECT)];
    let Some(end) = memchr::memchr2(b'\r', b'\n', bytes) else {
        return if bytes.len() < MAX_INSPECT && may_begin_request(bytes) {
            HttpVerdict::NeedMore
        } else {
            HttpVerdict::NotHttp
        };
    };
    request_line(&bytes[..end])
}

/// True while the bytes can still become a request line.
fn may_begin_request(bytes: &[u8]) -> bool {
    match memchr::memchr(b' ', bytes) {
        Some(space) => {
            METHODS.contains(&&bytes[..space])
                && bytes[space..]
                    .iter()
                    .all(|byte| target_byte(*byte) || *byte == b' ')
        }
        None => METHODS.iter().any(|method| method.starts_with(bytes)),
    }
}

fn target_byte(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f
}

fn request_line(line: &[u8]) -> HttpVerdict {
    let mut words = line
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty());
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return HttpVerdict::NotHttp;
    };
    // Without a version it is HTTP/0.9 in form: Envoy counts that as 1.0.
    let version = words.next();
    if words.next().is_some()
        || line.first() == Some(&b' ')
        || !METHODS.contains(&method)
        || !target_is_valid(target, method == b"CONNECT")
    {
        return HttpVerdict::NotHttp;
    }
    match version {
        Some(b"HTTP/1.1") => HttpVerdict::Http11,
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            HttpVerdict::Http10
        }
        None => HttpVerdict::Http10,
        Some(_) => HttpVerdict::NotHttp,
    }
}

/// Origin form, asterisk form, absolute form, and authority form for CONNECT.
fn target_is_valid(target: &[u8], connect: bool) -> bool {
    if !target.iter().all(|byte| target_byte(*byte)) {
        return false;
    }
    if connect {
        return !target.starts_with(b"/");
    }
    if matches!(target[0], b'/' | b'*') {
        return true;
    }
    let scheme = target
        .iter()
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    scheme > 0 && target[scheme..].starts_with(b"://") && target.len() > scheme + 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_envoys() {
        let cases: &[(&[u8], HttpVerdict)] = &[
            (b"GET / HTTP/1.1\r\n", HttpVerdict::Http11),
            (b"GET /index?x=1 HTTP/1.1\n", HttpVerdict::Http11),
            (b"POST /x HTTP/1.0\r\nHost: a", HttpVerdict::Http10),
            (b"GET http://a.example/ HTTP/1.1\r\n", HttpVerdict::Http11),
            (b"CONNECT a.example:443 HTTP/1.1\r\n", HttpVerdict::Http11),
            (b"OPTIONS * HTTP/1.1\r\n", HttpVerdict::Http11),
            (b"GET /\r\n", HttpVerdict::Http10),
            (b"GET / HTTP/2.0\r\n", HttpVerdict::Http10),
            (PREFACE, HttpVerdict::H2c),
            (b"PRI * HTTP/2.0\r\n", HttpVerdict::NeedMore),
            (b"PRI * HTTP/2.0\r\nX", HttpVerdict::NotHttp),
            (b"", HttpVerdict::NeedMore),
            (b"P", HttpVerdict::NeedMore),
            (b"GE", HttpVerdict::NeedMore),
            (b"GET /unfinished", HttpVerdict::NeedMore),
            (b"get / HTTP/1.1\r\n", HttpVerdict::NotHttp),
            (b"PING\r\n", HttpVerdict::NotHttp),
            (b"*1\r\n$4\r\nPING\r\n", HttpVerdict::NotHttp),
            (b"SSH-2.0-OpenSSH_9.6\r\n", HttpVerdict::NotHttp),
            (b"HELLO there\r\n", HttpVerdict::NotHttp),
            (b"GET /a b HTTP/1.1\r\n", HttpVerdict::NotHttp),
            (b"GET / HTTP/1.1x\r\n", HttpVerdict::NotHttp),
            (b"GET nonsense HTTP/1.1\r\n", HttpVerdict::NotHttp),
            (b"\x16\x03\x01\x02\x00", HttpVerdict::NotHttp),
            (b"\r\n", HttpVerdict::NotHttp),
        ];
        for (bytes, verdict) in cases {
            assert_eq!(http(bytes), *verdict, "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(
            http(&[b"GET /".as_slice(), &vec![b'a'; MAX_INSPECT]].concat()),
            HttpVerdict::NotHttp
        );
    }

    #[test]
    fn a_verdict_does_not_depend_on_how_the_bytes_arrive() {
        for whole in [
            b"GET /productpage HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(),
            b"POST / HTTP/1.0\r\n\r\n",
            PREFACE,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\nx",
            b"mysql\x00\x01",
            b"DELETED stuff\r\n",
        ] {
            let end = http(whole);
            for split in 0..whole.len() {
                let early = http(&whole[..split]);
                assert!(
                    early == end || early == HttpVerdict::NeedMore,
                    "{split}: {early:?} then {end:?}"
                );
            }
        }
    }
}
