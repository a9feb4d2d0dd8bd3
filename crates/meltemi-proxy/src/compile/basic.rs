//! Durations, percentages, addresses: the small messages that all others are made of.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::pb::{core, types, wkt};
use super::presence::refuse;
use super::{At, Error, Result};
use crate::model::{IpPrefix, TcpKeepalive};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// # Errors
/// When it is negative or out of a protobuf duration's range.
pub fn duration(value: wkt::Duration) -> Result<Duration> {
    let seconds = u64::try_from(value.seconds);
    let nanos = u32::try_from(value.nanos);
    match (seconds, nanos) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Ok(Duration::new(seconds, nanos)),
        _ => Err(Error::new("is not a positive duration")),
    }
}

/// Unset: the default.
pub fn duration_or(value: Option<wkt::Duration>, default: Duration) -> Result<Duration> {
    value.map_or(Ok(default), duration)
}

/// For timeouts where Envoy reads 0 as "none": unset is the default, 0 is `None`.
pub fn timeout(
    value: Option<wkt::Duration>,
    default: Option<Duration>,
) -> Result<Option<Duration>> {
    match value {
        None => Ok(default),
        Some(value) => duration(value).map(|value| (!value.is_zero()).then_some(value)),
    }
}

pub fn u32_or(value: Option<wkt::UInt32Value>, default: u32) -> u32 {
    value.map_or(default, |value| value.value)
}

pub fn bool_or(value: Option<wkt::BoolValue>, default: bool) -> bool {
    value.map_or(default, |value| value.value)
}

/// The default of a runtime's flag: there is no runtime. Unset: on.
pub fn runtime_flag(value: Option<core::RuntimeFeatureFlag>) -> bool {
    value.is_none_or(|value| bool_or(value.default_value, true))
}

/// Seconds in Envoy's keepalive options, which are plain numbers.
pub fn keepalive(value: core::TcpKeepalive) -> TcpKeepalive {
    let core::TcpKeepalive {
        keepalive_probes,
        keepalive_time,
        keepalive_interval,
    } = value;
    let seconds =
        |value: Option<wkt::UInt32Value>| value.map(|v| Duration::from_secs(u64::from(v.value)));
    TcpKeepalive {
        probes: keepalive_probes.map(|value| value.value),
        time: seconds(keepalive_time),
        interval: seconds(keepalive_interval),
    }
}

/// (numerator, denominator), the numerator not above the denominator.
pub fn fraction(value: types::FractionalPercent) -> (u32, u32) {
    use types::fractional_percent::DenominatorType;
    let denominator = match value.denominator() {
        DenominatorType::Hundred => 100,
        DenominatorType::TenThousand => 10_000,
        DenominatorType::Million => 1_000_000,
    };
    (value.numerator.min(denominator), denominator)
}

/// A fraction that a runtime key could override; there is no runtime to override it.
pub fn runtime_fraction(value: core::RuntimeFractionalPercent) -> Result<(u32, u32)> {
    let core::RuntimeFractionalPercent {
        default_value,
        runtime_key: _,
    } = value;
    default_value
        .map(fraction)
        .ok_or_else(|| Error::missing("default_value"))
}

/// A percentage from 0 to 100, rounded.
pub fn percent(value: types::Percent) -> u32 {
    value.value.clamp(0.0, 100.0).round() as u32
}

/// A name or an IP address, with a port.
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl HostPort {
    pub fn socket(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }
}

pub fn host_port(value: core::SocketAddress) -> Result<HostPort> {
    let core::SocketAddress {
        protocol,
        address,
        resolver_name,
        ipv4_compat: _,
        network_namespace_filepath,
        port_specifier,
    } = value;
    // TCP is 0: anything else (UDP) is refused.
    refuse!(protocol, resolver_name, network_namespace_filepath);
    let port = match port_specifier {
        None => 0,
        Some(core::socket_address::PortSpecifier::PortValue(port)) => u16::try_from(port)
            .map_err(|_| Error::new("is above 65535"))
            .at("port_value")?,
        Some(core::socket_address::PortSpecifier::NamedPort(_)) => {
            return Err(Error::unsupported("named_port"));
        }
    };
    if address.is_empty() {
        return Err(Error::missing("address"));
    }
    Ok(HostPort {
        host: address,
        port,
    })
}

/// A socket address that must be an IP address.
pub fn socket_address(value: core::SocketAddress) -> Result<SocketAddr> {
    let value = host_port(value)?;
    value.socket().ok_or_else(|| {
        Error::new(format!("{:?} is not an IP address", value.host)).at_field("address")
    })
}

/// Where something listens or connects to.
pub enum Location {
    Socket(HostPort),
    Pipe(String),
}

pub fn location(value: Option<core::Address>) -> Result<Location> {
    use core::address::Address;
    match value.and_then(|value| value.address) {
        None => Err(Error::new("is required")),
        Some(Address::SocketAddress(address)) => host_port(address)
            .map(Location::Socket)
            .at("socket_address"),
        Some(Address::Pipe(core::Pipe { path, mode: _ })) => {
            if path.is_empty() {
                return Err(Error::missing("pipe.path"));
            }
            Ok(Location::Pipe(path))
        }
        Some(Address::EnvoyInternalAddress(_)) => Err(Error::unsupported("envoy_internal_address")),
    }
}

pub fn prefix(value: core::CidrRange) -> Result<IpPrefix> {
    let core::CidrRange {
        address_prefix,
        prefix_len,
    } = value;
    let address: IpAddr = address_prefix
        .parse()
        .map_err(|_| Error::new(format!("{address_prefix:?} is not an IP address")))
        .at("address_prefix")?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = u32_or(prefix_len, 0);
    if length > longest {
        return Err(Error::new(format!("is above {longest}"))).at("prefix_len");
    }
    Ok(IpPrefix {
        address,
        length: length as u8,
    })
}

pub fn prefixes(values: Vec<core::CidrRange>, field: &str) -> Result<Vec<IpPrefix>> {
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| prefix(value).nth(field, index))
        .collect()
}

/// The text or bytes of a data source other than a file.
pub fn inline_data(value: core::DataSource) -> Result<Vec<u8>> {
    use core::data_source::Specifier;
    let core::DataSource {
        watched_directory,
        specifier,
    } = value;
    refuse!(watched_directory);
    match specifier {
        Some(Specifier::InlineBytes(bytes)) => Ok(bytes),
        Some(Specifier::InlineString(text)) => Ok(text.into_bytes()),
        Some(Specifier::EnvironmentVariable(name)) => std::env::var(&name)
            .map(String::into_bytes)
            .map_err(|_| Error::new(format!("{name} is not set")))
            .at("environment_variable"),
        Some(Specifier::Filename(path)) => std::fs::read(&path)
            .map_err(|error| Error::new(format!("{path}: {error}")))
            .at("filename"),
        None => Err(Error::new("is empty")),
    }
}

/// Where a configuration comes from by ADS, and how long to wait for it (0: for ever).
///
/// # Errors
/// When the source is anything but ADS: paths and own servers of each resource are not
/// supported.
pub fn from_ads(value: Option<core::ConfigSource>) -> Result<Duration> {
    use core::config_source::ConfigSourceSpecifier;
    let core::ConfigSource {
        authorities,
        initial_fetch_timeout,
        resource_api_version: _,
        config_source_specifier,
    } = value.ok_or_else(|| Error::new("is required"))?;
    refuse!(authorities);
    match config_source_specifier {
        Some(ConfigSourceSpecifier::Ads(_)) => {}
        Some(ConfigSourceSpecifier::Self_(_)) => {}
        _ => return Err(Error::new("only `ads` is supported as a source")),
    }
    fetch_timeout(initial_fetch_timeout)
}

pub fn fetch_timeout(value: Option<wkt::Duration>) -> Result<Duration> {
    duration_or(value, crate::config::INITIAL_FETCH_TIMEOUT).at("initial_fetch_timeout")
}
