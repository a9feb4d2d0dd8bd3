//! Annotations to rules, as text: no privilege needed.

use meltemi_capture::{Program, RuleSet};
use std::collections::BTreeMap;

fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn the_standard_rules_read_as_istios() {
    let expected = "table inet meltemi {
	chain proxy {
		oif \"lo\" ip daddr != 127.0.0.1 tcp dport != 53 tcp dport != 15008 counter packets 0 bytes 0 redirect to :15006
		oif \"lo\" ip6 daddr != ::1 tcp dport != 53 tcp dport != 15008 counter packets 0 bytes 0 redirect to :15006
	}

	chain output {
		type nat hook output priority -100; policy accept;
		oif \"lo\" ip saddr 127.0.0.6 counter packets 0 bytes 0 return
		oif \"lo\" ip6 saddr ::6 counter packets 0 bytes 0 return
		meta mark 0x00000539 counter packets 0 bytes 0 goto proxy
		meta skuid 1337 counter packets 0 bytes 0 goto proxy
		meta skgid 1337 counter packets 0 bytes 0 goto proxy
		udp dport 53 counter packets 0 bytes 0 redirect to :15053
		tcp dport 53 counter packets 0 bytes 0 redirect to :15053
		oif \"lo\" counter packets 0 bytes 0 return
		ip daddr 127.0.0.1 counter packets 0 bytes 0 return
		ip6 daddr ::1 counter packets 0 bytes 0 return
		meta l4proto tcp counter packets 0 bytes 0 redirect to :15001
	}

	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		tcp dport 15008 counter packets 0 bytes 0 return
		tcp dport 15090 counter packets 0 bytes 0 return
		tcp dport 15021 counter packets 0 bytes 0 return
		tcp dport 15020 counter packets 0 bytes 0 return
		meta l4proto tcp counter packets 0 bytes 0 redirect to :15006
	}

	chain egress {
		type filter hook output priority filter; policy accept;
		oif \"lo\" counter packets 0 bytes 0 return
		ip daddr 127.0.0.1 counter packets 0 bytes 0 return
		ip6 daddr ::1 counter packets 0 bytes 0 return
		ip daddr 10.98.0.0/16 counter packets 0 bytes 0 return
		meta l4proto tcp counter packets 0 bytes 0 reject with tcp reset
		meta l4proto udp counter packets 0 bytes 0 reject with icmpx admin-prohibited
	}
}
";
    let rules = RuleSet::standard(vec!["10.98.0.0/16".parse().unwrap()]);
    assert_eq!(Program::of(&rules).to_string(), expected);
}

#[test]
fn annotations_become_rules() {
    let rules = RuleSet::from_annotations(
        &annotations(&[
            (
                "traffic.sidecar.istio.io/includeOutboundIPRanges",
                "10.0.0.0/8, fd00::/8",
            ),
            (
                "traffic.sidecar.istio.io/excludeOutboundIPRanges",
                "10.1.0.0/16",
            ),
            ("traffic.sidecar.istio.io/includeOutboundPorts", "8080,8443"),
            ("traffic.sidecar.istio.io/excludeOutboundPorts", "3306"),
            ("traffic.sidecar.istio.io/includeInboundPorts", "80, 443"),
            ("traffic.sidecar.istio.io/excludeInboundPorts", "443"),
        ]),
        Vec::new(),
    )
    .unwrap();
    let text = Program::of(&rules).to_string();
    for line in [
        "tcp dport 3306 counter packets 0 bytes 0 return",
        "udp dport 3306 counter packets 0 bytes 0 return",
        "ip daddr 10.1.0.0/16 counter packets 0 bytes 0 return",
        "tcp dport 8443 counter packets 0 bytes 0 redirect to :15001",
        "ip daddr 10.0.0.0/8 meta l4proto tcp counter packets 0 bytes 0 redirect to :15001",
        "ip6 daddr fd00::/8 meta l4proto tcp counter packets 0 bytes 0 redirect to :15001",
        "tcp dport 80 counter packets 0 bytes 0 redirect to :15006",
    ] {
        assert!(
            text.contains(&format!("\t\t{line}\n")),
            "{line} missing in\n{text}"
        );
    }
    assert!(!text.contains("dport 443 "), "{text}");
    assert!(!text.contains("egress"), "{text}");
    let wire = serde_json::to_string(&rules).unwrap();
    assert_eq!(serde_json::from_str::<RuleSet>(&wire).unwrap(), rules);
}

#[test]
fn empty_lists_capture_nothing() {
    let rules = RuleSet::from_annotations(
        &annotations(&[
            ("traffic.sidecar.istio.io/includeOutboundIPRanges", ""),
            ("traffic.sidecar.istio.io/includeInboundPorts", ""),
        ]),
        Vec::new(),
    )
    .unwrap();
    let text = Program::of(&rules).to_string();
    assert!(!text.contains("15001") && !text.contains("15006"), "{text}");
}

#[test]
fn what_cannot_be_honoured_is_named() {
    for (name, value) in [
        ("sidecar.istio.io/interceptionMode", "TPROXY"),
        ("sidecar.istio.io/interceptionMode", "redirect"),
        ("traffic.sidecar.istio.io/excludeInterfaces", "eth1"),
        ("traffic.sidecar.istio.io/excludeOutboundPorts", "0"),
        ("traffic.sidecar.istio.io/includeInboundPorts", "http"),
        ("traffic.sidecar.istio.io/excludeOutboundIPRanges", "*"),
    ] {
        let error =
            RuleSet::from_annotations(&annotations(&[(name, value)]), Vec::new()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}
