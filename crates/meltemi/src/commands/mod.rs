//! One file a command. A command returns its exit code: 0 done, 1 refused or not ready,
//! 2 wrong usage; `run` and `exec` return the program's own.

pub mod analyze;
pub mod apply;
pub mod ca;
pub mod completion;
pub mod control_plane;
pub mod delete;
pub mod diff;
pub mod down;
pub mod exec;
pub mod explain;
pub mod get;
pub mod logs;
pub mod proxy;
pub mod proxy_config;
pub mod run;
pub mod sample;
pub mod sandbox;
pub mod status;
pub mod test;
pub mod token;
pub mod up;
pub mod validate;

use anyhow::Context;
use meltemi_local::enter::EnterError;
use std::future::Future;

pub type Outcome = anyhow::Result<std::process::ExitCode>;

/// An error of the command line rather than of the work: exit code 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Runs a command's future on a runtime of its own thread.
pub fn block_on<F: Future<Output = Outcome>>(future: F) -> Outcome {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?
        .block_on(future)
}

/// Logs to standard error by the filter, `RUST_LOG` first.
pub fn log_to_stderr(filter: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(filter));
    // A second call in one process keeps the first subscriber.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init();
}

/// What became of a program in a pod, with a shell's exit codes.
pub fn entered(outcome: Result<i32, EnterError>) -> Outcome {
    let code = match outcome {
        Ok(code) => u8::try_from(code).unwrap_or(1),
        Err(error @ (EnterError::NotFound(_) | EnterError::NotExecutable(_))) => {
            eprintln!("error: {error}");
            if matches!(error, EnterError::NotFound(_)) {
                127
            } else {
                126
            }
        }
        Err(error) => return Err(error.into()),
    };
    Ok(std::process::ExitCode::from(code))
}

/// A duration of the command line: `500ms`, `10s`, `5m`, `24h`; a bare number is seconds.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    let at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let millis = match unit {
        "ms" => 1,
        "s" | "" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => {
            return Err(format!(
                "\"{text}\": give a number and ms, s, m, h or d, such as 90s"
            ));
        }
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(millis))
        .map(std::time::Duration::from_millis)
        .ok_or_else(|| format!("\"{text}\": give a number and a unit, such as 90s"))
}
