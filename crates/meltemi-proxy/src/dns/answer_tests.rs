//! Queries as stub resolvers send them.

use super::*;
use crate::dns::table::Zone;
use hickory_proto::op::{Edns, Query};
use meltemi_xds::nds::{NameInfo, NameTable};
use proptest::prelude::*;

fn table() -> Table {
    let host = |ips: &[String], registry: &str, short: &str| NameInfo {
        ips: ips.to_vec(),
        registry: registry.into(),
        shortname: short.into(),
        namespace: "default".into(),
        alt_hosts: Vec::new(),
    };
    let many: Vec<String> = (1..=200).map(|last| format!("10.98.1.{last}")).collect();
    let nds = NameTable {
        table: [
            (
                "reviews.default.svc.cluster.local".to_owned(),
                host(&["10.99.0.1".into()], "Kubernetes", "reviews"),
            ),
            (
                "many.default.svc.cluster.local".to_owned(),
                host(&many, "Kubernetes", "many"),
            ),
        ]
        .into(),
    };
    Table::from_nds(&nds, Zone::default()).0
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 77;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn ask_with(message: &Message, unknown: UnknownNames, udp: bool) -> Verdict {
    answer(&table(), unknown, &message.to_vec().unwrap(), udp)
}

fn ask(name: &str, kind: RecordType) -> Message {
    match ask_with(&query(name, kind), UnknownNames::Forward, true) {
        Verdict::Reply(bytes) => Message::from_vec(&bytes).unwrap(),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn known_names_have_addresses_and_other_types_no_data() {
    for name in [
        "reviews.",
        "REVIEWS.Default.svc.cluster.local.",
        "reviews.default.",
    ] {
        let reply = ask(name, RecordType::A);
        assert_eq!(reply.metadata.id, 77);
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        assert_eq!(reply.answers.len(), 1, "{name}");
        assert_eq!(reply.answers[0].data, RData::A(A::new(10, 99, 0, 1)));
        // The case of the question comes back: some resolvers check it.
        assert_eq!(reply.answers[0].name.to_ascii(), name);
    }
    for kind in [
        RecordType::AAAA,
        RecordType::CNAME,
        RecordType::SRV,
        RecordType::HTTPS,
    ] {
        let reply = ask("reviews.default.svc.cluster.local.", kind);
        assert_eq!(
            reply.metadata.response_code,
            ResponseCode::NoError,
            "{kind}"
        );
        assert!(reply.answers.is_empty(), "{kind}");
    }
    let reply = ask("1.0.99.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
}

#[test]
fn unknown_names_are_forwarded_refused_or_denied() {
    assert_eq!(
        ask("nobody.default.svc.cluster.local.", RecordType::A)
            .metadata
            .response_code,
        ResponseCode::NXDomain
    );
    // A search domain on an outside name: the resolver must go on to the name itself.
    assert_eq!(
        ask("example.com.svc.cluster.local.", RecordType::A)
            .metadata
            .response_code,
        ResponseCode::NXDomain
    );
    let outside = query("example.com.", RecordType::A);
    assert!(matches!(
        ask_with(&outside, UnknownNames::Forward, true),
        Verdict::Forward { .. }
    ));
    let Verdict::Reply(bytes) = ask_with(&outside, UnknownNames::Refuse, true) else {
        panic!("not refused");
    };
    assert_eq!(
        Message::from_vec(&bytes).unwrap().metadata.response_code,
        ResponseCode::Refused
    );
}

#[test]
fn large_answers_are_cut_over_udp_and_whole_over_tcp() {
    let asked = query("many.", RecordType::A);
    let Verdict::Reply(bytes) = ask_with(&asked, UnknownNames::Refuse, true) else {
        panic!("no reply");
    };
    assert!(bytes.len() <= UDP_MIN);
    assert!(Message::from_vec(&bytes).unwrap().metadata.truncation);
    let mut asked = asked;
    asked.edns = Some(Edns::new());
    let Verdict::Reply(bytes) = ask_with(&asked, UnknownNames::Refuse, false) else {
        panic!("no reply");
    };
    let reply = Message::from_vec(&bytes).unwrap();
    assert_eq!(reply.answers.len(), 200);
    assert!(reply.edns.is_some() && !reply.metadata.truncation);
}

#[test]
fn replies_and_rubbish_cause_no_loop() {
    let mut reply = query("reviews.", RecordType::A);
    reply.metadata.message_type = MessageType::Response;
    assert_eq!(
        ask_with(&reply, UnknownNames::Forward, true),
        Verdict::Ignore
    );
    assert_eq!(
        answer(&table(), UnknownNames::Forward, b"short", true),
        Verdict::Ignore
    );
    let mut broken = query("reviews.", RecordType::A).to_vec().unwrap();
    broken.truncate(20);
    let Verdict::Reply(bytes) = answer(&table(), UnknownNames::Forward, &broken, true) else {
        panic!("no FORMERR");
    };
    assert_eq!(&bytes[..2], &broken[..2]);
    assert_eq!(bytes[3] & 0x0f, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), at in 0usize..40, value: u8) {
        let table = table();
        answer(&table, UnknownNames::Forward, &bytes, true);
        let mut mutated = query("reviews.default.svc.cluster.local.", RecordType::A).to_vec().unwrap();
        mutated[at] = value;
        answer(&table, UnknownNames::Forward, &mutated, true);
    }
}
