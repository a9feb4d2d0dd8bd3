//! Bytes that mean harm, and what becomes of them.

/// Where they are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Plain,
    /// Terminates TLS.
    Tls,
}

/// How they are sent.
pub enum Step {
    Send(Vec<u8>),
    /// A piece at a time, until the proxy has had enough or `times` are over.
    Drip {
        piece: Vec<u8>,
        times: usize,
    },
    /// As [`Step::Drip`] without waiting; the piece is made from its number.
    Flood {
        piece: fn(u32) -> Vec<u8>,
        times: u32,
    },
}

pub struct Case {
    pub name: &'static str,
    pub port: Port,
    pub http2: bool,
    pub steps: Vec<Step>,
    /// A header to show as the service received it.
    pub shown: Option<&'static str>,
    /// What the answer's number of requests, which a flood forwards, is told of: nothing.
    pub counted: bool,
}

impl Case {
    pub fn http1(name: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            name,
            port: Port::Plain,
            http2: false,
            steps: vec![Step::Send(bytes.into())],
            shown: None,
            counted: true,
        }
    }

    pub fn http2(name: &'static str, frames: impl Into<Vec<u8>>) -> Self {
        let mut bytes = super::frames::PREFACE.to_vec();
        bytes.extend(super::frames::settings(&[]));
        bytes.extend(frames.into());
        Self {
            http2: true,
            ..Self::http1(name, bytes)
        }
    }

    pub fn tls(mut self) -> Self {
        self.port = Port::Tls;
        self
    }

    pub fn showing(mut self, header: &'static str) -> Self {
        self.shown = Some(header);
        self
    }

    pub fn then_drip(mut self, piece: &[u8], times: usize) -> Self {
        let piece = piece.to_vec();
        self.steps.push(Step::Drip { piece, times });
        self
    }

    /// How many of a flood's requests got through depends on who was faster.
    pub fn then_flood(mut self, piece: fn(u32) -> Vec<u8>, times: u32) -> Self {
        self.steps.push(Step::Flood { piece, times });
        self.counted = false;
        self
    }
}
