//! Where we mean to differ from Envoy, with the reason. What is listed here is asserted: an
//! entry that no longer holds fails the suite as a difference that is not listed does.

/// Both refuse a request, or only we do. What comes with a refusal (its words, what of the
/// request was understood for the log) is not compared.
pub struct Refusal {
    /// `group::case`.
    pub cases: &'static [&'static str],
    /// Status and response code details.
    pub envoy: (&'static str, &'static str),
    pub meltemi: (&'static str, &'static str),
    #[allow(dead_code, reason = "for the reader")]
    pub reason: &'static str,
}

/// One aspect that differs in these cases.
pub struct Value {
    pub cases: &'static [&'static str],
    pub aspect: &'static str,
    pub envoy: &'static str,
    pub meltemi: &'static str,
    #[allow(dead_code, reason = "for the reader")]
    pub reason: &'static str,
}

const PASSED: (&str, &str) = ("200", "via_upstream");
const BAD_FRAMING: (&str, &str) = ("400", "http1.invalid_framing");
const BAD_SYNTAX: (&str, &str) = ("400", "http1.codec_error");

const MIRRORS: &[&str] = &[
    "rewriting::mirror",
    "rewriting::mirror of a POST",
    "rewriting::mirror with the number of the attempt",
];

pub const REFUSALS: &[Refusal] = &[
    Refusal {
        cases: &[
            "framing::a header that continues",
            "framing::a header with a bare CR",
        ],
        envoy: PASSED,
        meltemi: BAD_FRAMING,
        reason: "RFC 9112, 5.2 and 2.2: Envoy repairs such a value; who reads it otherwise is deceived",
    },
    Refusal {
        cases: &["framing::bare line feeds"],
        envoy: PASSED,
        meltemi: BAD_FRAMING,
        reason: "a line that some end earlier than others is how requests are smuggled",
    },
    Refusal {
        cases: &["framing::two hosts"],
        envoy: PASSED,
        meltemi: BAD_FRAMING,
        reason: "RFC 9112, 3.2: MUST be answered 400; Envoy joins the two",
    },
    Refusal {
        cases: &["framing::a host with a user"],
        envoy: PASSED,
        meltemi: ("400", "http.invalid_authority"),
        reason: "RFC 9110, 4.2.4: user information in a host deceives about who is meant",
    },
    Refusal {
        cases: &["framing::blanks in the request line"],
        envoy: PASSED,
        meltemi: BAD_SYNTAX,
        reason: "RFC 9112, 3: one blank between the parts",
    },
    Refusal {
        cases: &["framing::a chunk longer than its size"],
        envoy: PASSED,
        meltemi: BAD_FRAMING,
        reason: "the whole chunk is looked at before any of it is forwarded",
    },
    Refusal {
        cases: &[
            "framing::an encoding that nobody knows",
            "framing::chunked, not last",
            "framing::chunked after gzip",
            "framing::chunked twice",
        ],
        envoy: ("501", "http1.invalid_transfer_encoding"),
        meltemi: BAD_FRAMING,
        reason: "one answer to all framing that cannot be trusted",
    },
    Refusal {
        cases: &[
            "framing::no version",
            "framing::version 1.2",
            "framing::version 2.0 in text",
        ],
        envoy: ("426", "low_version"),
        meltemi: BAD_SYNTAX,
        reason: "no upgrade would help: these are no versions of HTTP/1",
    },
    Refusal {
        cases: &["framing::length and chunked", "framing::chunked and length"],
        envoy: ("400", "http1.content_length_and_chunked_not_allowed"),
        meltemi: BAD_FRAMING,
        reason: "one name for all framing that cannot be trusted",
    },
    Refusal {
        cases: &[
            "framing::two lengths",
            "framing::the same length twice",
            "framing::a list of lengths",
            "framing::a length with a sign",
            "framing::a negative length",
            "framing::a length that is no number",
            "framing::a length beyond 64 bits",
            "framing::an empty length",
            "framing::chunked behind a blank",
            "framing::a chunk size that is no number",
            "framing::a chunk size beyond 64 bits",
            "framing::a header without a colon",
            "framing::an empty header name",
            "framing::a method in lower case",
            "paths::a byte above 127 in the path",
            "paths::a path without a slash",
        ],
        envoy: ("400", "http1.codec_error"),
        meltemi: BAD_FRAMING,
        reason: "one name for all framing that cannot be trusted",
    },
    Refusal {
        cases: &[
            "framing::TLS to a plain port",
            "framing::a header name with a blank",
            "framing::a method with a bracket",
        ],
        envoy: ("400", "http1.codec_error"),
        meltemi: BAD_SYNTAX,
        reason: "what is no HTTP gets the shortest answer, without a body",
    },
    Refusal {
        cases: &["framing::a header with NUL", "paths::a NUL in the path"],
        envoy: ("400", "http1.invalid_characters"),
        meltemi: BAD_SYNTAX,
        reason: "what is no HTTP gets the shortest answer, without a body",
    },
    Refusal {
        cases: &["paths::a fragment", "paths::a fragment, normalized"],
        envoy: ("400", "path_normalization_failed"),
        meltemi: BAD_FRAMING,
        reason: "refused when the request line is read, before paths are normalized",
    },
    Refusal {
        cases: &[
            "limits::headers above the limit",
            "limits::a path above the limit",
        ],
        envoy: ("431", "http1.headers_too_large"),
        meltemi: ("431", "http1.headers_too_large"),
        reason: "the shortest answer, without a body",
    },
    Refusal {
        cases: &["limits::headers above the count"],
        envoy: ("431", "http1.too_many_headers"),
        meltemi: ("431", "http1.headers_too_large"),
        reason: "one name for both limits",
    },
    Refusal {
        cases: &["rewriting::a path of strange characters"],
        envoy: PASSED,
        meltemi: BAD_SYNTAX,
        reason: "RFC 9112, 3.2: a target with characters that no URI has is answered 400",
    },
    Refusal {
        cases: &["framing::version 1.0"],
        envoy: ("426", "low_version"),
        meltemi: ("426", "low_version"),
        reason: UNDERSTOOD,
    },
    Refusal {
        cases: &["framing::a host with a slash"],
        envoy: ("400", "http.invalid_authority"),
        meltemi: ("400", "http.invalid_authority"),
        reason: UNDERSTOOD,
    },
    Refusal {
        cases: &["headers::underscores are refused"],
        envoy: ("400", "http1.unexpected_underscore"),
        meltemi: ("400", "http1.unexpected_underscore"),
        reason: UNDERSTOOD,
    },
];

const UNDERSTOOD: &str = "the log tells what was understood of a refused request";

pub const VALUES: &[Value] = &[
    Value {
        cases: &["certificates::P-256 and X25519, X25519 or P-256"],
        aspect: "end",
        envoy: "exit status: 0 | subject=CN = server.test | - | - | ECDH, prime256v1, 256 bits",
        meltemi: "exit status: 0 | subject=CN = server.test | - | - | X25519, 253 bits",
        reason: "the client has sent a key for a group that is allowed: no round trip for another",
    },
    Value {
        cases: &["routing::no route for a HEAD", "local::redirect of a HEAD"],
        aspect: "answer.header.content-length",
        envoy: "(none)",
        meltemi: "0",
        reason: "RFC 9110, 9.3.2: what a GET would have had; Envoy says chunked for no reason",
    },
    Value {
        cases: &["routing::no route for a HEAD", "local::redirect of a HEAD"],
        aspect: "answer.header.transfer-encoding",
        envoy: "chunked",
        meltemi: "(none)",
        reason: "as above",
    },
    Value {
        cases: &[
            "http2::gRPC in time",
            "http2::gRPC with its own timeout",
            "http2::gRPC to a service without it",
            "http2::gRPC to a service that answers 503",
            "headers::te other than trailers",
            "grpc-web::HTTP without a body",
        ],
        aspect: "seen.header.connection",
        envoy: "(none)",
        meltemi: "TE",
        reason: "RFC 9110, 10.1.4: who sends TE names it in Connection",
    },
    Value {
        cases: &[
            "upgrade::accepted",
            "upgrade::ignored by the service",
            "upgrade::refused by the service",
            "upgrade::turned on by the route",
        ],
        aspect: "seen.header.connection",
        envoy: "keep-alive, Upgrade",
        meltemi: "upgrade",
        reason: "hop by hop headers are our own on every hop",
    },
    Value {
        cases: &[
            "upgrade::accepted",
            "upgrade::ignored by the service",
            "upgrade::refused by the service",
            "upgrade::turned on by the route",
        ],
        aspect: "seen.header.upgrade",
        envoy: "WebSocket",
        meltemi: "websocket",
        reason: "as above; the name means the same in any case",
    },
    Value {
        cases: &["upgrade::accepted", "upgrade::turned on by the route"],
        aspect: "answer.header.connection",
        envoy: "Upgrade",
        meltemi: "upgrade",
        reason: "as above",
    },
    Value {
        cases: &[
            "addresses::sidecar: everything forged",
            "addresses::not appended: everything forged",
            "addresses::trusted sidecar: everything forged",
            "addresses::certificate details kept: everything forged",
        ],
        aspect: "seen.header.x-forwarded-for",
        envoy: "10.0.0.1, 203.0.113.9,198.51.100.2",
        meltemi: "10.0.0.1, 203.0.113.9 | 198.51.100.2",
        reason: "RFC 9110, 5.3: two lines mean the same as one list; untouched ones stay as they came",
    },
    Value {
        cases: &["headers::via is appended"],
        aspect: "seen.header.via",
        envoy: "1.1 other, meltemi",
        meltemi: "1.1 other | meltemi",
        reason: "RFC 9110, 5.3: two lines mean the same as one list",
    },
    Value {
        cases: &[
            "local::direct of a POST",
            "local::redirect of a POST with a body",
            "filters::abort of a POST",
            "limits::posts: beyond",
            "grpc-web::answered by the proxy",
            "grpc-web::answered by the proxy, in text",
            "overload::POST",
            "overload shed::POST",
            "overload shed router::POST",
            "overload shed upstream::POST",
        ],
        aspect: "answer.header.connection",
        envoy: "close",
        meltemi: "(none)",
        reason: "the rest of a short body is read, so that the connection can be used again",
    },
    Value {
        cases: &["framing::no host"],
        aspect: "log.authority",
        envoy: "-",
        meltemi: "",
        reason: "a missing host and an empty one are logged alike",
    },
    Value {
        cases: &["headers::304 without a body"],
        aspect: "answer.header.content-length",
        envoy: "11",
        meltemi: "(none)",
        reason: "RFC 9110, 8.6: optional with a 304, whose body is never sent",
    },
    Value {
        cases: &["paths::escapes refused: encoded slash"],
        aspect: "log.path",
        envoy: "/x/../admin",
        meltemi: "/x/..%2fadmin",
        reason: AS_SENT,
    },
    Value {
        cases: &["paths::escapes refused: encoded slash, upper case"],
        aspect: "log.path",
        envoy: "//admin",
        meltemi: "/%2Fadmin",
        reason: AS_SENT,
    },
    Value {
        cases: &["paths::escapes refused: encoded backslash"],
        aspect: "log.path",
        envoy: "/x\\admin",
        meltemi: "/x%5cadmin",
        reason: AS_SENT,
    },
    Value {
        cases: &[
            "tcp::in a tunnel by POST",
            "tcp::in a tunnel by POST without a path",
        ],
        aspect: "end",
        envoy: "closed hello",
        meltemi: "reset hello",
        reason: "an answer without its end may be incomplete: the client is to know",
    },
    Value {
        cases: &[
            "tcp::refused",
            "tcp::nobody makes a tunnel",
            "tcp::tunnel refused",
            "tcp::tunnel by POST refused",
        ],
        aspect: "log.flags",
        envoy: "UF,URX",
        meltemi: "URX,UF",
        reason: "a set of flags is written in one order, the one that HTTP has in Envoy",
    },
    Value {
        cases: MIRRORS,
        aspect: "seen#2.header.x-envoy-internal",
        envoy: "true",
        meltemi: "(none)",
        reason: MIRRORED,
    },
    Value {
        cases: MIRRORS,
        aspect: "seen#2.header.x-forwarded-for",
        envoy: "127.0.0.1",
        meltemi: "(none)",
        reason: MIRRORED,
    },
    Value {
        cases: &["upgrade::ignored by the service"],
        aspect: "answer.body",
        envoy: "",
        meltemi: "a says 200\n",
        reason: IGNORED,
    },
    Value {
        cases: &["upgrade::ignored by the service"],
        aspect: "answer.header.content-length",
        envoy: "0",
        meltemi: "11",
        reason: IGNORED,
    },
    Value {
        cases: &["upgrade::ignored by the service"],
        aspect: "log.sent",
        envoy: "0",
        meltemi: "11",
        reason: IGNORED,
    },
    Value {
        cases: &["upgrade::ignored by the service"],
        aspect: "log.details",
        envoy: "websocket_handshake_unsuccessful",
        meltemi: "via_upstream",
        reason: IGNORED,
    },
    Value {
        cases: &[
            "grpc-web::HTTP without a body",
            "grpc-web::a status that is no success",
            "grpc-web::binary",
            "grpc-web::binary by HTTP/2",
            "grpc-web::binary, answered in text",
            "grpc-web::codings of its own",
        ],
        aspect: "seen.header.content-length",
        envoy: "(none)",
        meltemi: "7",
        reason: LENGTH,
    },
    Value {
        cases: &["grpc-web::HTTP without a body"],
        aspect: "seen.header.transfer-encoding",
        envoy: "chunked",
        meltemi: "(none)",
        reason: LENGTH,
    },
    Value {
        cases: &["upgrade::to HTTP/2"],
        aspect: "seen.header.:protocol",
        envoy: "WebSocket",
        meltemi: "websocket",
        reason: "RFC 9220, 3: the registered name is in lower case",
    },
    Value {
        cases: &["upgrade::to HTTP/2"],
        aspect: "answer.header.upgrade",
        envoy: "WebSocket",
        meltemi: "websocket",
        reason: "the name means the same in any case",
    },
    Value {
        cases: &[
            r"expressions::[\D] and ٣",
            r"expressions::a\b. and aé",
            "expressions::(?i)k\\w and \u{212A}S",
            "expressions::a.b and aéb",
            "expressions::a.b and a\u{FF}b",
            r"expressions::\p{Greek}\PN\pL and α-a",
        ],
        aspect: "answer.status",
        envoy: "404",
        meltemi: "200",
        reason: "a character is one of UTF-8, as RE2 and Go's regexp have it unless told otherwise; \
                 Envoy's expressions see bytes",
    },
];

const LENGTH: &str = "the length of a body that passes as it is is known, and told";
const AS_SENT: &str = "the log tells the path that was refused, not what it would have become";
const MIRRORED: &str = "a mirror is told what the service is told, so that it does the same";
const IGNORED: &str =
    "RFC 9110, 7.8: a service may ignore an upgrade, and what it answers is an answer";
