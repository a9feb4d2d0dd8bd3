//! The client's task: one stream after the other, with growing pauses between
//! those that fail.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::delta::Delta;
use super::session::{self, Memory};
use super::sotw::Sotw;
use super::{ClientOptions, Mode, Shared, Status, Update};

/// A stream that lived this long was a good one: the next pause is short again.
const GOOD_STREAM: Duration = Duration::from_secs(5);

pub async fn run(
    options: ClientOptions,
    shared: Arc<Shared>,
    updates: mpsc::Sender<Update>,
    status: watch::Sender<Status>,
    stop: CancellationToken,
) {
    tokio::select! {
        () = keep_connected(&options, &shared, &updates, &status) => {}
        () = stop.cancelled() => {}
        () = updates.closed() => {}
    }
}

async fn keep_connected(
    options: &ClientOptions,
    shared: &Shared,
    updates: &mpsc::Sender<Update>,
    status: &watch::Sender<Status>,
) {
    let mut memory = Memory {
        accepted: HashMap::new(),
        unanswered: FuturesUnordered::new(),
        session: 0,
    };
    let mut pause = options.initial_backoff;
    // A server expects a request soon after the stream is opened.
    while nothing_wanted(shared) {
        shared.changed.notified().await;
    }
    loop {
        let started = Instant::now();
        let error = match options.mode {
            Mode::Delta => {
                session::run::<Delta>(options, shared, updates, status, &mut memory).await
            }
            Mode::StateOfTheWorld => {
                session::run::<Sotw>(options, shared, updates, status, &mut memory).await
            }
        };
        disconnected(options, status, error);
        if started.elapsed() >= GOOD_STREAM {
            pause = options.initial_backoff;
        }
        // Half of the pause is random, or all clients of a restarted server
        // would come back at once.
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(options.max_backoff);
    }
}

fn nothing_wanted(shared: &Shared) -> bool {
    let interests = shared
        .interests
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    interests.iter().all(|(_, wanted)| wanted.is_empty())
}

fn disconnected(options: &ClientOptions, status: &watch::Sender<Status>, error: String) {
    status.send_modify(|status| {
        let (since, attempts) = match status {
            Status::Connected { .. } => {
                warn!(endpoint = %options.endpoint, "lost the server: {error}");
                (SystemTime::now(), 0)
            }
            Status::Disconnected {
                since,
                attempts,
                last_error,
            } => {
                // Once for each new reason, not for each attempt.
                if last_error.as_ref() != Some(&error) {
                    info!(endpoint = %options.endpoint, "cannot reach the server: {error}");
                }
                (*since, attempts.saturating_add(1))
            }
        };
        *status = Status::Disconnected {
            since,
            attempts,
            last_error: Some(error),
        };
    });
}
