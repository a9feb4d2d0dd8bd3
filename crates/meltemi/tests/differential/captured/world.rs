//! A network namespace in which every address is the machine's own. Connections that carry one
//! of [`Mark`]'s marks go where a workload's rules would send them; all others are the
//! proxies' own, and go to the services.

use crate::common::namespace::run;

/// How a client comes to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// As the workload's own application: turned to port 15001.
    Outbound = 1,
    /// As a caller of the workload: turned to port 15006.
    Inbound = 2,
    /// As a caller of a gateway: not turned.
    Direct = 3,
}

/// Makes every address the machine's own.
///
/// # Errors
/// The command that failed, and what it said.
pub fn open() -> Result<(), String> {
    run("ip", &["link", "set", "lo", "up"])?;
    run("ip", &["route", "add", "local", "0.0.0.0/0", "dev", "lo"])
}

/// Steers connections to the proxies, to the services at port `echo`, and questions for names
/// to port `names`.
///
/// # Errors
/// As [`open`].
pub fn steer(echo: u16, names: u16) -> Result<(), String> {
    let rules = format!(
        "table inet captured {{ chain output {{
            type nat hook output priority -100;
            meta l4proto udp udp dport 53 redirect to :{names}
            meta l4proto tcp meta mark {} redirect to :15001
            meta l4proto tcp meta mark {} redirect to :15006
            meta mark {} return
            ip daddr 127.0.0.0/8 return
            meta l4proto tcp redirect to :{echo}
        }}
        }}",
        Mark::Outbound as u32,
        Mark::Inbound as u32,
        Mark::Direct as u32,
    );
    run("nft", &[&rules])
}
