//! One query, decided: answered from the table, refused, or somebody else's to answer.

use super::table::{Host, Table};
use crate::options::UnknownNames;
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

/// Seconds that an answer may be kept (Istio's agent says 30).
const TTL: u32 = 30;
/// Response bytes over UDP without EDNS (RFC 1035 §4.2.1), and the most with it: larger
/// datagrams get lost, and TCP is there.
const UDP_MIN: usize = 512;
const UDP_MAX: usize = 1232;
/// Shortest thing that can be a query: its header.
const HEADER: usize = 12;

/// What to do with a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send this.
    Reply(Vec<u8>),
    /// Ask a resolver, and send this (SERVFAIL) if none answers.
    Forward { otherwise: Vec<u8> },
    /// Not a query: send nothing (a reply to a reply could loop).
    Ignore,
}

/// Decides one datagram or TCP message. Never panics, whatever the bytes.
pub fn answer(table: &Table, unknown: UnknownNames, query: &[u8], udp: bool) -> Verdict {
    let Ok(message) = Message::from_vec(query) else {
        return unreadable(query);
    };
    if message.metadata.message_type != MessageType::Query {
        return Verdict::Ignore;
    }
    if message.metadata.op_code != OpCode::Query {
        return Verdict::Reply(reply(
            &message,
            ResponseCode::NotImp,
            Vec::new(),
            false,
            udp,
        ));
    }
    let [question] = &message.queries[..] else {
        return Verdict::Reply(reply(
            &message,
            ResponseCode::FormErr,
            Vec::new(),
            false,
            udp,
        ));
    };
    let name = question.name().to_lowercase().to_ascii();
    let name = name.trim_end_matches('.');
    if question.query_class() == DNSClass::IN {
        if let Some(host) = table.find(name) {
            let answers = records(host, question.name(), question.query_type());
            return Verdict::Reply(reply(&message, ResponseCode::NoError, answers, true, udp));
        }
        if is_local_reverse(name, question.query_type()) {
            // Nobody outside knows addresses of the mesh: no data, at once.
            return Verdict::Reply(reply(
                &message,
                ResponseCode::NoError,
                Vec::new(),
                true,
                udp,
            ));
        }
        if table.is_mesh_name(name) {
            return Verdict::Reply(reply(
                &message,
                ResponseCode::NXDomain,
                Vec::new(),
                true,
                udp,
            ));
        }
    }
    match unknown {
        UnknownNames::Refuse => Verdict::Reply(reply(
            &message,
            ResponseCode::Refused,
            Vec::new(),
            false,
            udp,
        )),
        UnknownNames::Forward => Verdict::Forward {
            otherwise: reply(&message, ResponseCode::ServFail, Vec::new(), false, udp),
        },
    }
}

/// FORMERR with the query's id, when there is one and it is no reply.
fn unreadable(query: &[u8]) -> Verdict {
    if query.len() < HEADER || query[2] & 0x80 != 0 {
        return Verdict::Ignore;
    }
    // Its id; QR and its RD; RA and FORMERR; no sections.
    let mut out = vec![query[0], query[1], 0x80 | query[2] & 0x01, 0x81];
    out.resize(HEADER, 0);
    Verdict::Reply(out)
}

/// Addresses of the asked family; other types exist without data.
fn records(host: &Host, name: &Name, kind: RecordType) -> Vec<Record> {
    let v4 = host.v4.iter().map(|ip| RData::A(A(*ip)));
    let v6 = host.v6.iter().map(|ip| RData::AAAA(AAAA(*ip)));
    let data: Vec<RData> = match kind {
        RecordType::A => v4.collect(),
        RecordType::AAAA => v6.collect(),
        RecordType::ANY => v4.chain(v6).collect(),
        _ => Vec::new(),
    };
    let mut records: Vec<Record> = data
        .into_iter()
        .map(|data| Record::from_rdata(name.clone(), TTL, data))
        .collect();
    // Clients take the first: spread them, as Istio's agent does.
    fastrand::shuffle(&mut records);
    records
}

/// PTR of an address that only the mesh can have.
fn is_local_reverse(name: &str, kind: RecordType) -> bool {
    if kind != RecordType::PTR {
        return false;
    }
    let Some(octets) = name.strip_suffix(".in-addr.arpa") else {
        return name.ends_with(".ip6.arpa");
    };
    let mut labels = octets
        .rsplit('.')
        .filter_map(|label| label.parse::<u8>().ok());
    matches!(
        (labels.next(), labels.next()),
        (Some(10 | 127), _)
            | (Some(192), Some(168))
            | (Some(172), Some(16..=31))
            | (Some(240), Some(240))
    )
}

fn reply(
    query: &Message,
    code: ResponseCode,
    answers: Vec<Record>,
    authoritative: bool,
    udp: bool,
) -> Vec<u8> {
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.metadata.response_code = code;
    message.metadata.authoritative = authoritative;
    message.metadata.recursion_desired = query.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.queries = query.queries.clone();
    message.answers = answers;
    let mut limit = usize::from(u16::MAX);
    if udp {
        limit = UDP_MIN;
    }
    if let Some(asked) = &query.edns {
        let mut edns = hickory_proto::op::Edns::new();
        edns.set_max_payload(UDP_MAX as u16).set_version(0);
        message.edns = Some(edns);
        if udp {
            limit = usize::from(asked.max_payload()).clamp(UDP_MIN, UDP_MAX);
        }
    }
    let bytes = message.to_vec().unwrap_or_default();
    if bytes.len() <= limit {
        return bytes;
    }
    // The client asks again over TCP.
    message.metadata.truncation = true;
    message.answers.clear();
    message.to_vec().unwrap_or_default()
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
