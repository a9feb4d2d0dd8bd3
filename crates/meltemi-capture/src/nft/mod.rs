//! nftables over netlink: a [`Program`] as one transaction.

mod expr;

use crate::error::CaptureError;
use crate::netlink::{ACK, APPEND, CREATE, Message, Socket};
use crate::netns::Netns;
use crate::program::{Chain, Hook, Program, TABLE};
use crate::rules::RuleSet;

const SUBSYSTEM: u16 = libc::NFNL_SUBSYS_NFTABLES as u16;
const INET: u8 = libc::NFPROTO_INET as u8;

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;

impl RuleSet {
    /// Puts the rules in force in `namespace`, in one transaction that replaces earlier ones:
    /// there is no moment without rules, and after an error the old ones stand.
    ///
    /// # Errors
    /// The step that the kernel refused.
    pub fn apply(&self, namespace: &Netns) -> Result<(), CaptureError> {
        let program = Program::of(self);
        namespace.run(|| replace(&program))?
    }
}

/// `struct nfgenmsg`.
fn head(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, libc::NFNETLINK_V0 as u8, high, low]
}

fn message(step: String, kind: libc::c_int, flags: u16) -> Message {
    Message::new(
        step,
        (SUBSYSTEM << 8) | kind as u16,
        flags | ACK,
        &head(INET, 0),
    )
}

fn table(step: &str, kind: libc::c_int) -> Message {
    let mut message = message(format!("{step} nftables table inet {TABLE}"), kind, CREATE);
    message.text(NFTA_TABLE_NAME, TABLE);
    message
}

/// Replaces our table in the calling thread's namespace by `program`, all or nothing.
fn replace(program: &Program) -> Result<(), CaptureError> {
    let mut socket = Socket::open(libc::NETLINK_NETFILTER, "netfilter").map_err(|error| {
        error.needs("the kernel needs nftables (CONFIG_NF_TABLES; modprobe nf_tables)")
    })?;
    let border = |kind: libc::c_int| {
        Message::new(
            "frame an nftables batch",
            kind as u16,
            0,
            &head(libc::AF_UNSPEC as u8, SUBSYSTEM),
        )
    };
    // Adding first makes the deletion succeed where there was no table yet.
    let mut batch = vec![
        border(libc::NFNL_MSG_BATCH_BEGIN),
        table("add", libc::NFT_MSG_NEWTABLE),
        table("clear", libc::NFT_MSG_DELTABLE),
        table("add", libc::NFT_MSG_NEWTABLE),
    ];
    batch.extend(program.chains.iter().map(chain));
    for chain in &program.chains {
        for rule in &chain.rules {
            let step = format!("add nftables rule \"{rule}\" to chain {}", chain.name);
            let mut message = message(step, libc::NFT_MSG_NEWRULE, CREATE | APPEND);
            message.text(NFTA_RULE_TABLE, TABLE);
            message.text(NFTA_RULE_CHAIN, chain.name);
            message.nest(NFTA_RULE_EXPRESSIONS, |list| expr::rule(list, rule));
            batch.push(message);
        }
    }
    batch.push(border(libc::NFNL_MSG_BATCH_END));
    socket.transact(&mut batch).map_err(|error| {
        error.needs(
            "the kernel needs nftables with NAT for the inet family (Linux 5.2 or newer with CONFIG_NF_TABLES, \
             NF_TABLES_INET, NFT_NAT, NFT_REDIR, NFT_REJECT; modprobe nft_chain_nat nft_redir nft_reject_inet)",
        )
    })
}

fn chain(chain: &Chain) -> Message {
    let kind = chain
        .base
        .map_or(String::new(), |base| format!(" (type {})", base.kind));
    let mut message = message(
        format!("add nftables chain {}{kind}", chain.name),
        libc::NFT_MSG_NEWCHAIN,
        CREATE,
    );
    message.text(NFTA_CHAIN_TABLE, TABLE);
    message.text(NFTA_CHAIN_NAME, chain.name);
    if let Some(base) = chain.base {
        let hook = match base.hook {
            Hook::Prerouting => libc::NF_INET_PRE_ROUTING,
            Hook::Output => libc::NF_INET_LOCAL_OUT,
        };
        message.nest(NFTA_CHAIN_HOOK, |nest| {
            nest.be32(NFTA_HOOK_HOOKNUM, hook as u32);
            nest.be32(NFTA_HOOK_PRIORITY, base.priority as u32);
        });
        message.be32(NFTA_CHAIN_POLICY, libc::NF_ACCEPT as u32);
        message.text(NFTA_CHAIN_TYPE, base.kind);
    }
    message
}
