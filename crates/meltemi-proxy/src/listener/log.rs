//! The listener's own access logs: a line for every connection, whatever became of it.

use crate::clock;
use crate::model::Listener;
use crate::telemetry::{ConnectionInfo, Ending, Protocol, StreamInfo, log};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Where the line of a connection goes, and when the connection was accepted.
#[derive(Clone, Copy)]
pub struct Lines<'a> {
    listener: &'a Listener,
    opened: Instant,
    opened_at: SystemTime,
}

impl<'a> Lines<'a> {
    pub fn new(listener: &'a Listener) -> Self {
        Self {
            listener,
            opened: clock::now(),
            opened_at: SystemTime::now(),
        }
    }

    /// A connection without HTTP, from when it was accepted.
    pub fn begin(&self, connection: Arc<ConnectionInfo>) -> StreamInfo {
        let mut info = StreamInfo::new(connection, Protocol::Tcp);
        (info.started, info.started_at) = (self.opened, self.opened_at);
        info
    }

    /// Writes the line of a connection that has ended, before those of its filters, as Envoy
    /// does.
    pub fn write(&self, info: &mut StreamInfo) {
        let ending = std::mem::replace(&mut info.ending, Ending::AtListener);
        log::write_all(&self.listener.access_logs, info);
        info.ending = ending;
    }
}

/// Writes the line when it is dropped: also when the connection's task is cancelled or panics.
/// Not of a TCP relay, which knows more of its connection and writes it itself.
pub struct Logged<'a> {
    lines: Lines<'a>,
    connection: Arc<ConnectionInfo>,
    pub details: Cow<'static, str>,
    pub termination: Cow<'static, str>,
}

impl<'a> Logged<'a> {
    pub fn new(lines: Lines<'a>, connection: Arc<ConnectionInfo>) -> Self {
        Self {
            lines,
            connection,
            details: "".into(),
            termination: "".into(),
        }
    }
}

impl Drop for Logged<'_> {
    fn drop(&mut self) {
        if self.lines.listener.access_logs.is_empty() {
            return;
        }
        let mut info = self.lines.begin(self.connection.clone());
        if let Some(protocol) = self.connection.protocol() {
            info.protocol = protocol;
        }
        info.flags = self.connection.flags();
        info.details = std::mem::take(&mut self.details);
        info.termination = std::mem::take(&mut self.termination);
        self.lines.write(&mut info);
    }
}
