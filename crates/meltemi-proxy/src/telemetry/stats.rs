//! Counters, gauges and histograms without contention.
//!
//! A name is registered once and becomes a slot number. Each thread has its own slots
//! and is their only writer (a relaxed load and store, no read-modify-write), and a
//! scrape adds the threads up. Do not register on the request path: it takes a lock.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

const PAGE: usize = 1024;
/// Bound on slots (8 MiB a thread): a registration beyond it gets the overflow slot.
const MAX_SLOTS: usize = 1 << 20;

type Page = Arc<[AtomicU64; PAGE]>;

#[derive(Default)]
struct Registry {
    names: BTreeMap<Box<str>, (Kind, u32)>,
    next: u32,
    threads: Vec<Arc<Mutex<Vec<Page>>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

fn registry() -> &'static Mutex<Registry> {
    static REGISTRY: OnceLock<Mutex<Registry>> = OnceLock::new();
    REGISTRY.get_or_init(Mutex::default)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Local {
    pages: RefCell<Vec<Page>>,
    shared: Arc<Mutex<Vec<Page>>>,
    /// Slot number of the first page's end, to keep the fast path to one comparison.
    len: Cell<usize>,
}

thread_local! {
    static LOCAL: Local = {
        let shared = Arc::new(Mutex::new(Vec::new()));
        lock(registry()).threads.push(shared.clone());
        Local { pages: RefCell::default(), shared, len: Cell::new(0) }
    };
}

fn add(slot: u32, delta: u64) {
    let slot = slot as usize;
    // A thread that is being torn down no longer counts.
    let _ = LOCAL.try_with(|local| {
        if slot >= local.len.get() {
            grow(local, slot);
        }
        let pages = local.pages.borrow();
        let cell = &pages[slot / PAGE][slot % PAGE];
        cell.store(
            cell.load(Ordering::Relaxed).wrapping_add(delta),
            Ordering::Relaxed,
        );
    });
}

#[cold]
fn grow(local: &Local, slot: usize) {
    let mut pages = local.pages.borrow_mut();
    while pages.len() * PAGE <= slot {
        pages.push(Arc::new(std::array::from_fn(|_| AtomicU64::new(0))));
    }
    *lock(&local.shared) = pages.clone();
    local.len.set(pages.len() * PAGE);
}

fn sum(threads: &[Arc<Mutex<Vec<Page>>>], slot: u32) -> u64 {
    let slot = slot as usize;
    threads.iter().fold(0u64, |total, pages| {
        let value = lock(pages)
            .get(slot / PAGE)
            .map_or(0, |page| page[slot % PAGE].load(Ordering::Relaxed));
        total.wrapping_add(value)
    })
}

fn register(name: &str, kind: Kind, slots: u32) -> u32 {
    let mut registry = lock(registry());
    if let Some(&(known, slot)) = registry.names.get(name)
        && known == kind
    {
        return slot;
    }
    if registry.next == 0 {
        // Slots 0..64 swallow what exceeds the bound.
        registry.next = 64;
    }
    if registry.next as usize + slots as usize > MAX_SLOTS {
        return 0;
    }
    let slot = registry.next;
    registry.next += slots;
    registry.names.insert(name.into(), (kind, slot));
    slot
}

/// Separates the parts of a scoped name; shown as a dot.
pub(super) const SEPARATOR: char = '\u{1f}';

/// `scope.name.rest`, with the boundaries kept: names such as clusters' hold dots.
pub(super) fn scoped(scope: &str, name: &str, rest: &str) -> String {
    format!("{scope}{SEPARATOR}{name}{SEPARATOR}{rest}")
}

/// A number that only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter(u32);

impl Counter {
    /// The counter of that name; the same one for the same name.
    pub fn new(name: &str) -> Self {
        Self(register(name, Kind::Counter, 1))
    }

    /// `cluster.NAME.REST`, `listener.NAME.REST`, `http.PREFIX.REST`, `tcp.PREFIX.REST`:
    /// Prometheus shows the middle part as a label.
    pub fn scoped(scope: &str, name: &str, rest: &str) -> Self {
        Self::new(&scoped(scope, name, rest))
    }

    pub fn inc(self) {
        add(self.0, 1);
    }

    pub fn add(self, delta: u64) {
        add(self.0, delta);
    }

    pub fn value(self) -> u64 {
        let threads = lock(registry()).threads.clone();
        sum(&threads, self.0)
    }
}

/// A number that goes up and down; threads add and subtract, the sum counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge(u32);

impl Gauge {
    pub fn new(name: &str) -> Self {
        Self(register(name, Kind::Gauge, 1))
    }

    /// As [`Counter::scoped`].
    pub fn scoped(scope: &str, name: &str, rest: &str) -> Self {
        Self::new(&scoped(scope, name, rest))
    }

    pub fn inc(self) {
        add(self.0, 1);
    }

    pub fn dec(self) {
        add(self.0, u64::MAX);
    }

    /// From one value to another, for who sets it alone.
    pub fn change(self, from: u64, to: u64) {
        add(self.0, to.wrapping_sub(from));
    }

    pub fn value(self) -> u64 {
        let threads = lock(registry()).threads.clone();
        sum(&threads, self.0)
    }
}

/// Upper bounds of the buckets, Istio's and Envoy's defaults (milliseconds or bytes).
pub const BUCKETS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// Observations by bucket; the sum is kept in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram(u32);

impl Histogram {
    pub fn new(name: &str) -> Self {
        Self(register(name, Kind::Histogram, BUCKETS.len() as u32 + 2))
    }

    /// As [`Counter::scoped`].
    pub fn scoped(scope: &str, name: &str, rest: &str) -> Self {
        Self::new(&scoped(scope, name, rest))
    }

    pub fn record(self, value: f64) {
        let bucket = BUCKETS.partition_point(|bound| *bound < value) as u32;
        add(self.0 + bucket, 1);
        add(self.0 + BUCKETS.len() as u32 + 1, (value * 1000.0) as u64);
    }
}

/// One metric as a scrape sees it.
pub enum Sample {
    Counter(u64),
    Gauge(u64),
    /// Counts by bucket (not cumulative, the last is beyond all bounds), and the sum.
    Histogram(Vec<u64>, f64),
}

/// Every registered metric in the order of names.
pub fn snapshot() -> Vec<(Box<str>, Sample)> {
    let (names, threads) = {
        let registry = lock(registry());
        (registry.names.clone(), registry.threads.clone())
    };
    let mut all: Vec<_> = names
        .into_iter()
        .map(|(name, (kind, slot))| {
            let sample = match kind {
                Kind::Counter => Sample::Counter(sum(&threads, slot)),
                Kind::Gauge => Sample::Gauge(sum(&threads, slot)),
                Kind::Histogram => {
                    let buckets = BUCKETS.len() as u32 + 1;
                    Sample::Histogram(
                        (0..buckets).map(|i| sum(&threads, slot + i)).collect(),
                        sum(&threads, slot + buckets) as f64 / 1000.0,
                    )
                }
            };
            (name, sample)
        })
        .collect();
    all.extend(super::live::samples());
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up_and_outlive_their_thread() {
        let counter = Counter::new("test.adds_up");
        let gauge = Gauge::new("test.gauge");
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(move || {
                    for _ in 0..1000 {
                        counter.inc();
                        gauge.inc();
                    }
                    for _ in 0..900 {
                        gauge.dec();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(counter.value(), 4000);
        assert_eq!(gauge.value(), 400);
        assert_eq!(Counter::new("test.adds_up"), counter);
    }

    #[test]
    fn histogram_buckets_are_upper_bounds() {
        let histogram = Histogram::new("test.histogram");
        for value in [0.5, 0.6, 5.0, 1e9] {
            histogram.record(value);
        }
        let (_, sample) = snapshot()
            .into_iter()
            .find(|(name, _)| &**name == "test.histogram")
            .unwrap();
        let Sample::Histogram(buckets, sum) = sample else {
            panic!("not a histogram")
        };
        assert_eq!(buckets[..3], [1, 1, 1]);
        assert_eq!(buckets[BUCKETS.len()], 1);
        assert!((sum - 1_000_000_006.1).abs() < 0.01);
    }
}
