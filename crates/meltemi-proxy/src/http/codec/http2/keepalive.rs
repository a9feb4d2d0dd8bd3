//! Whether the peer is still there (Envoy's `connection_keepalive`).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How long an answer may take when that is not configured.
const TIMEOUT: Duration = Duration::from_secs(20);

pub(super) struct Keepalive {
    interval: Duration,
    timeout: Duration,
    sleep: Pin<Box<Sleep>>,
    /// Something was read since the timer was set.
    heard: bool,
    is_asking: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Ping,
    /// The peer has not answered.
    End,
}

impl Keepalive {
    pub fn new(interval: Option<Duration>, timeout: Option<Duration>) -> Option<Self> {
        let interval = interval?;
        Some(Self {
            interval,
            timeout: timeout.unwrap_or(TIMEOUT),
            sleep: Box::pin(tokio::time::sleep(interval)),
            heard: false,
            is_asking: false,
        })
    }

    pub fn heard(&mut self) {
        self.heard = true;
    }

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        while self.sleep.as_mut().poll(cx).is_ready() {
            let (pause, due) = self.fired();
            self.sleep.as_mut().reset(Instant::now() + pause);
            if let Some(due) = due {
                return Poll::Ready(due);
            }
        }
        Poll::Pending
    }

    /// What the timer's end means, and when it is to be looked at again.
    fn fired(&mut self) -> (Duration, Option<Due>) {
        if std::mem::take(&mut self.heard) {
            self.is_asking = false;
            (self.interval, None)
        } else if std::mem::replace(&mut self.is_asking, true) {
            (self.interval, Some(Due::End))
        } else {
            (self.timeout, Some(Due::Ping))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_peer_is_asked_and_then_given_up() {
        let (interval, timeout) = (Duration::from_secs(10), Duration::from_secs(5));
        let mut keepalive = Keepalive::new(Some(interval), Some(timeout)).unwrap();
        keepalive.heard();
        assert_eq!(keepalive.fired(), (interval, None));
        assert_eq!(keepalive.fired(), (timeout, Some(Due::Ping)));
        keepalive.heard();
        assert_eq!(keepalive.fired(), (interval, None));
        assert_eq!(keepalive.fired(), (timeout, Some(Due::Ping)));
        assert_eq!(keepalive.fired().1, Some(Due::End));
    }
}
