//! Reading the application's own metrics, from inside its namespace.

use crate::net::{netns, sockets};
use crate::options::ApplicationMetrics;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tokio::net::TcpSocket;

/// Bound on the whole scrape: the collector waits for us.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Bound on the application's answer.
const MAX: usize = 8 * 1024 * 1024;

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub async fn application(
    target: &ApplicationMetrics,
    namespace: Option<&OwnedFd>,
) -> Result<String, Failure> {
    tokio::time::timeout(TIMEOUT, fetch(target, namespace))
        .await
        .map_err(|_| format!("no answer within {} ms", TIMEOUT.as_millis()))?
}

async fn fetch(
    target: &ApplicationMetrics,
    namespace: Option<&OwnedFd>,
) -> Result<String, Failure> {
    let socket = netns::run(namespace.map(AsFd::as_fd), || {
        sockets::tcp(socket2::Domain::IPV4)
    })?;
    let stream = TcpSocket::from_std_stream(socket.into())
        .connect((Ipv4Addr::LOCALHOST, target.port).into())
        .await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = http::Request::get(&target.path)
        .header(http::header::HOST, format!("localhost:{}", target.port))
        .header(http::header::ACCEPT, "text/plain;version=0.0.4")
        .body(Empty::<bytes::Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        if !response.status().is_success() {
            return Err(format!("it answered {}", response.status()).into());
        }
        let body = Limited::new(response.into_body(), MAX)
            .collect()
            .await?
            .to_bytes();
        Ok::<_, Failure>(String::from_utf8_lossy(&body).into_owned())
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        result = &mut exchange => result,
        closed = connection => {
            closed?;
            exchange.await
        }
    }
}
