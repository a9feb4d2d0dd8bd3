//! Encoding with protobuf's maps in a fixed order.
//!
//! prost keeps maps as `HashMap`s and encodes them in iteration order, so that the same
//! message gives different bytes in each run. Versions are hashes of bytes and unchanged
//! resources are not sent again; both need equal bytes for equal messages. After prost has
//! encoded, the map entries of the few messages that we fill maps of are sorted in place.

use prost::{Message, Name};

/// What of a message has to be descended into: field number and what it holds.
struct Shape(&'static [(u32, Field)]);

enum Field {
    /// A message that (transitively) holds maps.
    Nested(&'static Shape),
    /// A map; its values' shape where they hold maps themselves.
    Map(Option<&'static Shape>),
}

use Field::{Map, Nested};

static STRUCT: Shape = Shape(&[(1, Map(Some(&VALUE)))]);
static VALUE: Shape = Shape(&[(5, Nested(&STRUCT)), (6, Nested(&LIST_VALUE))]);
static LIST_VALUE: Shape = Shape(&[(1, Nested(&VALUE))]);
static METADATA: Shape = Shape(&[(1, Map(Some(&STRUCT)))]);
static CLUSTER: Shape = Shape(&[
    (25, Nested(&METADATA)),
    (33, Nested(&LOAD_ASSIGNMENT)),
    (36, Map(None)),
    (43, Nested(&SOCKET_MATCH)),
]);
static SOCKET_MATCH: Shape = Shape(&[(2, Nested(&STRUCT))]);
static LOAD_ASSIGNMENT: Shape = Shape(&[(2, Nested(&LOCALITY_ENDPOINTS))]);
static LOCALITY_ENDPOINTS: Shape = Shape(&[(2, Nested(&LB_ENDPOINT)), (9, Nested(&METADATA))]);
static LB_ENDPOINT: Shape = Shape(&[(3, Nested(&METADATA))]);
static LISTENER: Shape = Shape(&[
    (3, Nested(&FILTER_CHAIN)),
    (6, Nested(&METADATA)),
    (25, Nested(&FILTER_CHAIN)),
]);
static FILTER_CHAIN: Shape = Shape(&[(5, Nested(&METADATA))]);
static ROUTE_CONFIGURATION: Shape = Shape(&[(2, Nested(&VIRTUAL_HOST))]);
static VIRTUAL_HOST: Shape = Shape(&[(3, Nested(&ROUTE)), (15, Map(None))]);
static ROUTE: Shape = Shape(&[
    (2, Nested(&ROUTE_ACTION)),
    (4, Nested(&METADATA)),
    (13, Map(None)),
]);
static ROUTE_ACTION: Shape = Shape(&[(3, Nested(&WEIGHTED_CLUSTER))]);
static WEIGHTED_CLUSTER: Shape = Shape(&[(1, Nested(&CLUSTER_WEIGHT))]);
static CLUSTER_WEIGHT: Shape = Shape(&[(10, Map(None))]);
static HTTP_CONNECTION_MANAGER: Shape = Shape(&[(4, Nested(&ROUTE_CONFIGURATION))]);
static NAME_TABLE: Shape = Shape(&[(1, Map(None))]);
static SUBSTITUTION_FORMAT: Shape = Shape(&[(2, Nested(&STRUCT))]);
static FILE_ACCESS_LOG: Shape = Shape(&[
    (3, Nested(&STRUCT)),
    (4, Nested(&STRUCT)),
    (5, Nested(&SUBSTITUTION_FORMAT)),
]);

fn shape_of(package: &str, name: &str) -> Option<&'static Shape> {
    Some(match (package, name) {
        ("envoy.config.cluster.v3", "Cluster") => &CLUSTER,
        ("envoy.config.endpoint.v3", "ClusterLoadAssignment") => &LOAD_ASSIGNMENT,
        ("envoy.config.listener.v3", "Listener") => &LISTENER,
        ("envoy.config.route.v3", "RouteConfiguration") => &ROUTE_CONFIGURATION,
        ("envoy.config.route.v3", "VirtualHost") => &VIRTUAL_HOST,
        (
            "envoy.extensions.filters.network.http_connection_manager.v3",
            "HttpConnectionManager",
        ) => &HTTP_CONNECTION_MANAGER,
        ("envoy.extensions.access_loggers.file.v3", "FileAccessLog") => &FILE_ACCESS_LOG,
        ("istio.networking.nds.v1", "NameTable") => &NAME_TABLE,
        _ => return None,
    })
}

/// The message's bytes; the same message gives the same bytes in every process.
pub fn encode<M: Message + Name>(message: &M) -> Vec<u8> {
    let encoded = message.encode_to_vec();
    let Some(shape) = shape_of(M::PACKAGE, M::NAME) else {
        return encoded;
    };
    let mut sorted = Vec::with_capacity(encoded.len());
    match sort(&encoded, shape, &mut sorted) {
        Some(()) => sorted,
        // Unreachable for what prost encoded; unsorted is still correct.
        None => encoded,
    }
}

const WIRE_VARINT: u64 = 0;
const WIRE_64: u64 = 1;
const WIRE_LEN: u64 = 2;
const WIRE_32: u64 = 5;

fn sort(input: &[u8], shape: &Shape, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = input;
    let mut entries: Vec<Vec<u8>> = Vec::new();
    let mut entries_of = 0;
    while !rest.is_empty() {
        let start = rest;
        let tag = varint(&mut rest)?;
        let number = (tag >> 3) as u32;
        if entries_of != number {
            flush(&mut entries, entries_of, out);
        }
        let payload = match tag & 7 {
            WIRE_VARINT => {
                varint(&mut rest)?;
                None
            }
            WIRE_64 => {
                rest = rest.get(8..)?;
                None
            }
            WIRE_32 => {
                rest = rest.get(4..)?;
                None
            }
            WIRE_LEN => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let payload = rest.get(..length)?;
                rest = rest.get(length..)?;
                Some(payload)
            }
            _ => return None,
        };
        let field = shape.0.iter().find(|(candidate, _)| *candidate == number);
        match (payload, field) {
            (Some(payload), Some((_, Nested(inner)))) => {
                let mut nested = Vec::with_capacity(payload.len());
                sort(payload, inner, &mut nested)?;
                write_field(number, &nested, out);
            }
            (Some(payload), Some((_, Map(values)))) => {
                let mut entry = Vec::with_capacity(payload.len());
                match values {
                    // In a map entry the key is field 1 and the value field 2.
                    Some(values) => sort_entry(payload, values, &mut entry)?,
                    None => entry.extend_from_slice(payload),
                }
                entries_of = number;
                entries.push(entry);
            }
            _ => out.extend_from_slice(&start[..start.len() - rest.len()]),
        }
    }
    flush(&mut entries, entries_of, out);
    Some(())
}

fn sort_entry(payload: &[u8], values: &'static Shape, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = payload;
    while !rest.is_empty() {
        let start = rest;
        let tag = varint(&mut rest)?;
        let length = usize::try_from(varint(&mut rest)?).ok()?;
        let field = rest.get(..length)?;
        rest = rest.get(length..)?;
        if tag >> 3 == 2 {
            let mut nested = Vec::with_capacity(field.len());
            sort(field, values, &mut nested)?;
            write_field(2, &nested, out);
        } else {
            out.extend_from_slice(&start[..start.len() - rest.len()]);
        }
    }
    Some(())
}

fn flush(entries: &mut Vec<Vec<u8>>, number: u32, out: &mut Vec<u8>) {
    entries.sort_unstable();
    for entry in entries.drain(..) {
        write_field(number, &entry, out);
    }
}

fn write_field(number: u32, payload: &[u8], out: &mut Vec<u8>) {
    prost::encoding::encode_varint(u64::from(number) << 3 | WIRE_LEN, out);
    prost::encoding::encode_varint(payload.len() as u64, out);
    out.extend_from_slice(payload);
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(rest).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{cluster, structs};

    #[test]
    fn equal_messages_encode_to_equal_bytes_and_decode_to_themselves() {
        let build = || {
            let mut fields = structs::structure([]);
            for index in 0..20 {
                fields.fields.insert(
                    format!("key-{index}"),
                    structs::object([
                        ("a", structs::string("1")),
                        (
                            "b",
                            structs::list(vec![structs::object([
                                ("x", structs::boolean(true)),
                                ("y", structs::boolean(false)),
                            ])]),
                        ),
                    ]),
                );
            }
            cluster::Cluster {
                name: "outbound|80||a".to_owned(),
                metadata: Some(structs::metadata("istio", fields)),
                connect_timeout: Some(crate::pb::seconds(1)),
                ..Default::default()
            }
        };
        let first = encode(&build());
        for _ in 0..10 {
            assert_eq!(first, encode(&build()));
        }
        let back = cluster::Cluster::decode(first.as_slice()).unwrap();
        assert_eq!(back, build());
    }
}
