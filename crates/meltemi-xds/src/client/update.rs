//! What the client delivers to its owner, and how the owner answers.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tokio::sync::oneshot;

use crate::wire;

/// A change of one type's resources.
///
/// The owner applies what it can and answers with [`Answer::ack`] or
/// [`Answer::nack`]. The server sends nothing more of this type before that.
#[derive(Debug)]
pub struct Update {
    /// Type of the resources.
    pub type_url: Arc<str>,
    /// New and changed resources.
    pub added: Vec<RawResource>,
    /// Names of resources that are gone, or that never existed though they are
    /// subscribed.
    pub removed: Vec<String>,
    /// The server's version of the whole set.
    pub version: String,
    /// Identifies the response.
    pub nonce: String,
    /// To be answered.
    pub answer: Answer,
}

/// One resource as it came. Its bytes are a slice of the whole response: keep
/// what was made from them rather than themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawResource {
    /// Name within its type.
    pub name: Arc<str>,
    /// The server's version of this resource, or a hash of its content where the
    /// server gives none.
    pub version: Arc<str>,
    /// Type URL of the body.
    pub type_url: Arc<str>,
    /// The encoded message.
    pub body: Bytes,
}

impl RawResource {
    /// Decodes the body.
    ///
    /// # Errors
    /// When it is no such message, be it by its type or by its bytes.
    pub fn decode<M: Message + Default + prost::Name>(&self) -> Result<M, DecodeError> {
        if *self.type_url != *M::type_url() {
            return Err(DecodeError::Type {
                expected: M::type_url(),
                found: self.type_url.to_string(),
            });
        }
        M::decode(self.body.clone()).map_err(DecodeError::Malformed)
    }
}

/// Why a [`RawResource`] is not the message it was taken for.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It says that it is something else.
    #[error("expected a resource of type {expected}, got {found}")]
    Type {
        /// The type asked for.
        expected: String,
        /// The type of the resource.
        found: String,
    },
    /// Its bytes are not a message of its type.
    #[error("malformed resource: {0}")]
    Malformed(#[source] prost::DecodeError),
}

/// The owner's answer to one [`Update`]. Dropping it unanswered is a rejection of
/// all of it.
pub struct Answer {
    sender: Option<oneshot::Sender<Verdict>>,
}

/// What the owner said.
#[derive(Debug)]
pub(crate) enum Verdict {
    Accepted,
    Rejected {
        message: String,
        /// None when everything was rejected.
        resources: Option<Vec<String>>,
    },
}

impl Answer {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Verdict>) {
        let (sender, receiver) = oneshot::channel();
        (
            Self {
                sender: Some(sender),
            },
            receiver,
        )
    }

    /// Everything was accepted.
    pub fn ack(mut self) {
        self.give(Verdict::Accepted);
    }

    /// The named resources were rejected, the others accepted. The message goes
    /// to the server: say which resource and why. After a reconnect the server
    /// sends the rejected ones again.
    pub fn nack<I: IntoIterator<Item = impl Into<String>>>(
        mut self,
        message: impl Into<String>,
        rejected: I,
    ) {
        self.give(Verdict::Rejected {
            message: message.into(),
            resources: Some(rejected.into_iter().map(Into::into).collect()),
        });
    }

    /// Nothing of the update was accepted.
    pub fn nack_all(mut self, message: impl Into<String>) {
        self.give(Verdict::Rejected {
            message: message.into(),
            resources: None,
        });
    }

    fn give(&mut self, verdict: Verdict) {
        if let Some(sender) = self.sender.take() {
            // Nobody listens when the client has stopped: then no answer is due.
            let _ = sender.send(verdict);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.give(Verdict::Rejected {
            message: "the update was dropped unanswered".to_owned(),
            resources: None,
        });
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

/// A resource from its encoded `google.protobuf.Any`.
pub(crate) fn unpack(
    name: Arc<str>,
    version: Arc<str>,
    any: Bytes,
) -> Result<RawResource, prost::DecodeError> {
    let any = wire::Any::decode(any)?;
    Ok(RawResource {
        name,
        version,
        type_url: any.type_url.into(),
        body: any.value,
    })
}
