//! A name server: names under `resolved.test` are 127.0.0.1, those under `external.test` are
//! somewhere, `empty.test` has no address, others do not exist.

use std::io;
use tokio::net::UdpSocket;

const ADDRESS: [u8; 4] = [127, 0, 0, 1];
const SOMEWHERE: [u8; 4] = [203, 0, 113, 30];
const NO_SUCH_NAME: u8 = 3;
const TYPE_A: u8 = 1;

/// Serves until the runtime ends; the port.
pub async fn start() -> io::Result<u16> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await?;
    let port = socket.local_addr()?.port();
    tokio::spawn(async move {
        let mut query = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut query).await {
            if let Some(answer) = answer(&query[..length]) {
                let _ = socket.send_to(&answer, client).await;
            }
        }
    });
    Ok(port)
}

/// RFC 1035, 4.1: the header, the question as it came, and an A record that points at it.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let (name, end) = name(query)?;
    let kind = *query.get(end + 1)?;
    let address = match () {
        () if name.ends_with("resolved.test") => Some(ADDRESS),
        () if name.ends_with("external.test") => Some(SOMEWHERE),
        () => None,
    };
    let exists = address.is_some() || name == "empty.test";
    let address = address.filter(|_| kind == TYPE_A);
    let mut answer = query.get(..end + 4)?.to_vec();
    answer[2..4].copy_from_slice(&[0x81, 0x80 | if exists { 0 } else { NO_SUCH_NAME }]);
    answer[6..12].copy_from_slice(&[0, u8::from(address.is_some()), 0, 0, 0, 0]);
    if let Some(address) = address {
        answer.extend_from_slice(&[0xc0, 12, 0, TYPE_A, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend_from_slice(&address);
    }
    Some(answer)
}

/// The question's name in lower case, and where its type stands.
fn name(query: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = query.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
}
