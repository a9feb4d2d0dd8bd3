//! What a sample is told at its start: arguments first, the environment second.

use std::collections::HashMap;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};

/// The arguments that every sample understands, for a command's help text.
pub const USAGE: &str = "[--version V] [--port PORT] [--address IP] [ARGUMENTS]";

/// The environment a sample reads. A value of its own, so that tests can run several
/// services with different settings in one process.
#[derive(Clone, Default)]
pub(crate) struct Env(HashMap<String, String>);

impl Env {
    /// The process's environment; variables that are not UTF-8 are left out.
    pub(crate) fn of_process() -> Env {
        let utf8 = |(k, v): (std::ffi::OsString, std::ffi::OsString)| {
            Some((k.into_string().ok()?, v.into_string().ok()?))
        };
        Env(std::env::vars_os().filter_map(utf8).collect())
    }

    #[cfg(test)]
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Env {
        Env(pairs
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect())
    }

    /// The value of `name`; an empty one counts as unset.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|v| !v.is_empty())
    }

    /// The name this process answers under: the pod's name, as Kubernetes sets `HOSTNAME`.
    pub(crate) fn pod(&self) -> String {
        self.get("HOSTNAME").unwrap_or("localhost").to_string()
    }

    /// `http://NAME:PORT` of another service, with the overrides of the original bookinfo:
    /// `NAME_HOSTNAME`, `NAME_SERVICE_PORT` and `SERVICES_DOMAIN`.
    pub(crate) fn service_url(&self, name: &str) -> String {
        let upper = name.to_ascii_uppercase();
        let host = self.get(&format!("{upper}_HOSTNAME")).unwrap_or(name);
        let port = self.get(&format!("{upper}_SERVICE_PORT")).unwrap_or("9080");
        match self.get("SERVICES_DOMAIN") {
            Some(domain) => format!("http://{host}.{domain}:{port}"),
            None => format!("http://{host}:{port}"),
        }
    }
}

/// A sample's parsed arguments.
pub(crate) struct Options {
    pub(crate) env: Env,
    port: Option<u16>,
    version: Option<String>,
    /// Listen on this address only; unset: on every address, IPv4 and IPv6.
    pub(crate) address: Option<IpAddr>,
    /// Arguments without a name, in order.
    pub(crate) positional: Vec<String>,
}

impl Options {
    /// # Errors
    /// An option that does not exist, lacks its value, or has one that cannot be read.
    pub(crate) fn parse(args: &[String], env: Env) -> Result<Options> {
        let mut options = Options {
            port: env
                .get("PORT")
                .map(parse_port)
                .transpose()
                .context("PORT")?,
            version: env.get("SERVICE_VERSION").map(str::to_string),
            address: env
                .get("BIND_ADDRESS")
                .map(str::parse)
                .transpose()
                .context("BIND_ADDRESS")?,
            positional: Vec::new(),
            env,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let (name, inline) = match arg.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value.to_string())),
                _ => (arg.as_str(), None),
            };
            if !name.starts_with("--") {
                options.positional.push(arg.clone());
                continue;
            }
            if !["--port", "--version", "--address"].contains(&name) {
                bail!("unknown option {name}; usage: {}", USAGE);
            }
            let value = match inline {
                Some(value) => value,
                None => args
                    .next()
                    .with_context(|| format!("{name} needs a value"))?
                    .clone(),
            };
            match name {
                "--port" => options.port = Some(parse_port(&value).context("--port")?),
                "--version" => options.version = Some(value),
                _ => options.address = Some(value.parse().context("--address")?),
            }
        }
        Ok(options)
    }

    /// The port to listen on. The original bookinfo services take it as their only
    /// argument, so a single positional number is accepted too.
    ///
    /// # Errors
    /// More positional arguments than that one, or one that is not a port.
    pub(crate) fn port(&self, default: u16) -> Result<u16> {
        match self.positional.as_slice() {
            [] => Ok(self.port.unwrap_or(default)),
            [port] => parse_port(port),
            [_, surplus, ..] => bail!("unexpected argument {surplus:?}"),
        }
    }

    /// The version to play, one of `known`; the first of them unless told otherwise.
    ///
    /// # Errors
    /// A version that this service does not have.
    pub(crate) fn version(&self, known: &[&str]) -> Result<String> {
        let version = self.version.as_deref().unwrap_or(known[0]);
        if !known.contains(&version) {
            bail!("no version {version:?}; there are {}", known.join(", "));
        }
        Ok(version.to_string())
    }
}

fn parse_port(text: &str) -> Result<u16> {
    text.parse()
        .with_context(|| format!("{text:?} is not a port (0 to 65535)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str], env: &[(&str, &str)]) -> Result<Options> {
        let args: Vec<String> = args.iter().map(|a| a.to_string()).collect();
        Options::parse(&args, Env::of(env))
    }

    #[test]
    fn arguments_win_over_the_environment() {
        let env = [("PORT", "1"), ("SERVICE_VERSION", "v3")];
        let options = parse(&["--port=2", "--version", "v2"], &env).unwrap();
        assert_eq!(options.port(9080).unwrap(), 2);
        assert_eq!(options.version(&["v1", "v2", "v3"]).unwrap(), "v2");
        let options = parse(&[], &env).unwrap();
        assert_eq!(
            (
                options.port(9080).unwrap(),
                options.version(&["v1", "v3"]).unwrap()
            ),
            (1, "v3".to_string())
        );
        assert_eq!(parse(&["8000"], &env).unwrap().port(9080).unwrap(), 8000);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert!(parse(&["--colour", "red"], &[]).is_err());
        assert!(parse(&["--port"], &[]).is_err());
        assert!(parse(&["--port", "x"], &[]).is_err());
        assert!(
            parse(&["--version", "v9"], &[])
                .unwrap()
                .version(&["v1"])
                .is_err()
        );
        assert!(parse(&["1", "2"], &[]).unwrap().port(1).is_err());
    }

    #[test]
    fn service_addresses_follow_the_originals_variables() {
        assert_eq!(Env::default().service_url("reviews"), "http://reviews:9080");
        let env = Env::of(&[
            ("REVIEWS_HOSTNAME", "r"),
            ("REVIEWS_SERVICE_PORT", "1"),
            ("SERVICES_DOMAIN", "ns.svc"),
        ]);
        assert_eq!(env.service_url("reviews"), "http://r.ns.svc:1");
    }
}
