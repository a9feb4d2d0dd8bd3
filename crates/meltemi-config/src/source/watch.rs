//! Watching: when to look at the directories again.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use inotify::{EventStream, Inotify, WatchDescriptor, WatchMask};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_stream::StreamExt as _;

use super::catalog::{Catalog, Scanned};
use super::{Directory, Published, SourceOptions};

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
        let debounce = (options.debounce, options.max_debounce);
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
            watched: HashSet::new(),
            polling: false,
            rescan,
            debounce,
        };
        let (first, wait) = watcher.look().await?;
        let (sender, published) = watch::channel(first);
        let (refresh, requests) = mpsc::channel(REFRESH_QUEUE);
        let task = tokio::spawn(watcher.run(sender, requests, wait));
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
    watched: HashSet<WatchDescriptor>,
    /// Some directory cannot be watched.
    polling: bool,
    rescan: Duration,
    debounce: (Duration, Duration),
}

impl Watcher {
    async fn run(
        mut self,
        sender: watch::Sender<Arc<Published>>,
        mut requests: mpsc::Receiver<oneshot::Sender<Arc<Published>>>,
        mut wait: Duration,
    ) {
        loop {
            let mut answers = Vec::new();
            tokio::select! {
                request = requests.recv() => match request {
                    Some(answer) => answers.push(answer),
                    None => return,
                },
                () = next_event(&mut self.events) => self.settle().await,
                () = sleep_until(Instant::now() + wait) => {}
            }
            while let Ok(answer) = requests.try_recv() {
                answers.push(answer);
            }
            let published = match self.look().await {
                Ok((published, next)) => {
                    wait = next;
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
        }
    }

    /// Waits until a burst of events is over.
    async fn settle(&mut self) {
        let (quiet, longest) = self.debounce;
        let latest = Instant::now() + longest;
        loop {
            let until = (Instant::now() + quiet).min(latest);
            let quiet = timeout_at(until, next_event(&mut self.events))
                .await
                .is_err();
            if quiet || Instant::now() >= latest {
                return;
            }
        }
    }

    /// Reads what changed, and watches what is new. A directory that is watched for the first
    /// time is read again: files may have come between the reading and the watching.
    async fn look(&mut self) -> io::Result<(Arc<Published>, Duration)> {
        loop {
            let mut catalog = self
                .catalog
                .take()
                .ok_or_else(|| io::Error::other("no catalog"))?;
            let (catalog, scanned) = tokio::task::spawn_blocking(move || {
                let scanned = catalog.scan();
                (catalog, scanned)
            })
            .await
            .map_err(io::Error::other)?;
            self.catalog = Some(catalog);
            if !self.watch(&scanned) {
                let wait = if scanned.racy {
                    RACY_RESCAN
                } else if self.polling || scanned.missing {
                    self.rescan
                } else {
                    SAFETY_RESCAN
                };
                return Ok((scanned.published, wait));
            }
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
        let mut current = HashSet::with_capacity(scanned.directories.len());
        let mut failed = false;
        for directory in &scanned.directories {
            match watches.add(directory, mask) {
                Ok(descriptor) => {
                    current.insert(descriptor);
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
        let new = !current.is_subset(&self.watched);
        for gone in self.watched.difference(&current) {
            // The kernel has removed it already when the directory itself is gone.
            let _ = watches.remove(gone.clone());
        }
        self.watched = current;
        new
    }
}

/// The next event; never, when there are none to come.
async fn next_event(events: &mut Option<EventStream<Vec<u8>>>) {
    if let Some(stream) = events {
        match stream.next().await {
            Some(Ok(_)) => return,
            Some(Err(error)) => {
                // An overflow arrives as an event; an error means the descriptor is of no use.
                tracing::warn!(%error, "watching failed");
                return;
            }
            None => *events = None,
        }
    }
    std::future::pending().await
}
