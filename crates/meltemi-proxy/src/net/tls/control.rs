//! What a TLS connection is told beside its data: alerts, tickets, new keys (RFC 8446 §4.6, §6).

use super::record::{ALERT, HANDSHAKE, Keys};
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, Error, InvalidMessage, PeerMisbehaved,
    SupportedCipherSuite,
};

/// Records without data in a row before the peer is told off.
const MAX_IDLE_RECORDS: u8 = 32;
/// Bytes of a handshake message; only tickets are of any size.
const MAX_MESSAGE: usize = 64 * 1024 - 1;

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
/// A KeyUpdate that asks for none in return.
pub const KEY_UPDATE_MESSAGE: [u8; 5] = [KEY_UPDATE, 0, 0, 1, 0];
const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// What rustls keeps of a connection whose records are ours.
pub enum Side {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

/// What a record without data asks of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice {
    /// Nothing more.
    None,
    /// The peer will send no more (close_notify).
    End,
    /// The peer wants our keys changed, too.
    NewKeys,
}

/// Takes in the records of a connection that hold no data.
pub struct Control {
    side: Side,
    pub tls13: bool,
    /// Records that one key may protect (RFC 8446 §5.5).
    pub records_per_key: u64,
    /// The beginning of a handshake message that goes on in the next record.
    message: Vec<u8>,
    idle_records: u8,
}

impl Control {
    pub fn new(side: Side) -> Self {
        let suite = match &side {
            Side::Server(side) => side.negotiated_cipher_suite(),
            Side::Client(side) => side.negotiated_cipher_suite(),
        };
        let (tls13, records_per_key) = match suite {
            SupportedCipherSuite::Tls12(suite) => (false, suite.common.confidentiality_limit),
            SupportedCipherSuite::Tls13(suite) => (true, suite.common.confidentiality_limit),
        };
        Self {
            side,
            tls13,
            records_per_key,
            message: Vec::new(),
            idle_records: 0,
        }
    }

    /// The keys that follow those we seal with.
    ///
    /// # Errors
    /// TLS 1.2 has none.
    pub fn next_sealing(&mut self) -> Result<Keys, Error> {
        keys(match &mut self.side {
            Side::Server(side) => side.update_tx_secret()?,
            Side::Client(side) => side.update_tx_secret()?,
        })
    }

    fn next_opening(&mut self) -> Result<Keys, Error> {
        keys(match &mut self.side {
            Side::Server(side) => side.update_rx_secret()?,
            Side::Client(side) => side.update_rx_secret()?,
        })
    }

    /// Counts a record with `length` bytes of data.
    ///
    /// # Errors
    /// Data in the middle of a handshake message, or too many records without any.
    pub fn data(&mut self, length: usize) -> Result<(), Error> {
        if !self.message.is_empty() {
            return Err(PeerMisbehaved::MessageInterleavedWithHandshakeMessage.into());
        }
        if length > 0 {
            self.idle_records = 0;
            return Ok(());
        }
        self.count_idle()
    }

    fn count_idle(&mut self) -> Result<(), Error> {
        self.idle_records += 1;
        if self.idle_records > MAX_IDLE_RECORDS {
            return Err(Error::General("too many records without data".into()));
        }
        Ok(())
    }

    /// Takes in a record of another type than data. `opening` are the keys it was opened with.
    ///
    /// # Errors
    /// What the peer must not send, and the alert by which it ended the connection.
    pub fn take(&mut self, kind: u8, content: &[u8], opening: &mut Keys) -> Result<Notice, Error> {
        self.count_idle()?;
        match kind {
            ALERT => {
                if !self.message.is_empty() {
                    return Err(PeerMisbehaved::MessageInterleavedWithHandshakeMessage.into());
                }
                self.alert(content)
            }
            HANDSHAKE if self.tls13 => self.handshake(content, opening),
            HANDSHAKE => Err(Error::General("renegotiation is refused".into())),
            _ => Err(InvalidMessage::InvalidContentType.into()),
        }
    }

    fn alert(&self, content: &[u8]) -> Result<Notice, Error> {
        let [level, description] = *content else {
            return Err(InvalidMessage::MissingData("AlertDescription").into());
        };
        if !(WARNING..=FATAL).contains(&level) {
            return Err(Error::General(format!("an alert of level {level}")));
        }
        match AlertDescription::from(description) {
            AlertDescription::CloseNotify => Ok(Notice::End),
            // TLS 1.3 has no other warnings, whatever their level says.
            AlertDescription::UserCanceled => Ok(Notice::None),
            _ if level == WARNING && !self.tls13 => Ok(Notice::None),
            description => Err(Error::AlertReceived(description)),
        }
    }

    fn handshake(&mut self, content: &[u8], opening: &mut Keys) -> Result<Notice, Error> {
        if content.is_empty() {
            return Err(InvalidMessage::InvalidEmptyPayload.into());
        }
        let mut held = std::mem::take(&mut self.message);
        let mut rest = content;
        if !held.is_empty() {
            held.extend_from_slice(content);
            rest = &held;
        }
        let mut notice = Notice::None;
        while let [kind, high, middle, low, body @ ..] = rest {
            let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
            if length > MAX_MESSAGE {
                return Err(InvalidMessage::HandshakePayloadTooLarge.into());
            }
            let Some((body, after)) = body.split_at_checked(length) else {
                break;
            };
            rest = after;
            match (*kind, &mut self.side) {
                (NEW_SESSION_TICKET, Side::Client(side)) => side.handle_new_session_ticket(body)?,
                (KEY_UPDATE, _) => {
                    // What follows has other keys: nothing else fits in this record.
                    if !rest.is_empty() {
                        return Err(PeerMisbehaved::KeyEpochWithPendingFragment.into());
                    }
                    *opening = self.next_opening()?;
                    notice = match body {
                        [0] => Notice::None,
                        [1] => Notice::NewKeys,
                        _ => return Err(InvalidMessage::InvalidKeyUpdate.into()),
                    };
                }
                (kind, _) => {
                    return Err(Error::General(format!(
                        "handshake message {kind} after the handshake"
                    )));
                }
            }
        }
        self.message = rest.to_vec();
        Ok(notice)
    }
}

fn keys((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Keys, Error> {
    Keys::new(true, sequence, &secrets)
}

/// The alert that tells the peer of an error, `None` where the peer ended the connection itself.
pub fn alert_of(error: &Error) -> Option<[u8; 2]> {
    let description = match error {
        Error::AlertReceived(_) => return None,
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::InvalidMessage(_) => AlertDescription::DecodeError,
        _ => AlertDescription::UnexpectedMessage,
    };
    Some([FATAL, description.into()])
}

/// close_notify.
pub fn close_notify() -> [u8; 2] {
    [WARNING, AlertDescription::CloseNotify.into()]
}
