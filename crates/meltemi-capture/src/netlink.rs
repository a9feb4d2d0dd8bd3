//! Netlink messages: building them, sending them in order, reading the acknowledgements.

#![expect(
    unsafe_code,
    reason = "sockets of a family that the standard library does not know"
)]

use crate::error::{CaptureError, check};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

pub(crate) const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
pub(crate) const ACK: u16 = libc::NLM_F_ACK as u16;
pub(crate) const CREATE: u16 = libc::NLM_F_CREATE as u16;
pub(crate) const EXCL: u16 = libc::NLM_F_EXCL as u16;
pub(crate) const APPEND: u16 = libc::NLM_F_APPEND as u16;

const HEADER: usize = 16;
/// One receive; an acknowledgement echoes at most the request's header (NETLINK_CAP_ACK).
const RECEIVE: usize = 32 * 1024;
/// Send buffer asked for: a batch of some thousand rules; the kernel caps it as it likes.
const SEND_BUFFER: libc::c_int = 1 << 20;

/// One message under construction, attributes nested by closures.
pub(crate) struct Message {
    bytes: Vec<u8>,
    flags: u16,
    /// What the message does, for the error text.
    pub(crate) step: String,
}

impl Message {
    pub(crate) fn new(step: impl Into<String>, kind: u16, flags: u16, head: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(head);
        let mut message = Self {
            bytes,
            flags,
            step: step.into(),
        };
        message.pad();
        message
    }

    fn pad(&mut self) {
        let over = self.bytes.len() % 4;
        if over != 0 {
            self.bytes.resize(self.bytes.len() + 4 - over, 0);
        }
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    pub(crate) fn attr(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4)
            .expect("attribute values are names and addresses, below 64 KiB");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.raw(value);
    }

    /// A NUL-terminated text.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes);
    }

    pub(crate) fn be32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        fill(self);
        let length =
            u16::try_from(self.bytes.len() - start).expect("one rule or link is far below 64 KiB");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes[start + 2..start + 4]
            .copy_from_slice(&(kind | libc::NLA_F_NESTED as u16).to_ne_bytes());
    }

    fn finish(&mut self, sequence: u32) -> &[u8] {
        let length = u32::try_from(self.bytes.len()).expect("a message is far below 4 GiB");
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        &self.bytes
    }
}

/// A blocking netlink socket of the calling thread's network namespace.
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    pub(crate) fn open(protocol: libc::c_int, name: &str) -> Result<Self, CaptureError> {
        // SAFETY: plain system call; the descriptor is owned at once.
        let raw = check(&format!("open the {name} netlink socket"), unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                protocol,
            )
        })?;
        // SAFETY: `raw` was just opened and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        let one: libc::c_int = 1;
        for (level, option, value) in [
            (libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, one),
            (libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, one),
            (libc::SOL_SOCKET, libc::SO_SNDBUF, SEND_BUFFER),
        ] {
            // Older kernels lack the first two: then the error texts are shorter, nothing else.
            // SAFETY: the value outlives the call and its size is given.
            unsafe {
                libc::setsockopt(
                    fd.as_raw_fd(),
                    level,
                    option,
                    (&raw const value).cast(),
                    size_of_val(&value) as libc::socklen_t,
                )
            };
        }
        Ok(Self { fd, sequence: 0 })
    }

    /// Sends all messages in one write and waits until each that asks for it is acknowledged.
    /// The first refusal is returned; the kernel has then undone a batch.
    pub(crate) fn transact(&mut self, messages: &mut [Message]) -> Result<(), CaptureError> {
        let first = self.sequence + 1;
        let mut bytes = Vec::new();
        for (message, sequence) in messages.iter_mut().zip(first..) {
            bytes.extend_from_slice(message.finish(sequence));
            self.sequence = sequence;
        }
        let what = messages
            .last()
            .map(|message| message.step.clone())
            .unwrap_or_default();
        // SAFETY: the buffer is valid for its length.
        let sent =
            unsafe { libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 {
            return Err(CaptureError::last(format!("send to the kernel: {what}")));
        }
        let mut waiting: Vec<bool> = messages
            .iter()
            .map(|message| message.flags & ACK != 0)
            .collect();
        while waiting.contains(&true) {
            for answer in self.receive(&what)? {
                let Some(index) = answer
                    .sequence
                    .checked_sub(first)
                    .map(|index| index as usize)
                else {
                    continue;
                };
                let Some(slot) = waiting.get_mut(index) else {
                    continue;
                };
                *slot = false;
                if let Some(source) = answer.error {
                    return Err(
                        CaptureError::new(messages[index].step.clone(), source).kernel(answer.text)
                    );
                }
            }
        }
        Ok(())
    }

    fn receive(&self, what: &str) -> Result<Vec<Answer>, CaptureError> {
        let mut buffer = vec![0u8; RECEIVE];
        let length = loop {
            // SAFETY: the buffer is valid for its length.
            let length = unsafe {
                libc::recv(
                    self.fd.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    0,
                )
            };
            if length >= 0 {
                break length as usize;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(CaptureError::new(
                    format!("read the kernel's answer: {what}"),
                    error,
                ));
            }
        };
        Ok(answers(&buffer[..length]))
    }
}

/// An acknowledgement, or the refusal, of the message with `sequence`.
struct Answer {
    sequence: u32,
    error: Option<io::Error>,
    text: Option<String>,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn answers(mut bytes: &[u8]) -> Vec<Answer> {
    let mut found = Vec::new();
    while let (Some(length), Some(kind), Some(flags), Some(sequence)) = (
        u32_at(bytes, 0),
        u16_at(bytes, 4),
        u16_at(bytes, 6),
        u32_at(bytes, 8),
    ) {
        let length = length as usize;
        if length < HEADER || length > bytes.len() {
            break;
        }
        if kind == libc::NLMSG_ERROR as u16 {
            let code = u32_at(bytes, HEADER).map_or(0, |code| code as i32);
            // Capped (NETLINK_CAP_ACK) answers carry the request's header only.
            let mut at = HEADER + 4 + HEADER;
            if flags & libc::NLM_F_CAPPED as u16 == 0 {
                at = HEADER
                    + 4
                    + u32_at(bytes, HEADER + 4)
                        .map_or(HEADER, |length| (length as usize).next_multiple_of(4));
            }
            let text = if flags & libc::NLM_F_ACK_TLVS as u16 != 0 {
                explanation(&bytes[..length], at)
            } else {
                None
            };
            let error = (code != 0).then(|| io::Error::from_raw_os_error(-code));
            found.push(Answer {
                sequence,
                error,
                text,
            });
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// NLMSGERR_ATTR_MSG of an extended acknowledgement.
fn explanation(bytes: &[u8], mut at: usize) -> Option<String> {
    const TEXT: u16 = 1;
    while let (Some(length), Some(kind)) = (u16_at(bytes, at), u16_at(bytes, at + 2)) {
        let length = usize::from(length);
        if length < 4 {
            return None;
        }
        if kind == TEXT {
            let text = bytes.get(at + 4..at + length)?;
            return Some(
                String::from_utf8_lossy(text)
                    .trim_end_matches('\0')
                    .to_owned(),
            );
        }
        at += length.next_multiple_of(4);
    }
    None
}
