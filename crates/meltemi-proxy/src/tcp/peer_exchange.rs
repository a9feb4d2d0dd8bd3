//! Istio's metadata exchange over TCP, for connections whose TLS negotiated the protocol
//! `istio-peer-exchange`: before the application's bytes each side sends
//!
//! ```text
//! magic 0x3D230467 (4 bytes, big endian) | length (4 bytes, big endian) | metadata
//! ```
//!
//! where the metadata is a protobuf `Any` of a `Struct` with `x-envoy-peer-metadata` (a
//! `Struct`) and `x-envoy-peer-metadata-id`. Both sides send at once and never wait for
//! the other's before their own, so server-first protocols work.

use crate::net::Stream;
use crate::telemetry::{PeerInfo, peer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Any, Struct, Value};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The ALPN protocol that stands for it.
pub const ALPN: &[u8] = b"istio-peer-exchange";
const MAGIC: u32 = 0x3D23_0467;
/// Bound on the peer's metadata.
const MAX: u32 = 64 * 1024;
/// Bound on the exchange; the peer sends without waiting for anybody.
const TIMEOUT: Duration = Duration::from_secs(10);
const STRUCT_URL: &str = "type.googleapis.com/google.protobuf.Struct";
const METADATA: &str = "x-envoy-peer-metadata";
const METADATA_ID: &str = "x-envoy-peer-metadata-id";

/// Sends our metadata and takes the peer's in; what follows on the stream is the
/// application's. `None` when the peer's metadata cannot be understood.
///
/// # Errors
/// The connection broke, or the peer sent something else after it had negotiated this.
pub async fn exchange(stream: &mut Stream) -> io::Result<Option<Arc<PeerInfo>>> {
    let work = async {
        stream.write_all(&own()).await?;
        stream.flush().await?;
        let mut head = [0; 8];
        stream.read_exact(&mut head).await?;
        let length = length(head)?;
        let mut metadata = vec![0; length];
        stream.read_exact(&mut metadata).await?;
        Ok(understand(&metadata))
    };
    tokio::time::timeout(TIMEOUT, work)
        .await
        .unwrap_or_else(|_| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the peer sent no metadata",
            ))
        })
}

fn length(head: [u8; 8]) -> io::Result<usize> {
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if word(0) != MAGIC || word(4) > MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the peer negotiated istio-peer-exchange and sent something else",
        ));
    }
    Ok(word(4) as usize)
}

fn own() -> Vec<u8> {
    let mut fields = Struct::default();
    if let Some(local) = peer::local() {
        let metadata = STANDARD
            .decode(local.metadata.as_bytes())
            .ok()
            .and_then(|bytes| Struct::decode(bytes.as_slice()).ok());
        if let Some(metadata) = metadata {
            fields
                .fields
                .insert(METADATA.into(), value(Kind::StructValue(metadata)));
        }
        let id = String::from_utf8_lossy(local.id.as_bytes()).into_owned();
        fields
            .fields
            .insert(METADATA_ID.into(), value(Kind::StringValue(id)));
    }
    let any = Any {
        type_url: STRUCT_URL.into(),
        value: fields.encode_to_vec(),
    }
    .encode_to_vec();
    let mut out = Vec::with_capacity(8 + any.len());
    out.extend_from_slice(&MAGIC.to_be_bytes());
    out.extend_from_slice(&(any.len() as u32).to_be_bytes());
    out.extend_from_slice(&any);
    out
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn understand(bytes: &[u8]) -> Option<Arc<PeerInfo>> {
    let any = Any::decode(bytes).ok()?;
    let fields = Struct::decode(any.value.as_slice()).ok()?;
    let Some(Kind::StructValue(metadata)) = &fields.fields.get(METADATA)?.kind else {
        return None;
    };
    let text = STANDARD.encode(metadata.encode_to_vec());
    peer::decode(&HeaderValue::from_str(&text).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn both_sides_send_first_and_the_application_bytes_follow() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut a, mut b) = (Stream::from(a), Stream::from(b));
        let (left, right) = tokio::join!(exchange(&mut a), exchange(&mut b));
        left.unwrap();
        right.unwrap();
        a.write_all(b"data").await.unwrap();
        let mut data = [0; 4];
        b.read_exact(&mut data).await.unwrap();
        assert_eq!(&data, b"data");
    }

    #[tokio::test]
    async fn something_else_is_an_error() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut a, mut b) = (Stream::from(a), Stream::from(b));
        b.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(
            exchange(&mut a).await.unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        assert!(length(*b"\x3d\x23\x04\x67\xff\xff\xff\xff").is_err());
    }
}
