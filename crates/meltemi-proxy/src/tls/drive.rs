//! A handshake over a socket: rustls says what to send and when it needs more.

use super::client_hello::{TlsVerdict, client_hello};
use super::config::{self, Choice};
use crate::net::Socket;
use crate::net::tls::{Side, TlsStream, record_length};
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{CommonState, Error, ExtractedSecrets};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes asked of the socket at a time: a flight of certificates.
const READ: usize = 8 * 1024;
/// Bytes of a handshake that has not ended; certificate chains are its bulk.
const MAX_INCOMING: usize = 256 * 1024;

/// One end of a handshake.
pub(super) trait End {
    type Data;

    fn process<'c, 'i>(
        &'c mut self,
        received: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn state(&self) -> &CommonState;

    fn into_side(self) -> Result<(ExtractedSecrets, Side), Error>;
}

impl End for UnbufferedClientConnection {
    type Data = rustls::client::ClientConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        received: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(received)
    }

    fn state(&self) -> &CommonState {
        self
    }

    fn into_side(self) -> Result<(ExtractedSecrets, Side), Error> {
        let (secrets, side) = self.dangerous_into_kernel_connection()?;
        Ok((secrets, Side::Client(side)))
    }
}

/// A server, and the certificate that it chose.
pub(super) struct Server {
    connection: UnbufferedServerConnection,
    /// Whether the client asks for an OCSP response; `None` until its ClientHello is there.
    asks_staple: Option<bool>,
    pub choice: Option<Choice>,
}

impl Server {
    pub fn new(config: Arc<rustls::ServerConfig>) -> Result<Self, Error> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(config)?,
            asks_staple: None,
            choice: None,
        })
    }
}

impl End for Server {
    type Data = rustls::server::ServerConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        received: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        if self.asks_staple.is_none() {
            self.asks_staple = match client_hello(received) {
                TlsVerdict::NeedMore => None,
                TlsVerdict::NotTls | TlsVerdict::TooLarge => Some(false),
                TlsVerdict::Tls { asks_staple, .. } => Some(asks_staple),
            };
        }
        config::take_choice();
        config::asks_for_staple(self.asks_staple.unwrap_or_default());
        let status = self.connection.process_tls_records(received);
        if let Some(choice) = config::take_choice() {
            self.choice = Some(choice);
        }
        status
    }

    fn state(&self) -> &CommonState {
        &self.connection
    }

    fn into_side(self) -> Result<(ExtractedSecrets, Side), Error> {
        let (secrets, side) = self.connection.dangerous_into_kernel_connection()?;
        Ok((secrets, Side::Server(side)))
    }
}

/// A handshake under way.
pub(super) struct Handshake {
    socket: Socket,
    /// What was received and not used up.
    incoming: Vec<u8>,
    /// How much of it rustls was shown: whole records, one more at a time, so that it never
    /// takes in what follows the handshake.
    shown: usize,
    /// How much of it was used up when the handshake failed.
    used: usize,
    outgoing: Vec<u8>,
    /// The peer has got something.
    pub answered: bool,
}

/// What to do next.
enum Step {
    Again,
    Receive,
    /// Data may be sent, which is so before the end of some handshakes.
    Traffic,
}

impl Handshake {
    pub fn new(socket: Socket) -> Self {
        Self {
            socket,
            incoming: Vec::new(),
            shown: 0,
            used: 0,
            outgoing: Vec::new(),
            answered: false,
        }
    }

    /// Goes on until the handshake is done.
    ///
    /// # Errors
    /// rustls' error within one of kind `InvalidData`, or the socket's.
    pub async fn run<E: End>(&mut self, end: &mut E) -> io::Result<()> {
        loop {
            let status = end.process(&mut self.incoming[..self.shown]);
            let used = status.discard;
            let state = match status.state {
                Ok(state) => state,
                Err(error) => {
                    self.used = used;
                    return Err(invalid(error));
                }
            };
            let step = match state {
                ConnectionState::EncodeTlsData(data) => {
                    encode(data, &mut self.outgoing)?;
                    Step::Again
                }
                ConnectionState::TransmitTlsData(transmit) => {
                    self.answered = true;
                    self.socket.write_all(&self.outgoing).await?;
                    self.outgoing.clear();
                    transmit.done();
                    Step::Again
                }
                ConnectionState::BlockedHandshake => Step::Receive,
                ConnectionState::WriteTraffic(_) => Step::Traffic,
                ConnectionState::PeerClosed | ConnectionState::Closed => return Err(ended()),
                _ => return Err(invalid(Error::HandshakeNotComplete)),
            };
            self.incoming.drain(..used);
            self.shown -= used;
            match step {
                Step::Again => {}
                Step::Traffic if !end.state().is_handshaking() => return Ok(()),
                Step::Receive | Step::Traffic => self.show_more().await?,
            }
        }
    }

    /// Shows rustls one record more, or what is there of something that is no record.
    async fn show_more(&mut self) -> io::Result<()> {
        loop {
            let rest = &self.incoming[self.shown..];
            match record_length(rest) {
                Ok(Some(length)) if rest.len() >= length => {
                    self.shown += length;
                    return Ok(());
                }
                Ok(_) => {}
                Err(_) if !rest.is_empty() => {
                    self.shown = self.incoming.len();
                    return Ok(());
                }
                Err(error) => return Err(invalid(error)),
            }
            if self.incoming.len() > MAX_INCOMING {
                return Err(invalid(Error::PeerSentOversizedRecord));
            }
            self.incoming.reserve(READ);
            if self.socket.read_buf(&mut self.incoming).await? == 0 {
                return Err(ended());
            }
        }
    }

    /// Tells the peer why the handshake failed, as far as it listens.
    pub async fn refuse<E: End>(&mut self, end: &mut E) {
        self.outgoing.clear();
        self.incoming.drain(..self.used);
        self.shown -= self.used;
        // The alert. rustls must not be asked for more after it.
        if let Ok(ConnectionState::EncodeTlsData(data)) =
            end.process(&mut self.incoming[..self.shown]).state
        {
            // The reason is known here in any case, as below.
            let _ = encode(data, &mut self.outgoing);
        }
        let _ = self.socket.write_all(&self.outgoing).await;
    }

    /// The connection.
    ///
    /// # Errors
    /// rustls' error within one of kind `InvalidData`.
    pub fn finish<E: End>(self, end: E) -> io::Result<TlsStream> {
        let alpn: Option<Box<[u8]>> = end.state().alpn_protocol().map(Into::into);
        let (secrets, side) = end.into_side().map_err(invalid)?;
        let received = &self.incoming[self.shown..];
        TlsStream::new(self.socket, side, &secrets, alpn, received).map_err(invalid)
    }
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, outgoing: &mut Vec<u8>) -> io::Result<()> {
    let needed = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        Ok(_) => 0,
        Err(error) => return Err(io::Error::other(error)),
    };
    let before = outgoing.len();
    outgoing.resize(before + needed, 0);
    data.encode(&mut outgoing[before..])
        .map_err(io::Error::other)?;
    Ok(())
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof")
}
