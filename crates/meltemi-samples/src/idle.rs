//! sleep: a workload that does nothing, to send requests from with `exec`.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::options::Options;
use crate::server;

/// Ends on a signal, or after the seconds given (`infinity`: never).
pub(crate) async fn run(options: Options) -> Result<()> {
    let limit = match options.positional.as_slice() {
        [] => None,
        [only] if only == "infinity" => None,
        [seconds] => {
            Some(Duration::from_secs(seconds.parse().with_context(|| {
                format!("{seconds:?} is not a number of seconds")
            })?))
        }
        [_, surplus, ..] => bail!("unexpected argument {surplus:?}"),
    };
    let mut stop = server::stop_on_signals()?;
    let stopped = server::stopped(&mut stop);
    match limit {
        // Running out of time is the normal end here.
        Some(limit) => _ = tokio::time::timeout(limit, stopped).await,
        None => stopped.await,
    }
    Ok(())
}
