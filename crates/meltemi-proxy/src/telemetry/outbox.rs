//! Telemetry that waits to be sent. Each worker has its own and sends it by its own
//! connections; what does not fit is dropped and counted.

use crate::model::{Content, Feed, Signal};
use crate::telemetry::stats::Counter;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Bound on the bytes that wait for one collector.
const MAX_BYTES: usize = 4 << 20;

thread_local! {
    static OPEN: RefCell<Vec<Rc<Outbox>>> = const { RefCell::new(Vec::new()) };
    /// Outboxes that nobody empties yet.
    static NEW: RefCell<Vec<Rc<Outbox>>> = const { RefCell::new(Vec::new()) };
    static OPENED: Rc<Notify> = Rc::default();
}

/// What one thread has for one collector.
pub struct Outbox {
    pub feed: Arc<Feed>,
    pub stats: FeedStats,
    bytes: RefCell<Vec<u8>>,
    entries: Cell<u32>,
    /// When the first of the entries came.
    since: Cell<Instant>,
    /// Something came, or there is enough for a batch.
    stirred: Notify,
}

/// Entries that go together.
pub struct Batch {
    pub bytes: Vec<u8>,
    pub entries: u32,
}

impl Outbox {
    /// That of this thread for these settings.
    pub fn of(feed: &Arc<Feed>) -> Rc<Self> {
        OPEN.with_borrow_mut(|open| {
            let same = |known: &&Rc<Self>| Arc::ptr_eq(&known.feed, feed);
            let equal = |known: &&Rc<Self>| known.feed == *feed;
            let mut all = open.iter();
            if let Some(known) = all.find(same).or_else(|| open.iter().find(equal)) {
                return known.clone();
            }
            let new = Rc::new(Self {
                feed: feed.clone(),
                stats: FeedStats::of(&feed.content),
                bytes: RefCell::default(),
                entries: Cell::new(0),
                since: Cell::new(Instant::now()),
                stirred: Notify::new(),
            });
            open.push(new.clone());
            NEW.with_borrow_mut(|waiting| waiting.push(new.clone()));
            OPENED.with(|opened| opened.notify_one());
            new
        })
    }

    /// One that somebody must empty from now on: the next that is opened.
    pub async fn opened() -> Rc<Self> {
        loop {
            if let Some(new) = NEW.with_borrow_mut(Vec::pop) {
                return new;
            }
            let opened = OPENED.with(Rc::clone);
            opened.notified().await;
        }
    }

    /// Adds an entry, which `write` appends to what is there.
    pub fn push(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.bytes.borrow_mut();
        let entries = self.entries.get();
        if entries >= self.feed.max_entries || bytes.len() >= MAX_BYTES {
            self.stats.dropped.inc();
            return;
        }
        write(&mut bytes);
        self.entries.set(entries + 1);
        if let Some(written) = self.stats.written {
            written.inc();
        }
        if entries == 0 {
            self.since.set(Instant::now());
            self.stirred.notify_one();
        } else if self.is_full(bytes.len()) {
            self.stirred.notify_one();
        }
    }

    fn is_full(&self, bytes: usize) -> bool {
        self.entries.get() >= self.feed.batch_entries || bytes >= self.feed.batch_bytes as usize
    }

    /// The next batch, once it is due. `None`: there has been nothing for so long, and this
    /// outbox is no longer in use.
    pub async fn batch(&self, idle: Duration) -> Option<Batch> {
        while self.entries.get() == 0 {
            let stirred = tokio::time::timeout(idle, self.stirred.notified()).await;
            if stirred.is_err() && self.entries.get() == 0 {
                OPEN.with_borrow_mut(|open| {
                    open.retain(|known| !std::ptr::eq(&raw const **known, self));
                });
                return None;
            }
        }
        let due = self.since.get() + self.feed.interval;
        while !self.is_full(self.bytes.borrow().len()) {
            let full = tokio::time::timeout_at(due.into(), self.stirred.notified()).await;
            if full.is_err() {
                if let Some(timer) = self.stats.timer {
                    timer.inc();
                }
                break;
            }
        }
        Some(Batch {
            bytes: self.bytes.take(),
            entries: self.entries.replace(0),
        })
    }
}

/// Counters of a kind of feed, under Envoy's names.
pub struct FeedStats {
    /// Entries made.
    pub written: Option<Counter>,
    /// Entries for which there was no room, or nobody to take them.
    pub dropped: Counter,
    /// Batches that time sent.
    pub timer: Option<Counter>,
    /// Entries sent.
    pub sent: Option<Counter>,
    /// Entries that went onto a stream, or found none.
    pub flushed: Option<Counter>,
    pub flush_failed: Option<Counter>,
}

impl FeedStats {
    fn of(content: &Content) -> Self {
        let (prefix, spans) = match content {
            Content::Otlp {
                signal: Signal::Spans,
                ..
            } => ("tracing.opentelemetry", true),
            Content::Zipkin => ("tracing.zipkin", true),
            Content::Otlp {
                signal: Signal::Logs,
                ..
            } => ("access_logs.open_telemetry_access_log", false),
            Content::AccessLog { .. } => ("access_logs.grpc_access_log", false),
        };
        let counter = |name| Counter::new(&format!("{prefix}.{name}"));
        let service = matches!(content, Content::AccessLog { .. });
        Self {
            written: (!spans).then(|| counter("logs_written")),
            dropped: counter(if spans {
                "spans_dropped"
            } else {
                "logs_dropped"
            }),
            timer: spans.then(|| counter("timer_flushed")),
            sent: spans.then(|| counter("spans_sent")),
            flushed: service.then(|| counter("grpc_entries_flushed")),
            flush_failed: service.then(|| counter("grpc_entries_flush_failed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClusterId, Collector};
    use http::uri::PathAndQuery;
    use http::{HeaderMap, HeaderValue};

    fn feed(batch_entries: u32, interval: Duration) -> Arc<Feed> {
        Arc::new(Feed {
            collector: Collector {
                cluster: ClusterId(0),
                cluster_name: "c".into(),
                grpc: false,
                authority: HeaderValue::from_static("c"),
                path: PathAndQuery::from_static("/"),
                headers: HeaderMap::new(),
                timeout: None,
            },
            content: Content::Zipkin,
            batch_entries,
            batch_bytes: 1000,
            interval,
            max_entries: 3,
        })
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_batch_is_sent_when_it_is_due() {
        let soon = feed(2, Duration::from_millis(1));
        let outbox = Outbox::of(&soon);
        let equal = feed(2, Duration::from_millis(1));
        assert!(Rc::ptr_eq(&outbox, &Outbox::of(&equal)));
        assert!(Rc::ptr_eq(&outbox, &Outbox::opened().await));
        outbox.push(|bytes| bytes.push(b'a'));
        let batch = outbox.batch(LONG).await.unwrap();
        assert_eq!((batch.bytes, batch.entries), (b"a".to_vec(), 1));
    }

    #[tokio::test]
    async fn a_full_batch_waits_for_nothing() {
        let outbox = Outbox::of(&feed(2, LONG));
        outbox.push(|bytes| bytes.push(b'a'));
        outbox.push(|bytes| bytes.push(b'b'));
        assert_eq!(outbox.batch(LONG).await.unwrap().bytes, b"ab");
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted_and_an_idle_outbox_ends() {
        let feed = feed(100, Duration::from_millis(1));
        let outbox = Outbox::of(&feed);
        let before = outbox.stats.dropped.value();
        for _ in 0..5 {
            outbox.push(|bytes| bytes.push(b'x'));
        }
        assert_eq!(outbox.stats.dropped.value() - before, 2);
        assert_eq!(outbox.batch(LONG).await.unwrap().entries, 3);
        assert!(outbox.batch(Duration::from_millis(1)).await.is_none());
        assert!(!Rc::ptr_eq(&outbox, &Outbox::of(&feed)));
    }
}
