//! A WebSocket (RFC 6455) that sends back every message, to try upgrades through a mesh.

use futures_util::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::reply::{self, Reply};

/// Longest message echoed.
const MAX_MESSAGE: usize = 64 << 10;

/// The answer that opens the WebSocket, or 400/426 for a request that does not ask for one.
pub(crate) fn upgrade(mut request: Request<Incoming>) -> Reply {
    let headers = request.headers();
    if !has_token(headers, UPGRADE.as_str(), "websocket")
        || !has_token(headers, CONNECTION.as_str(), "upgrade")
    {
        let mut refusal = reply::plain(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket\n");
        refusal
            .headers_mut()
            .insert(UPGRADE, HeaderValue::from_static("websocket"));
        return refusal;
    }
    let key = headers.get(SEC_WEBSOCKET_KEY);
    let (Some(key), Some(b"13")) = (
        key,
        headers
            .get(SEC_WEBSOCKET_VERSION)
            .map(HeaderValue::as_bytes),
    ) else {
        return reply::plain(
            StatusCode::BAD_REQUEST,
            "Sec-WebSocket-Key and Sec-WebSocket-Version 13 are needed\n",
        );
    };
    let accept = derive_accept_key(key.as_bytes());
    tokio::spawn(echo(hyper::upgrade::on(&mut request)));
    let mut opened = reply::plain(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = opened.headers_mut();
    headers.clear();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        SEC_WEBSOCKET_ACCEPT,
        accept.parse().expect("base64 is a header value"),
    );
    opened
}

fn has_token(headers: &HeaderMap, name: &str, token: &str) -> bool {
    let lines = headers
        .get_all(name)
        .into_iter()
        .filter_map(|v| v.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .any(|t| t.trim().eq_ignore_ascii_case(token))
}

async fn echo(upgrade: OnUpgrade) {
    let io = match upgrade.await {
        Ok(io) => TokioIo::new(io),
        Err(e) => return tracing::debug!("upgrade: {e}"),
    };
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(limits)).await;
    while let Some(message) = socket.next().await {
        let sent = match message {
            Ok(message) if message.is_text() || message.is_binary() => socket.send(message).await,
            // Pings and closes are answered by the library on the next read.
            Ok(_) => continue,
            Err(e) => Err(e),
        };
        if let Err(e) = sent {
            return tracing::debug!("websocket: {e}");
        }
    }
}
