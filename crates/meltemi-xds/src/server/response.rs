//! Responses, and how they are written: piece by piece as the client takes
//! them, from the bytes that all streams share. A response costs a stream the
//! piece under way and no more, however large it is and however slow the client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame};
use prost::encoding::{encode_varint, encoded_len_varint};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::codegen::http::HeaderMap;

use crate::{Resource, ResourceSet};

/// Bytes of one piece.
const PIECE: usize = 32 * 1024;
/// A resource of this many bytes is not copied into a piece but is one itself.
const LARGE: usize = 8 * 1024;

/// Some resources of a set.
pub struct Selection {
    set: ResourceSet,
    /// None: all of them.
    positions: Option<Box<[u32]>>,
}

impl Selection {
    /// All of a set.
    pub fn all(set: ResourceSet) -> Self {
        Self {
            set,
            positions: None,
        }
    }

    /// The resources at these positions, see [`crate::resource::Iter::position`], in
    /// order of name.
    pub fn of(set: ResourceSet, positions: Vec<u32>) -> Self {
        let all = positions.len() == set.len();
        Self {
            positions: (!all).then(|| positions.into()),
            set,
        }
    }

    pub fn len(&self) -> usize {
        match &self.positions {
            Some(positions) => positions.len(),
            None => self.set.len(),
        }
    }

    fn get(&self, index: usize) -> Option<&Resource> {
        let position = match &self.positions {
            Some(positions) => *positions.get(index)?,
            None => u32::try_from(index).ok()?,
        };
        self.set.at(position)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Resource> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Whether a resource of that name is among them.
    pub fn contains(&self, name: &str) -> bool {
        match &self.positions {
            None => self.set.get(name).is_some(),
            Some(positions) => {
                let name_at = |at: &u32| self.set.at(*at).map(|resource| &*resource.name);
                positions
                    .binary_search_by(|at| name_at(at).cmp(&Some(name)))
                    .is_ok()
            }
        }
    }

    /// Names of the resources.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.iter().map(|r| Arc::clone(&r.name)).collect()
    }

    /// Bytes of the encoded resources.
    pub fn bytes(&self) -> usize {
        self.iter().map(|resource| resource.any.len()).sum()
    }
}

/// How a resource stands in a response; field 2 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A `google.protobuf.Any`.
    StateOfTheWorld,
    /// A `Resource` with name and version.
    Delta,
}

const RESOURCES: u32 = 2;
/// Fields of the delta protocol's `Resource`.
const VERSION: u32 = 1;
const RESOURCE: u32 = 2;
const NAME: u32 = 3;

fn field_len(length: usize) -> usize {
    // All field numbers here are below 16: a key of one byte.
    1 + encoded_len_varint(length as u64) + length
}

fn put_key(field: u32, length: usize, out: &mut BytesMut) {
    const LENGTH_DELIMITED: u32 = 2;
    out.put_u8((field << 3 | LENGTH_DELIMITED) as u8);
    encode_varint(length as u64, out);
}

fn put_text(field: u32, text: &str, out: &mut BytesMut) {
    put_key(field, text.len(), out);
    out.put_slice(text.as_bytes());
}

impl Framing {
    /// Length of what a resource is within the field.
    fn len(self, resource: &Resource) -> usize {
        match self {
            Self::StateOfTheWorld => resource.any.len(),
            Self::Delta => {
                field_len(resource.version.len())
                    + field_len(resource.name.len())
                    + field_len(resource.any.len())
            }
        }
    }

    /// Writes all that goes before the resource's own bytes.
    fn head(self, resource: &Resource, out: &mut BytesMut) {
        put_key(RESOURCES, self.len(resource), out);
        if self == Self::Delta {
            put_text(VERSION, &resource.version, out);
            put_text(NAME, &resource.name, out);
            put_key(RESOURCE, resource.any.len(), out);
        }
    }
}

/// A response of either protocol.
pub struct Response {
    /// Every field but the resources, encoded.
    pub fields: Vec<u8>,
    pub framing: Framing,
    pub resources: Arc<Selection>,
}

impl Response {
    fn encoded_len(&self) -> usize {
        let resources = self.resources.iter();
        let resources = resources.map(|resource| field_len(self.framing.len(resource)));
        self.fields.len() + resources.sum::<usize>()
    }
}

/// A response under way.
struct Writer {
    response: Response,
    next: usize,
    /// Bytes that are not written.
    left: usize,
    started: bool,
    /// A resource that is a piece of its own.
    large: Option<Bytes>,
}

impl Writer {
    /// gRPC: a flag (not compressed) and the length in front of the message.
    const PREFIX: usize = 5;

    fn new(response: Response) -> Result<Self, Status> {
        let length = response.encoded_len();
        if u32::try_from(length).is_err() {
            return Err(Status::resource_exhausted(
                "a response of more than 4 GiB cannot be sent",
            ));
        }
        Ok(Self {
            response,
            next: 0,
            left: Self::PREFIX + length,
            started: false,
            large: None,
        })
    }

    /// The next piece; none after the last.
    fn piece(&mut self) -> Option<Bytes> {
        if let Some(large) = self.large.take() {
            self.left = self.left.saturating_sub(large.len());
            return Some(large);
        }
        if self.left == 0 {
            return None;
        }
        let mut piece = BytesMut::with_capacity(self.left.min(PIECE + LARGE));
        if !self.started {
            self.started = true;
            piece.put_u8(0);
            piece.put_u32((self.left - Self::PREFIX) as u32);
            piece.put_slice(&self.response.fields);
        }
        while piece.len() < PIECE
            && let Some(resource) = self.response.resources.get(self.next)
        {
            self.next += 1;
            self.response.framing.head(resource, &mut piece);
            if resource.any.len() >= LARGE {
                self.large = Some(resource.any.clone());
                break;
            }
            piece.put_slice(&resource.any);
        }
        self.left = self.left.saturating_sub(piece.len());
        Some(piece.freeze())
    }
}

/// The responses of a stream as the body of its HTTP answer.
pub struct ResponseBody {
    responses: mpsc::Receiver<Result<Response, Status>>,
    writing: Option<Writer>,
    ended: bool,
}

impl ResponseBody {
    /// Ends with the first error, or successfully when the sender is dropped.
    pub fn new(responses: mpsc::Receiver<Result<Response, Status>>) -> Self {
        Self {
            responses,
            writing: None,
            ended: false,
        }
    }

    fn end(&mut self, status: Status) -> Frame<Bytes> {
        self.ended = true;
        self.responses.close();
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            // A message that no header can carry; the code alone can be told.
            trailers.clear();
            let _ = Status::new(status.code(), "").add_header(&mut trailers);
        }
        Frame::trailers(trailers)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            if let Some(piece) = self.writing.as_mut().and_then(Writer::piece) {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            self.writing = None;
            let status = match ready!(self.responses.poll_recv(cx)) {
                Some(Ok(response)) => match Writer::new(response) {
                    Ok(writer) => {
                        self.writing = Some(writer);
                        continue;
                    }
                    Err(status) => status,
                },
                Some(Err(status)) => status,
                None => Status::ok(""),
            };
            return Poll::Ready(Some(Ok(self.end(status))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{DeltaResponse, SotwResponse};
    use prost::Message;

    fn set() -> ResourceSet {
        let lengths = [1, LARGE - 60, LARGE, PIECE * 3, 5000, 5000, 5000];
        let resources = (0..40).map(|index| {
            let value = vec![index as u8; lengths[index % lengths.len()]];
            Resource::from_value(format!("r{index}"), "type.googleapis.com/x", value.into())
        });
        resources.collect()
    }

    fn written(response: Response) -> Vec<u8> {
        let mut writer = Writer::new(response).unwrap();
        let mut out = Vec::new();
        while let Some(piece) = writer.piece() {
            assert!(!piece.is_empty());
            out.extend_from_slice(&piece);
        }
        let length = u32::from_be_bytes(out[1..5].try_into().unwrap());
        assert_eq!((out[0], length as usize), (0, out.len() - 5));
        out.split_off(5)
    }

    #[test]
    fn what_is_written_in_pieces_reads_as_the_message() {
        let set = set();
        let fields = DeltaResponse {
            nonce: "n".to_owned(),
            removed_resources: vec!["gone".to_owned()],
            ..Default::default()
        };
        let response = Response {
            fields: fields.encode_to_vec(),
            framing: Framing::Delta,
            resources: Arc::new(Selection::of(set.clone(), vec![3, 0, 5])),
        };
        let read = DeltaResponse::decode(&*written(response)).unwrap();
        assert_eq!(
            (read.nonce, read.removed_resources.len()),
            ("n".to_owned(), 1)
        );
        let expected: Vec<_> = [3, 0, 5].map(|at| set.at(at).unwrap()).into();
        assert_eq!(read.resources.len(), expected.len());
        for (read, resource) in read.resources.iter().zip(expected) {
            assert_eq!(
                (&*read.name, &*read.version),
                (&*resource.name, &*resource.version)
            );
            assert_eq!(read.resource, resource.any);
        }
    }

    #[test]
    fn a_state_of_the_world_holds_the_whole_set() {
        let set = set();
        let response = Response {
            fields: SotwResponse::default().encode_to_vec(),
            framing: Framing::StateOfTheWorld,
            resources: Arc::new(Selection::all(set.clone())),
        };
        let read = SotwResponse::decode(&*written(response)).unwrap();
        let expected: Vec<_> = set.iter().map(|resource| resource.any.clone()).collect();
        assert_eq!(read.resources, expected);
    }

    #[test]
    fn a_response_of_nothing_is_its_fields() {
        let response = Response {
            fields: vec![0x2a, 1, b'n'],
            framing: Framing::Delta,
            resources: Arc::new(Selection::of(ResourceSet::default(), Vec::new())),
        };
        assert_eq!(written(response), [0x2a, 1, b'n']);
    }
}
