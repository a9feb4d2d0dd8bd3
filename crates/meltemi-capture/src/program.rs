//! The rules as chains of matches and verdicts: readable as `nft list` prints them, encoded
//! by [`crate::nft`].

use crate::cidr::Cidr;
use crate::rules::{Cidrs, PASSTHROUGH_SOURCE, PASSTHROUGH_SOURCE_V6, PROXY_MARK, Ports, RuleSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Name of our table (family inet); nothing outside it is touched.
pub(crate) const TABLE: &str = "meltemi";

/// Chains of one namespace. Printed, it is what `nft list table inet meltemi` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub(crate) chains: Vec<Chain>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    pub(crate) base: Option<Base>,
    pub(crate) rules: Vec<Rule>,
}

/// Where the kernel calls a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) kind: &'static str,
    pub(crate) hook: Hook,
    pub(crate) priority: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    Prerouting,
    Output,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) matches: Vec<Match>,
    pub(crate) verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    Tcp,
    Udp,
    Mark(u32),
    User(u32),
    Group(u32),
    /// The destination port of TCP or UDP; a protocol match comes before it.
    Port(u16),
    NotPort(u16),
    Loopback,
    From(IpAddr),
    To(Cidr),
    /// Also false for the other family.
    NotTo(Cidr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Return,
    Goto(&'static str),
    Redirect(u16),
    ResetTcp,
    RefuseIcmp,
}

const LOCALHOST: Cidrs4And6 = Cidrs4And6 {
    v4: IpAddr::V4(Ipv4Addr::LOCALHOST),
    v6: IpAddr::V6(Ipv6Addr::LOCALHOST),
};

struct Cidrs4And6 {
    v4: IpAddr,
    v6: IpAddr,
}

impl Cidrs4And6 {
    fn both(&self) -> [Cidr; 2] {
        [Cidr::new(self.v4, 32), Cidr::new(self.v6, 128)]
    }
}

/// Priority of destination NAT (NF_IP_PRI_NAT_DST) and of filters.
const NAT: i32 = -100;
const FILTER: i32 = 0;
/// Istio's HBONE port: the tunnel is taken in by its own listener.
const HBONE: u16 = 15008;
const DNS: u16 = 53;

fn rule(matches: impl IntoIterator<Item = Match>, verdict: Verdict) -> Rule {
    Rule {
        matches: matches.into_iter().collect(),
        verdict,
    }
}

impl Program {
    /// The rules as nftables has them; what [`RuleSet::apply`] installs.
    pub fn of(rules: &RuleSet) -> Self {
        let mut chains = vec![
            Chain {
                name: "proxy",
                base: None,
                rules: proxy(rules),
            },
            Chain {
                name: "output",
                base: Some(Base {
                    kind: "nat",
                    hook: Hook::Output,
                    priority: NAT,
                }),
                rules: output(rules),
            },
        ];
        let inbound = prerouting(rules);
        if !inbound.is_empty() {
            let base = Some(Base {
                kind: "nat",
                hook: Hook::Prerouting,
                priority: NAT,
            });
            chains.push(Chain {
                name: "prerouting",
                base,
                rules: inbound,
            });
        }
        if !rules.reachable.is_empty() {
            let base = Some(Base {
                kind: "filter",
                hook: Hook::Output,
                priority: FILTER,
            });
            chains.push(Chain {
                name: "egress",
                base,
                rules: egress(rules),
            });
        }
        Self { chains }
    }
}

/// Connections that the proxy itself opens: to its own pod's address they come in like anyone
/// else's (a workload that calls its own service), everywhere else they go straight.
fn proxy(rules: &RuleSet) -> Vec<Rule> {
    use Match::{Loopback, NotPort, NotTo, Tcp};
    let mut chain: Vec<Rule> = Vec::new();
    if rules.include_inbound_ports != Ports::Only(Vec::new()) {
        for localhost in LOCALHOST.both() {
            chain.push(rule(
                [
                    Loopback,
                    NotTo(localhost),
                    Tcp,
                    NotPort(DNS),
                    NotPort(HBONE),
                ],
                Verdict::Redirect(rules.inbound_port),
            ));
        }
    }
    chain
}

fn output(rules: &RuleSet) -> Vec<Rule> {
    use Match::{From, Group, Loopback, Mark, Port, Tcp, To, Udp, User};
    let mut chain = Vec::new();
    for &port in &rules.exclude_outbound_ports {
        chain.push(rule([Tcp, Port(port)], Verdict::Return));
        chain.push(rule([Udp, Port(port)], Verdict::Return));
    }
    for source in [
        IpAddr::V4(PASSTHROUGH_SOURCE),
        IpAddr::V6(PASSTHROUGH_SOURCE_V6),
    ] {
        chain.push(rule([Loopback, From(source)], Verdict::Return));
    }
    chain.push(rule([Mark(PROXY_MARK)], Verdict::Goto("proxy")));
    chain.extend(
        rules
            .proxy_uids
            .iter()
            .map(|&id| rule([User(id)], Verdict::Goto("proxy"))),
    );
    chain.extend(
        rules
            .proxy_gids
            .iter()
            .map(|&id| rule([Group(id)], Verdict::Goto("proxy"))),
    );
    // Before the loopback rule: a resolver at 127.0.0.1 is captured as any other.
    if let Some(port) = rules.dns_port {
        chain.push(rule([Udp, Port(DNS)], Verdict::Redirect(port)));
        chain.push(rule([Tcp, Port(DNS)], Verdict::Redirect(port)));
    }
    chain.push(rule([Loopback], Verdict::Return));
    chain.extend(
        LOCALHOST
            .both()
            .map(|localhost| rule([To(localhost)], Verdict::Return)),
    );
    chain.extend(
        rules
            .exclude_outbound
            .iter()
            .map(|&range| rule([To(range)], Verdict::Return)),
    );
    let redirect = Verdict::Redirect(rules.outbound_port);
    match &rules.include_outbound_ports {
        Ports::All => chain.push(rule([Tcp], redirect)),
        Ports::Only(ports) => {
            chain.extend(ports.iter().map(|&port| rule([Tcp, Port(port)], redirect)))
        }
    }
    match &rules.include_outbound {
        Cidrs::All => chain.push(rule([Tcp], redirect)),
        Cidrs::Only(ranges) => {
            chain.extend(ranges.iter().map(|&range| rule([To(range), Tcp], redirect)))
        }
    }
    chain
}

fn prerouting(rules: &RuleSet) -> Vec<Rule> {
    use Match::{Port, Tcp};
    let redirect = Verdict::Redirect(rules.inbound_port);
    match &rules.include_inbound_ports {
        Ports::All => {
            let mut chain = vec![rule([Tcp, Port(HBONE)], Verdict::Return)];
            chain.extend(
                rules
                    .exclude_inbound_ports
                    .iter()
                    .map(|&port| rule([Tcp, Port(port)], Verdict::Return)),
            );
            chain.push(rule([Tcp], redirect));
            chain
        }
        Ports::Only(ports) => ports
            .iter()
            .filter(|port| !rules.exclude_inbound_ports.contains(port))
            .map(|&port| rule([Tcp, Port(port)], redirect))
            .collect(),
    }
}

/// What was not captured and has no way out of the namespace is refused, not dropped.
fn egress(rules: &RuleSet) -> Vec<Rule> {
    use Match::{Loopback, Tcp, To, Udp};
    let mut chain = vec![rule([Loopback], Verdict::Return)];
    // A redirected packet still shows its first interface here, but its new address.
    chain.extend(
        LOCALHOST
            .both()
            .map(|localhost| rule([To(localhost)], Verdict::Return)),
    );
    chain.extend(
        rules
            .reachable
            .iter()
            .map(|&range| rule([To(range)], Verdict::Return)),
    );
    chain.push(rule([Tcp], Verdict::ResetTcp));
    chain.push(rule([Udp], Verdict::RefuseIcmp));
    chain
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {TABLE} {{")?;
        for (index, chain) in self.chains.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            writeln!(f, "\tchain {} {{", chain.name)?;
            if let Some(Base {
                kind,
                hook,
                priority,
            }) = chain.base
            {
                let name = if hook == Hook::Output {
                    "output"
                } else {
                    "prerouting"
                };
                // nft has a word for destination NAT where it usually happens only.
                let priority = match (hook, priority) {
                    (_, FILTER) => "filter".to_owned(),
                    (Hook::Prerouting, NAT) => "dstnat".to_owned(),
                    (_, number) => number.to_string(),
                };
                writeln!(
                    f,
                    "\t\ttype {kind} hook {name} priority {priority}; policy accept;"
                )?;
            }
            for rule in &chain.rules {
                writeln!(f, "\t\t{rule}")?;
            }
            writeln!(f, "\t}}")?;
        }
        writeln!(f, "}}")
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut protocol = "th";
        for (index, one) in self.matches.iter().enumerate() {
            let followed = matches!(
                self.matches.get(index + 1),
                Some(Match::Port(_) | Match::NotPort(_))
            );
            match one {
                Match::Tcp | Match::Udp => {
                    protocol = if *one == Match::Tcp { "tcp" } else { "udp" };
                    if !followed {
                        write!(f, "meta l4proto {protocol} ")?;
                    }
                }
                Match::Mark(mark) => write!(f, "meta mark {mark:#010x} ")?,
                Match::User(id) => write!(f, "meta skuid {id} ")?,
                Match::Group(id) => write!(f, "meta skgid {id} ")?,
                Match::Port(port) => write!(f, "{protocol} dport {port} ")?,
                Match::NotPort(port) => write!(f, "{protocol} dport != {port} ")?,
                Match::Loopback => f.write_str("oif \"lo\" ")?,
                Match::From(source) => write!(f, "{} saddr {source} ", family(source.is_ipv4()))?,
                Match::To(range) => {
                    write!(f, "{} daddr {range} ", family(range.address().is_ipv4()))?
                }
                Match::NotTo(range) => {
                    write!(f, "{} daddr != {range} ", family(range.address().is_ipv4()))?
                }
            }
        }
        f.write_str("counter packets 0 bytes 0 ")?;
        match self.verdict {
            Verdict::Return => f.write_str("return"),
            Verdict::Goto(chain) => write!(f, "goto {chain}"),
            Verdict::Redirect(port) => write!(f, "redirect to :{port}"),
            Verdict::ResetTcp => f.write_str("reject with tcp reset"),
            Verdict::RefuseIcmp => f.write_str("reject with icmpx admin-prohibited"),
        }
    }
}

fn family(v4: bool) -> &'static str {
    if v4 { "ip" } else { "ip6" }
}
