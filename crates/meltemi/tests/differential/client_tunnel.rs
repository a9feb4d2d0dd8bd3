//! The client that asks for a tunnel over HTTP/2 (RFC 9113 8.5, RFC 8441).

use super::client::{Answer, PATIENCE, Received, pairs};
use hyper::body::Bytes;
use std::time::Duration;
use tokio::time::timeout;

/// For a server to say that it takes extended CONNECT; one that never does is asked all the
/// same.
const OFFER: Duration = Duration::from_millis(300);

/// Asks, and when it is accepted sends `then` and waits for as many bytes to come back.
pub async fn ask(
    port: u16,
    request: http::Request<()>,
    then: &'static [u8],
) -> Result<Received, String> {
    let asked = timeout(PATIENCE, tunnel(port, request, then)).await;
    let asked = asked.map_err(|_| "no answer".to_owned())?;
    asked.map_err(|error| error.to_string())
}

async fn tunnel(
    port: u16,
    request: http::Request<()>,
    then: &'static [u8],
) -> Result<Received, Box<dyn std::error::Error>> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let (client, connection) = h2::client::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await?;
    if request.extensions().get::<h2::ext::Protocol>().is_some() {
        let offered = async {
            while !client.is_extended_connect_protocol_enabled() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = timeout(OFFER, offered).await;
    }
    let mut received = Received::default();
    let (answer, mut out) = client.send_request(request, false)?;
    match answer.await {
        Err(error) => received.end = error.to_string(),
        Ok(answer) => {
            let (head, mut body) = answer.into_parts();
            let mut answer = Answer {
                status: head.status.as_u16(),
                headers: pairs(&head.headers),
                ..Answer::default()
            };
            let accepted = head.status.is_success();
            if accepted {
                out.send_data(Bytes::from_static(then), false)?;
            }
            while !accepted || answer.body.len() < then.len() {
                match body.data().await {
                    Some(Ok(data)) => {
                        body.flow_control().release_capacity(data.len())?;
                        answer.body.extend_from_slice(&data);
                    }
                    Some(Err(error)) => {
                        received.end = error.to_string();
                        break;
                    }
                    None => break,
                }
            }
            received.answers.push(answer);
        }
    }
    connection.abort();
    Ok(received)
}
