//! Matches and verdicts as nftables expressions (`linux/netfilter/nf_tables.h`).

use crate::netlink::Message;
use crate::program::{Match, Rule, Verdict};
use std::net::IpAddr;

/// Every match loads into and compares the first 16-byte register.
const REGISTER: u32 = libc::NFT_REG_1 as u32;
const LIST_ELEMENT: u16 = 1;
const NAME: u16 = 1;
const DATA: u16 = 2;
const VALUE: u16 = 1;
const VERDICT: u16 = 2;
/// The loopback interface has index 1 in every namespace.
const LOOPBACK_INDEX: u32 = 1;
/// NF_NAT_RANGE_PROTO_SPECIFIED: the redirection gives the port.
const PORT_GIVEN: u32 = 1 << 1;
/// NFT_REJECT_TCP_RST and NFT_REJECT_ICMPX_UNREACH with NFT_REJECT_ICMPX_ADMIN_PROHIBITED.
const REJECT_RESET: u32 = 1;
const REJECT_ICMPX: u32 = 2;
const ADMIN_PROHIBITED: u8 = 3;

/// Offsets in the IPv4, IPv6 and TCP/UDP headers.
const V4_SOURCE: u32 = 12;
const V4_DESTINATION: u32 = 16;
const V6_SOURCE: u32 = 8;
const V6_DESTINATION: u32 = 24;
const DESTINATION_PORT: u32 = 2;

pub(super) fn rule(list: &mut Message, rule: &Rule) {
    for one in &rule.matches {
        condition(list, *one);
    }
    expression(list, "counter", |_| {});
    verdict(list, rule.verdict);
}

fn expression(list: &mut Message, name: &str, fill: impl FnOnce(&mut Message)) {
    list.nest(LIST_ELEMENT, |element| {
        element.text(NAME, name);
        element.nest(DATA, fill);
    });
}

fn condition(list: &mut Message, one: Match) {
    match one {
        Match::Tcp => meta(list, libc::NFT_META_L4PROTO, &[libc::IPPROTO_TCP as u8]),
        Match::Udp => meta(list, libc::NFT_META_L4PROTO, &[libc::IPPROTO_UDP as u8]),
        Match::Mark(mark) => meta(list, libc::NFT_META_MARK, &mark.to_ne_bytes()),
        Match::User(id) => meta(list, libc::NFT_META_SKUID, &id.to_ne_bytes()),
        Match::Group(id) => meta(list, libc::NFT_META_SKGID, &id.to_ne_bytes()),
        Match::Loopback => meta(list, libc::NFT_META_OIF, &LOOPBACK_INDEX.to_ne_bytes()),
        Match::Port(port) => destination_port(list, port, true),
        Match::NotPort(port) => destination_port(list, port, false),
        Match::From(source) => {
            let (offset, octets) = match source {
                IpAddr::V4(v4) => (V4_SOURCE, v4.octets().to_vec()),
                IpAddr::V6(v6) => (V6_SOURCE, v6.octets().to_vec()),
            };
            family(list, source.is_ipv4());
            payload(list, libc::NFT_PAYLOAD_NETWORK_HEADER, offset, octets.len());
            compare(list, true, &octets);
        }
        Match::To(range) | Match::NotTo(range) => {
            let v4 = range.address().is_ipv4();
            family(list, v4);
            let length = if v4 { 4 } else { 16 };
            payload(
                list,
                libc::NFT_PAYLOAD_NETWORK_HEADER,
                if v4 { V4_DESTINATION } else { V6_DESTINATION },
                length,
            );
            if !range.is_host() {
                mask(list, &range.mask());
            }
            compare(list, matches!(one, Match::To(_)), &range.octets());
        }
    }
}

fn family(list: &mut Message, v4: bool) {
    let family = if v4 {
        libc::NFPROTO_IPV4
    } else {
        libc::NFPROTO_IPV6
    };
    meta(list, libc::NFT_META_NFPROTO, &[family as u8]);
}

fn destination_port(list: &mut Message, port: u16, equal: bool) {
    payload(
        list,
        libc::NFT_PAYLOAD_TRANSPORT_HEADER,
        DESTINATION_PORT,
        2,
    );
    compare(list, equal, &port.to_be_bytes());
}

fn meta(list: &mut Message, key: libc::c_int, value: &[u8]) {
    expression(list, "meta", |data| {
        data.be32(1, REGISTER); // NFTA_META_DREG
        data.be32(2, key as u32); // NFTA_META_KEY
    });
    compare(list, true, value);
}

fn payload(list: &mut Message, base: libc::c_int, offset: u32, length: usize) {
    expression(list, "payload", |data| {
        data.be32(1, REGISTER); // NFTA_PAYLOAD_DREG
        data.be32(2, base as u32); // NFTA_PAYLOAD_BASE
        data.be32(3, offset); // NFTA_PAYLOAD_OFFSET
        data.be32(4, length as u32); // NFTA_PAYLOAD_LEN
    });
}

fn mask(list: &mut Message, mask: &[u8]) {
    expression(list, "bitwise", |data| {
        data.be32(1, REGISTER); // NFTA_BITWISE_SREG
        data.be32(2, REGISTER); // NFTA_BITWISE_DREG
        data.be32(3, mask.len() as u32); // NFTA_BITWISE_LEN
        data.nest(4, |nest| nest.attr(VALUE, mask)); // NFTA_BITWISE_MASK
        data.nest(5, |nest| nest.attr(VALUE, &vec![0; mask.len()])); // NFTA_BITWISE_XOR
    });
}

fn compare(list: &mut Message, equal: bool, value: &[u8]) {
    expression(list, "cmp", |data| {
        data.be32(1, REGISTER); // NFTA_CMP_SREG
        data.be32(
            2,
            if equal {
                libc::NFT_CMP_EQ
            } else {
                libc::NFT_CMP_NEQ
            } as u32,
        ); // NFTA_CMP_OP
        data.nest(3, |nest| nest.attr(VALUE, value)); // NFTA_CMP_DATA
    });
}

fn verdict(list: &mut Message, verdict: Verdict) {
    match verdict {
        Verdict::Return => immediate(list, libc::NFT_RETURN, None),
        Verdict::Goto(chain) => immediate(list, libc::NFT_GOTO, Some(chain)),
        Verdict::Redirect(port) => {
            expression(list, "immediate", |data| {
                data.be32(1, REGISTER); // NFTA_IMMEDIATE_DREG
                data.nest(2, |nest| nest.attr(VALUE, &port.to_be_bytes())); // NFTA_IMMEDIATE_DATA
            });
            expression(list, "redir", |data| {
                data.be32(1, REGISTER); // NFTA_REDIR_REG_PROTO_MIN
                data.be32(2, REGISTER); // NFTA_REDIR_REG_PROTO_MAX
                data.be32(3, PORT_GIVEN); // NFTA_REDIR_FLAGS
            });
        }
        Verdict::ResetTcp => expression(list, "reject", |data| data.be32(1, REJECT_RESET)),
        Verdict::RefuseIcmp => expression(list, "reject", |data| {
            data.be32(1, REJECT_ICMPX);
            data.attr(2, &[ADMIN_PROHIBITED]);
        }),
    }
}

fn immediate(list: &mut Message, code: libc::c_int, chain: Option<&str>) {
    expression(list, "immediate", |data| {
        data.be32(1, libc::NFT_REG_VERDICT as u32); // NFTA_IMMEDIATE_DREG
        data.nest(2, |nest| {
            nest.nest(VERDICT, |verdict| {
                verdict.be32(1, code as u32); // NFTA_VERDICT_CODE
                if let Some(chain) = chain {
                    verdict.text(2, chain); // NFTA_VERDICT_CHAIN
                }
            });
        });
    });
}
