//! Watching: when to look at the directories again.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use inotify::{Event, EventMask, EventStream, Inotify, WatchDescriptor, WatchMask};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_stream::StreamExt as _;

use super::catalog::{Catalog, Look, Scanned};
use super::{Directory, Published, SourceOptions};

/// Quiet time after a change before files are read.
const QUIET: Duration = Duration::from_millis(10);
/// Longest time from a change until files are read.
const LONGEST: Duration = Duration::from_millis(500);
/// Even with watches the directories are looked at this often: a bind mount or a network
/// file system may change without an event.
const SAFETY_RESCAN: Duration = Duration::from_secs(30);
/// A file that changed while it was read is read again after this time.
const RACY_RESCAN: Duration = Duration::from_millis(150);
/// Requests for a look that may wait.
const REFRESH_QUEUE: usize = 64;
/// Bytes for events of one read.
const EVENT_BUFFER: usize = 16 * 1024;

/// Directories that are watched. Dropping it ends the watching.
#[derive(Debug)]
pub struct DirectorySource {
    published: watch::Receiver<Arc<Published>>,
    refresh: mpsc::Sender<oneshot::Sender<Arc<Published>>>,
    task: JoinHandle<()>,
}

impl Drop for DirectorySource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl DirectorySource {
    /// Reads the directories and starts to watch them. The first result is there when this
    /// returns.
    ///
    /// # Errors
    /// Only when the reading itself fails to run; what is wrong with files is published.
    pub async fn open(directories: Vec<Directory>, options: SourceOptions) -> io::Result<Self> {
        let rescan = options.rescan;
        let events = match Inotify::init().and_then(|i| i.into_event_stream(vec![0; EVENT_BUFFER]))
        {
            Ok(events) => Some(events),
            Err(error) => {
                tracing::warn!(%error, "no inotify; directories are read every {rescan:?}");
                None
            }
        };
        let mut watcher = Watcher {
            catalog: Some(Catalog::new(directories, options)),
            events,
            watched: HashMap::new(),
            heard: Heard {
                all: true,
                ..Heard::default()
            },
            polling: false,
            rescan,
        };
        let (first, next) = watcher.look().await?;
        watcher.keep().await?;
        let (sender, published) = watch::channel(first);
        let (refresh, requests) = mpsc::channel(REFRESH_QUEUE);
        let task = tokio::spawn(watcher.run(sender, requests, next));
        Ok(Self {
            published,
            refresh,
            task,
        })
    }

    /// What the source says, now and from now on.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Published>> {
        self.published.clone()
    }

    /// What the source says now.
    pub fn current(&self) -> Arc<Published> {
        Arc::clone(&self.published.borrow())
    }

    /// Looks at the directories at once, for example after an edit, and returns what the
    /// source says then.
    pub async fn refresh(&self) -> Arc<Published> {
        let (answer, answered) = oneshot::channel();
        if self.refresh.send(answer).await.is_ok()
            && let Ok(published) = answered.await
        {
            return published;
        }
        self.current()
    }
}

struct Watcher {
    /// Absent only while a scan runs on a blocking thread.
    catalog: Option<Catalog>,
    events: Option<EventStream<Vec<u8>>>,
    watched: HashMap<WatchDescriptor, PathBuf>,
    heard: Heard,
    /// Some directory cannot be watched.
    polling: bool,
    rescan: Duration,
}

/// What events have told since the last look.
#[derive(Default)]
struct Heard {
    /// More may be different than the content of these files.
    all: bool,
    files: BTreeSet<PathBuf>,
    /// Files that were written to and not closed.
    writing: BTreeSet<PathBuf>,
}

impl Heard {
    fn hear(&mut self, event: &Event<OsString>, watched: &HashMap<WatchDescriptor, PathBuf>) {
        let content = EventMask::MODIFY | EventMask::CLOSE_WRITE | EventMask::MOVED_TO;
        let (Some(directory), Some(name)) = (watched.get(&event.wd), &event.name) else {
            self.all = true;
            return;
        };
        // A hidden name is nobody's configuration, but moved into place it may be what links
        // lead through (a kubelet's `..data`).
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if hidden && !event.mask.contains(EventMask::MOVED_TO) {
            return;
        }
        let path = directory.join(name);
        if event.mask == EventMask::MODIFY {
            self.writing.insert(path.clone());
        } else {
            self.writing.remove(&path);
        }
        if content.contains(event.mask) && !hidden {
            self.files.insert(path);
        } else {
            self.all = true;
        }
    }
}

impl Watcher {
    async fn run(
        mut self,
        sender: watch::Sender<Arc<Published>>,
        mut requests: mpsc::Receiver<oneshot::Sender<Arc<Published>>>,
        mut next: Next,
    ) {
        loop {
            let mut answers = Vec::new();
            tokio::select! {
                request = requests.recv() => match request {
                    Some(answer) => {
                        answers.push(answer);
                        self.heard.all = true;
                        self.settle(None).await;
                    }
                    None => return,
                },
                event = next_event(&mut self.events) => self.settle(Some(event)).await,
                () = sleep_until(Instant::now() + next.wait) => {
                    self.heard.all |= next.files.is_empty();
                    self.heard.files.append(&mut next.files);
                }
            }
            while let Ok(answer) = requests.try_recv() {
                answers.push(answer);
                self.heard.all = true;
            }
            // Those that wait for another look must not be forgotten.
            self.heard.files.append(&mut next.files);
            let published = match self.look().await {
                Ok((published, then)) => {
                    next = then;
                    published
                }
                Err(error) => {
                    tracing::error!(%error, "reading the configuration failed; it stays as it is");
                    return;
                }
            };
            sender.send_if_modified(|current| {
                let changed = !Arc::ptr_eq(current, &published);
                *current = Arc::clone(&published);
                changed
            });
            for answer in answers {
                // The one who asked may have gone away.
                let _ = answer.send(Arc::clone(&published));
            }
            if let Err(error) = self.keep().await {
                tracing::error!(%error, "reading the configuration failed; it stays as it is");
                return;
            }
        }
    }

    /// Waits until a burst of events is over and what was opened for writing is closed.
    async fn settle(&mut self, mut event: Option<Option<Event<OsString>>>) {
        let latest = Instant::now() + LONGEST;
        loop {
            match event {
                Some(Some(event)) => self.heard.hear(&event, &self.watched),
                // Events were lost.
                Some(None) => self.heard.all = true,
                None => {}
            }
            let now = Instant::now();
            let until = if self.heard.writing.is_empty() {
                latest.min(now + QUIET)
            } else {
                latest
            };
            event = timeout_at(until, next_event(&mut self.events)).await.ok();
            if event.is_none() || now >= latest {
                return;
            }
        }
    }

    /// Writes down what is in force, after those who wait for it have it.
    async fn keep(&mut self) -> io::Result<()> {
        let mut catalog = self.take_catalog()?;
        let kept = tokio::task::spawn_blocking(move || {
            catalog.keep();
            catalog
        });
        self.catalog = Some(kept.await.map_err(io::Error::other)?);
        Ok(())
    }

    fn take_catalog(&mut self) -> io::Result<Catalog> {
        let catalog = self.catalog.take();
        catalog.ok_or_else(|| io::Error::other("no catalog"))
    }

    /// Reads what changed, and watches what is new. A directory that is watched for the first
    /// time is read again: files may have come between the reading and the watching.
    async fn look(&mut self) -> io::Result<(Arc<Published>, Next)> {
        loop {
            let heard = std::mem::take(&mut self.heard);
            let writing = heard.writing.clone();
            let mut catalog = self.take_catalog()?;
            let (catalog, scanned) = tokio::task::spawn_blocking(move || {
                let look = match heard.all {
                    true => Look::All,
                    false => Look::Files(&heard.files),
                };
                let scanned = catalog.scan(&look, &heard.writing);
                (catalog, scanned)
            })
            .await
            .map_err(io::Error::other)?;
            self.catalog = Some(catalog);
            // Who holds a file open without writing to it is waited for no longer.
            self.heard.writing = writing;
            self.heard
                .writing
                .retain(|path| scanned.racy.contains(path));
            if self.watch(&scanned) {
                self.heard.all = true;
                continue;
            }
            let wait = if !scanned.racy.is_empty() {
                RACY_RESCAN
            } else if self.polling || scanned.missing {
                self.rescan
            } else {
                SAFETY_RESCAN
            };
            let next = Next {
                wait,
                files: scanned.racy,
            };
            return Ok((scanned.published, next));
        }
    }

    /// Watches the directories; whether one of them is new.
    fn watch(&mut self, scanned: &Scanned) -> bool {
        let Some(events) = &self.events else {
            self.polling = true;
            return false;
        };
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MODIFY
            | WatchMask::MOVE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let mut watches = events.watches();
        let mut current = HashMap::with_capacity(scanned.directories.len());
        let mut failed = false;
        for directory in &scanned.directories {
            match watches.add(directory, mask) {
                Ok(descriptor) => {
                    current.insert(descriptor, directory.clone());
                }
                Err(error) => {
                    failed = true;
                    if !self.polling {
                        let every = self.rescan;
                        tracing::warn!(
                            directory = %directory.display(),
                            %error,
                            "cannot be watched; directories are read every {every:?}"
                        );
                    }
                }
            }
        }
        self.polling = failed;
        let new = current.keys().any(|key| !self.watched.contains_key(key));
        for gone in self.watched.keys().filter(|key| !current.contains_key(key)) {
            // The kernel has removed it already when the directory itself is gone.
            let _ = watches.remove(gone.clone());
        }
        self.watched = current;
        new
    }
}

/// When to look again without having heard anything, and at which files; all of them if none.
struct Next {
    wait: Duration,
    files: BTreeSet<PathBuf>,
}

/// The next event; none where some were lost; never, when there are none to come.
async fn next_event(events: &mut Option<EventStream<Vec<u8>>>) -> Option<Event<OsString>> {
    if let Some(stream) = events {
        match stream.next().await {
            Some(Ok(event)) if event.mask.contains(EventMask::Q_OVERFLOW) => return None,
            Some(Ok(event)) => return Some(event),
            Some(Err(error)) => {
                // An overflow arrives as an event; an error means the descriptor is of no use.
                tracing::warn!(%error, "watching failed");
                return None;
            }
            None => *events = None,
        }
    }
    std::future::pending().await
}
