//! The process's own log, and changing its levels while it runs.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// The names that `/logging` knows: parts of the proxy, then libraries.
const LOGGERS: &[&str] = &[
    "admin",
    "compile",
    "config",
    "dns",
    "http",
    "lifecycle",
    "listener",
    "net",
    "tcp",
    "telemetry",
    "tls",
    "upstream",
    "worker",
    "h2",
    "hyper",
    "rustls",
    "tonic",
];
const LIBRARIES: &[&str] = &["h2", "hyper", "rustls", "tonic"];

/// Levels by logger, and the way to make them effective.
#[derive(Clone)]
pub struct Levels(Arc<Inner>);

struct Inner {
    /// `None` when the host of this library brought its own subscriber.
    handle: Option<reload::Handle<EnvFilter, Registry>>,
    /// The start's filter, then single changes.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    base: String,
    changed: Vec<(&'static str, &'static str)>,
}

impl Levels {
    /// Logs to standard error with the filter, unless a subscriber is there already.
    ///
    /// # Errors
    /// The filter is no `tracing` filter.
    pub fn start(filter: &str) -> Result<Self, String> {
        let parsed =
            EnvFilter::try_new(filter).map_err(|error| format!("log level `{filter}`: {error}"))?;
        let (layer, handle) = reload::Layer::new(parsed);
        let installed = tracing_subscriber::registry()
            .with(layer)
            .with(fmt::layer().with_writer(std::io::stderr).with_ansi(false))
            .try_init()
            .is_ok();
        let state = State {
            base: filter.to_owned(),
            changed: Vec::new(),
        };
        Ok(Self(Arc::new(Inner {
            handle: installed.then_some(handle),
            state: Mutex::new(state),
        })))
    }

    /// One level for everything.
    pub fn set_all(&self, level: &str) -> Result<(), String> {
        let level = canonical(level)?;
        self.change(|state| {
            state.base = level.to_owned();
            state.changed.clear();
        })
    }

    /// The level of one logger.
    pub fn set(&self, logger: &str, level: &str) -> Result<(), String> {
        let level = canonical(level)?;
        let logger = LOGGERS
            .iter()
            .find(|known| **known == logger)
            .ok_or_else(|| {
                format!(
                    "unknown logger name `{logger}`; known are {}",
                    LOGGERS.join(", ")
                )
            })?;
        self.change(|state| {
            state.changed.retain(|(name, _)| name != logger);
            state.changed.push((logger, level));
        })
    }

    fn change(&self, edit: impl FnOnce(&mut State)) -> Result<(), String> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        edit(&mut state);
        let mut filter = state.base.clone();
        for (name, level) in &state.changed {
            let target = if LIBRARIES.contains(name) {
                (*name).to_owned()
            } else {
                format!("meltemi_proxy::{name}")
            };
            let _ = write!(filter, ",{target}={level}");
        }
        let Some(handle) = &self.0.handle else {
            return Err("the log belongs to the program around the proxy".into());
        };
        let parsed = EnvFilter::try_new(&filter).map_err(|error| error.to_string())?;
        handle.reload(parsed).map_err(|error| error.to_string())
    }

    /// Every logger and its level, as Envoy's `/logging` prints them.
    pub fn text(&self) -> String {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::from("active loggers:\n");
        for name in LOGGERS {
            let changed = state.changed.iter().find(|(known, _)| known == name);
            let level = changed.map_or(state.base.as_str(), |(_, level)| level);
            let _ = writeln!(text, "  {name}: {level}");
        }
        text
    }
}

/// Envoy's level names as `tracing` knows them.
fn canonical(level: &str) -> Result<&'static str, String> {
    Ok(match level {
        "trace" => "trace",
        "debug" => "debug",
        "info" => "info",
        "warning" | "warn" => "warn",
        "error" | "critical" => "error",
        "off" => "off",
        _ => {
            return Err(format!(
                "unknown level `{level}`: trace, debug, info, warning, error, critical or off"
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_refused_by_name() {
        assert_eq!(canonical("warning"), Ok("warn"));
        assert!(canonical("loud").unwrap_err().contains("loud"));
        let levels = Levels::start("info").unwrap();
        assert!(
            levels
                .set("nothing", "info")
                .unwrap_err()
                .contains("nothing")
        );
        assert!(Levels::start("a=b=c").is_err());
        assert!(levels.text().contains("listener: info"));
    }
}
