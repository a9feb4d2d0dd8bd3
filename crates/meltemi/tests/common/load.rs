//! Load in the background: connections that are kept, each request's answer looked at.

use super::http::{Request, Response, connect, exchange};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Most requests of one load, so that a forgotten one ends.
const MAX_REQUESTS: usize = 200_000;
/// Failures that are kept word for word.
const MAX_TOLD: usize = 10;

/// What became of the requests.
#[derive(Default, Debug)]
pub struct Tally {
    pub succeeded: usize,
    pub failed: usize,
    /// Connections that the server closed between two requests, without announcing it.
    pub dropped: usize,
    /// The first failures, with the second they happened in.
    pub told: Vec<String>,
}

pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<Tally>>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Load {
    /// Sends `request` on `connections` connections, each waiting for one answer before the
    /// next request, `pause` between them. `judge` says what is wrong with an answer.
    pub fn start(
        request: Request,
        connections: usize,
        pause: Duration,
        judge: fn(&Response) -> Result<(), String>,
    ) -> Self {
        let (stop, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let port = request.port();
        let (flag, count) = (stop.clone(), sent.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime needs nothing but descriptors");
            runtime.block_on(async move {
                let begun = Instant::now();
                let client = |_| {
                    let (request, flag, count) = (request.clone(), flag.clone(), count.clone());
                    tokio::spawn(client(port, request, pause, judge, flag, count, begun))
                };
                let clients: Vec<_> = (0..connections).map(client).collect();
                let mut total = Tally::default();
                for client in clients {
                    let tally = client.await.expect("a client does not panic");
                    total.succeeded += tally.succeeded;
                    total.failed += tally.failed;
                    total.dropped += tally.dropped;
                    total.told.extend(tally.told);
                }
                total
            })
        });
        let thread = Some(thread);
        Self { stop, sent, thread }
    }

    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until that many more requests were sent.
    pub fn wait_for(&self, requests: usize) {
        let goal = self.sent() + requests;
        super::wait::until_true("the load", Duration::from_secs(60), || self.sent() >= goal);
    }

    pub fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("a load is stopped once");
        thread.join().expect("the load does not panic")
    }

    /// Ends the load.
    ///
    /// # Panics
    /// When a request failed, a connection was dropped, or no request was sent.
    pub fn expect_no_failure(self, what: &str) -> usize {
        let tally = self.stop();
        assert_eq!((tally.failed, tally.dropped), (0, 0), "{what}: {tally:#?}");
        assert!(tally.succeeded > 0, "{what}: no request was sent");
        tally.succeeded
    }
}

async fn client(
    port: u16,
    request: Request,
    pause: Duration,
    judge: fn(&Response) -> Result<(), String>,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    begun: Instant,
) -> Tally {
    let mut tally = Tally::default();
    let mut kept = None;
    while !stop.load(Ordering::Relaxed) && sent.load(Ordering::Relaxed) < MAX_REQUESTS {
        let result = once(&mut kept, &mut tally.dropped, port, &request).await;
        sent.fetch_add(1, Ordering::Relaxed);
        match result.and_then(|response| judge(&response)) {
            Ok(()) => tally.succeeded += 1,
            Err(reason) => {
                kept = None;
                tally.failed += 1;
                if tally.told.len() < MAX_TOLD {
                    tally
                        .told
                        .push(format!("{:.2} s: {reason}", begun.elapsed().as_secs_f64()));
                }
                // A server that is gone is not asked a thousand times a second.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        tokio::time::sleep(pause).await;
    }
    tally
}

/// Uses the kept connection unless the server announced or made its end.
async fn once(
    kept: &mut Option<super::http::Connection>,
    dropped: &mut usize,
    port: u16,
    request: &Request,
) -> Result<Response, String> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => connect(port).await?,
    };
    if !connection.ready().await {
        *dropped += 1;
        connection = connect(port).await?;
    }
    let response = exchange(&mut connection, request).await?;
    if !response.header("connection").eq_ignore_ascii_case("close") {
        *kept = Some(connection);
    }
    Ok(response)
}

/// Good is 200.
pub fn is_200(response: &Response) -> Result<(), String> {
    match response.status {
        200 => Ok(()),
        status => Err(format!(
            "{status}: {}",
            response.body.chars().take(200).collect::<String>()
        )),
    }
}
