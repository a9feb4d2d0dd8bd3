//! The listener's own access logs: a line for every connection, whatever became of it.

use crate::clock;
use crate::model::Listener;
use crate::telemetry::{ConnectionInfo, Ending, Flags, Protocol, StreamInfo, log};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// When a connection was accepted.
#[derive(Clone, Copy)]
pub struct Opened(Instant, SystemTime);

impl Opened {
    pub fn now() -> Self {
        Self(clock::now(), SystemTime::now())
    }
}

/// Writes the line when it is dropped: also when the connection's task is cancelled or panics.
/// A TCP relay, which knows more of its connection, writes the line itself ([`write`]).
pub struct Logged<'a> {
    listener: &'a Listener,
    connection: Arc<ConnectionInfo>,
    opened: Opened,
    pub flags: Flags,
    pub details: Cow<'static, str>,
    pub termination: Cow<'static, str>,
}

impl<'a> Logged<'a> {
    pub fn new(listener: &'a Listener, connection: Arc<ConnectionInfo>, opened: Opened) -> Self {
        Self {
            listener,
            connection,
            opened,
            flags: Flags::default(),
            details: "".into(),
            termination: "".into(),
        }
    }
}

impl Drop for Logged<'_> {
    fn drop(&mut self) {
        if self.listener.access_logs.is_empty() {
            return;
        }
        let mut info = StreamInfo::new(self.connection.clone(), Protocol::Tcp);
        if let Some(spoken) = self.connection.spoken.get() {
            info.protocol = *spoken;
        }
        (info.started, info.started_at) = (self.opened.0, self.opened.1);
        info.flags = self.flags;
        info.details = std::mem::take(&mut self.details);
        info.termination = std::mem::take(&mut self.termination);
        write(self.listener, &mut info);
    }
}

/// Writes the line of a connection that has ended, before those of its filters, as Envoy does.
pub fn write(listener: &Listener, info: &mut StreamInfo) {
    let ending = std::mem::replace(&mut info.ending, Ending::AtListener);
    log::write_all(&listener.access_logs, info);
    info.ending = ending;
}
