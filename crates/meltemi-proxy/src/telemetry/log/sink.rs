//! Where lines go. A worker appends to a buffer of its own thread; one writer thread
//! empties all buffers at most every 100 ms, and sleeps while there is nothing to do.

use crate::model::LogSink;
use crate::telemetry::stats::Counter;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Bound on what one thread may hold for one sink; lines beyond it are dropped and
/// counted in `access_log.dropped`.
const MAX_BUFFER: usize = 1 << 20;
/// How long a line may wait for its write.
const INTERVAL: Duration = Duration::from_millis(100);

type Buffer = Arc<Mutex<String>>;

#[derive(Default)]
struct Shared {
    buffers: Vec<(LogSink, Buffer)>,
    dirty: bool,
}

struct Writer {
    shared: Mutex<Shared>,
    wake: Condvar,
    /// Held while buffers are taken and written, so that `flush` returns after the write.
    files: Mutex<HashMap<PathBuf, File>>,
}

fn writer() -> &'static Writer {
    static WRITER: OnceLock<&'static Writer> = OnceLock::new();
    WRITER.get_or_init(|| {
        let writer: &'static Writer = Box::leak(Box::new(Writer {
            shared: Mutex::default(),
            wake: Condvar::new(),
            files: Mutex::default(),
        }));
        let started = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || run(writer));
        if let Err(error) = started {
            tracing::error!(%error, "no thread for the access log: lines are lost");
        }
        writer
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static LOCAL: std::cell::RefCell<Vec<(LogSink, Buffer)>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Appends what `line` writes to the sink's buffer of this thread.
pub(super) fn write(sink: &LogSink, line: impl FnOnce(&mut String)) {
    let was_empty = LOCAL.with_borrow_mut(|local| {
        let index = match local.iter().position(|(known, _)| known == sink) {
            Some(index) => index,
            None => {
                let buffer = Buffer::default();
                lock(&writer().shared)
                    .buffers
                    .push((sink.clone(), buffer.clone()));
                local.push((sink.clone(), buffer));
                local.len() - 1
            }
        };
        let mut buffer = lock(&local[index].1);
        if buffer.len() >= MAX_BUFFER {
            dropped().inc();
            return false;
        }
        let was_empty = buffer.is_empty();
        line(&mut buffer);
        was_empty
    });
    if was_empty {
        let writer = writer();
        lock(&writer.shared).dirty = true;
        writer.wake.notify_one();
    }
}

fn dropped() -> Counter {
    static DROPPED: OnceLock<Counter> = OnceLock::new();
    *DROPPED.get_or_init(|| Counter::new("access_log.dropped"))
}

/// Writes out all that is buffered; for the end of the process.
pub fn flush() {
    empty(writer());
}

fn run(writer: &'static Writer) {
    loop {
        let mut shared = lock(&writer.shared);
        while !shared.dirty {
            shared = writer
                .wake
                .wait(shared)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(shared);
        std::thread::sleep(INTERVAL);
        empty(writer);
    }
}

fn empty(writer: &Writer) {
    let mut files = lock(&writer.files);
    let buffers = {
        let mut shared = lock(&writer.shared);
        shared.dirty = false;
        // A buffer whose thread has ended is dropped after its last lines.
        let buffers = shared.buffers.clone();
        shared
            .buffers
            .retain(|(_, buffer)| Arc::strong_count(buffer) > 2);
        buffers
    };
    for (sink, buffer) in buffers {
        let text = std::mem::take(&mut *lock(&buffer));
        if !text.is_empty()
            && let Err(error) = write_out(&sink, &mut files, text.as_bytes())
        {
            tracing::warn!(?sink, %error, "access log lines are lost");
        }
    }
}

fn write_out(
    sink: &LogSink,
    files: &mut HashMap<PathBuf, File>,
    bytes: &[u8],
) -> std::io::Result<()> {
    match sink {
        LogSink::Stdout => std::io::stdout().lock().write_all(bytes).and_then(|()| {
            // Rust's stdout is line buffered: the last line may be incomplete otherwise.
            std::io::stdout().flush()
        }),
        LogSink::Stderr => std::io::stderr().lock().write_all(bytes),
        LogSink::File(path) if path.as_os_str() == "/dev/null" => Ok(()),
        LogSink::File(path) => {
            let file = match files.entry(path.clone()) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    new.insert(OpenOptions::new().append(true).create(true).open(path)?)
                }
            };
            file.write_all(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ended_threads_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let sink = LogSink::File(path.clone());
        let threads: Vec<_> = (0..3)
            .map(|i| {
                let sink = sink.clone();
                std::thread::spawn(move || {
                    for _ in 0..100 {
                        write(&sink, |line| line.push_str(&format!("line of {i}\n")));
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        flush();
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 300);
    }
}
