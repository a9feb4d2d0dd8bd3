//! Where we mean to differ from Envoy on captured configurations, with the reason. An entry
//! that no longer holds anywhere fails the suite, as a difference that is not listed does.

/// An aspect that differs in every question whose name contains one of these texts.
pub struct Difference {
    pub questions: &'static [&'static str],
    /// What the aspect's name ends with.
    pub aspect: &'static str,
    pub envoy: &'static str,
    pub meltemi: &'static str,
    #[allow(dead_code, reason = "for the reader")]
    pub reason: &'static str,
}

/// Fields that our proxy says it does not honour.
pub const NOT_HONOURED: &[&str] = &["CustomTag.metadata"];

/// Any value.
const ANY: &str = "*";

pub const DIFFERENCES: &[Difference] = &[
    Difference {
        questions: &["no certificate: bytes", "no certificate: a request"],
        aspect: "log.lines",
        envoy: "1",
        meltemi: "0",
        reason: UNFINISHED,
    },
    Difference {
        questions: &["no certificate: bytes", "no certificate: a request"],
        aspect: "log.details",
        envoy: "-",
        meltemi: "(none)",
        reason: UNFINISHED,
    },
    Difference {
        questions: &["0.0.0.0_8080: bytes"],
        aspect: "end",
        envoy: ANY,
        meltemi: "closed after \"HTTP/1.1 400 Bad Request\\r\\ncontent-length: 0\\r\\nconnection: close\\r\\n\\r\\n\"",
        reason: UNDERSTOOD,
    },
    Difference {
        questions: &["0.0.0.0_8080: "],
        aspect: "log.details",
        envoy: "http1.codec_error",
        meltemi: "http1.invalid_framing",
        reason: UNDERSTOOD,
    },
    Difference {
        questions: &["0.0.0.0_8080: "],
        aspect: "log.sent",
        envoy: "11",
        meltemi: "0",
        reason: UNDERSTOOD,
    },
    Difference {
        questions: &["with a body"],
        aspect: "answer.header.connection",
        envoy: "close",
        meltemi: "(none)",
        reason: "the rest of a short body is read, so that the connection can be used again",
    },
    Difference {
        questions: &["HEAD by HTTP/2", "route 0 "],
        aspect: "answer.header.content-length",
        envoy: "(none)",
        meltemi: "0",
        reason: HEAD,
    },
    Difference {
        questions: &["httpbin"],
        aspect: "answer.header.transfer-encoding",
        envoy: "chunked",
        meltemi: "(none)",
        reason: HEAD,
    },
    Difference {
        questions: &["route 2 of an origin"],
        aspect: "answer.header.x-served",
        envoy: "(none)",
        meltemi: "httpbin",
        reason: "what a route adds to its answers is added to that to a preflight, too",
    },
    Difference {
        questions: &["routing/"],
        aspect: "seen#2.header.x-envoy-internal",
        envoy: "true",
        meltemi: "(none)",
        reason: MIRRORED,
    },
    Difference {
        questions: &["routing/"],
        aspect: "seen#2.header.x-forwarded-for",
        envoy: ANY,
        meltemi: ANY,
        reason: MIRRORED,
    },
    Difference {
        questions: &["traffic-policy/"],
        aspect: "seen.header.tls-name",
        envoy: "details.default.svc.cluster.local.",
        meltemi: "details.default.svc.cluster.local",
        reason: "RFC 6066, 3: a name without a trailing dot",
    },
    Difference {
        questions: &[
            "gateway-tls/ingressgateway 0.0.0.0_8080[0] plain: mtls.test:80 as mtls.test:80",
        ],
        aspect: "answer.header.location",
        envoy: "https://mtls.test:80/x",
        meltemi: "https://mtls.test/x",
        reason: "nobody serves HTTPS at HTTP's own port",
    },
];

const HEAD: &str = "RFC 9110, 9.3.2: what a GET would have had";
const MIRRORED: &str = "a mirror is told what the service is told, so that it does the same";
const UNDERSTOOD: &str = "what is no HTTP is refused without a body";
const UNFINISHED: &str =
    "Envoy connects to the service before the client has shown a certificate, and logs that";

/// The entry that a difference meets.
pub fn find(question: &str, aspect: &str, envoy: &str, meltemi: &str) -> Option<usize> {
    DIFFERENCES.iter().position(|known| {
        known.questions.iter().any(|part| question.contains(part))
            && aspect.ends_with(known.aspect)
            && [envoy, ANY].contains(&known.envoy)
            && [meltemi, ANY].contains(&known.meltemi)
    })
}
