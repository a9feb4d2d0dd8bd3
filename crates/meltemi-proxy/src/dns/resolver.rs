//! Looking names up, by the name servers and the hosts file of the host (the main thread's
//! namespace).

use super::{Forwarder, ResolverConfig};
use crate::model::DnsFamily;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Longest CNAME chain that is followed.
const MAX_ALIASES: usize = 8;
/// Most addresses kept for one name.
const MAX_ADDRESSES: usize = 256;

/// Looks names up.
pub struct Resolver {
    forwarder: Forwarder,
    search: Vec<String>,
}

impl Resolver {
    /// With the host's configuration, or with these servers.
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        let path = Path::new("/etc/resolv.conf");
        let config = if servers.is_empty() {
            ResolverConfig::read(path)
        } else {
            ResolverConfig { servers }
        };
        let text = std::fs::read_to_string(path).unwrap_or_default();
        Self {
            forwarder: Forwarder::new(config),
            search: search_domains(&text),
        }
    }

    /// All addresses of a name in the wanted families, and how long they hold.
    ///
    /// # Errors
    /// When no name server answers or none knows the name.
    pub async fn resolve(
        &self,
        name: &str,
        family: DnsFamily,
    ) -> Result<(Vec<IpAddr>, Option<Duration>), String> {
        let wanted = |ip: &IpAddr| match family {
            DnsFamily::V4Only => ip.is_ipv4(),
            DnsFamily::V6Only => ip.is_ipv6(),
            DnsFamily::Auto | DnsFamily::V4Preferred | DnsFamily::All => true,
        };
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let found: Vec<IpAddr> = hosts_file(&hosts, name)
            .into_iter()
            .filter(wanted)
            .collect();
        if !found.is_empty() {
            return Ok((found, None));
        }
        let mut last = Err(format!("{name}: no such name"));
        for candidate in self.candidates(name) {
            last = self.families(&candidate, family).await;
            if last.is_ok() {
                return last;
            }
        }
        last
    }

    /// The name itself, and within the search domains when it has no dot (`ndots:1`).
    fn candidates(&self, name: &str) -> Vec<String> {
        let mut names = Vec::new();
        if !name.contains('.') {
            names.extend(self.search.iter().map(|domain| format!("{name}.{domain}.")));
        }
        names.push(format!("{}.", name.trim_end_matches('.')));
        names
    }

    async fn families(
        &self,
        name: &str,
        family: DnsFamily,
    ) -> Result<(Vec<IpAddr>, Option<Duration>), String> {
        use RecordType::{A, AAAA};
        match family {
            DnsFamily::V4Only => self.query(name, A).await,
            DnsFamily::V6Only => self.query(name, AAAA).await,
            DnsFamily::Auto => self.first_of(name, AAAA, A).await,
            DnsFamily::V4Preferred => self.first_of(name, A, AAAA).await,
            DnsFamily::All => {
                let (v6, v4) = futures_util::join!(self.query(name, AAAA), self.query(name, A));
                match (v6, v4) {
                    (Ok((mut all, a)), Ok((more, b))) => {
                        all.extend(more);
                        Ok((all, a.min(b)))
                    }
                    (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
                    (Err(error), Err(_)) => Err(error),
                }
            }
        }
    }

    async fn first_of(
        &self,
        name: &str,
        preferred: RecordType,
        other: RecordType,
    ) -> Result<(Vec<IpAddr>, Option<Duration>), String> {
        match self.query(name, preferred).await {
            Ok(found) => Ok(found),
            Err(_) => self.query(name, other).await,
        }
    }

    /// One question; an answer without addresses is an error.
    async fn query(
        &self,
        name: &str,
        kind: RecordType,
    ) -> Result<(Vec<IpAddr>, Option<Duration>), String> {
        let question = question(name, kind)?;
        let bytes = question.to_vec().map_err(|error| error.to_string())?;
        let ask = async |udp| {
            let answer = self
                .forwarder
                .ask(&bytes, udp)
                .await
                .map_err(|error| format!("{name}: {error}"))?;
            Message::from_vec(&answer).map_err(|error| format!("{name}: {error}"))
        };
        let mut answer = ask(true).await?;
        if answer.metadata.truncation {
            answer = ask(false).await?;
        }
        if answer.metadata.response_code != ResponseCode::NoError {
            return Err(format!("{name}: {}", answer.metadata.response_code));
        }
        addresses(&answer, name, kind)
    }
}

fn question(name: &str, kind: RecordType) -> Result<Message, String> {
    let name = Name::from_ascii(name).map_err(|error| format!("{name}: {error}"))?;
    let mut message = Message::new(fastrand::u16(..), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    Ok(message)
}

/// The answer's addresses, aliases followed within it, and the shortest time to live.
fn addresses(
    answer: &Message,
    name: &str,
    kind: RecordType,
) -> Result<(Vec<IpAddr>, Option<Duration>), String> {
    let mut owner = Name::from_ascii(name).map_err(|error| error.to_string())?;
    let mut ttl = u32::MAX;
    for _ in 0..MAX_ALIASES {
        let alias = answer.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name.eq_ignore_root_case(&owner) => {
                Some((target.0.clone(), record.ttl))
            }
            _ => None,
        });
        let Some((target, alias_ttl)) = alias else {
            break;
        };
        ttl = ttl.min(alias_ttl);
        owner = target;
    }
    let found: Vec<IpAddr> = answer
        .answers
        .iter()
        .filter(|record| record.name.eq_ignore_root_case(&owner))
        .filter_map(|record| {
            let ip = match &record.data {
                RData::A(address) if kind == RecordType::A => IpAddr::V4(address.0),
                RData::AAAA(address) if kind == RecordType::AAAA => IpAddr::V6(address.0),
                _ => return None,
            };
            ttl = ttl.min(record.ttl);
            Some(ip)
        })
        .take(MAX_ADDRESSES)
        .collect();
    if found.is_empty() {
        return Err(format!("{name}: no address"));
    }
    Ok((found, Some(Duration::from_secs(u64::from(ttl)))))
}

/// Addresses of a name in `/etc/hosts`.
fn hosts_file(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    text.lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let ip: IpAddr = words.next()?.parse().ok()?;
            words
                .any(|word| word.eq_ignore_ascii_case(name))
                .then_some(ip)
        })
        .collect()
}

/// The last `search` or `domain` line counts, as in libc.
fn search_domains(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            matches!(words.next(), Some("search" | "domain")).then(|| {
                words
                    .map(|word| word.trim_end_matches('.').to_owned())
                    .collect()
            })
        })
        .next_back()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_file_names_are_found() {
        let text = "127.0.0.1 localhost\n# 10.0.0.9 api\n10.0.0.1 API.test api # x\n::1 api";
        let expected: Vec<IpAddr> = vec!["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(hosts_file(text, "api"), expected);
        assert!(hosts_file(text, "x").is_empty());
    }

    #[test]
    fn the_last_search_line_counts() {
        assert_eq!(
            search_domains("search a.test\nnameserver 1.1.1.1\nsearch b.test. c.test"),
            ["b.test", "c.test"]
        );
    }
}
