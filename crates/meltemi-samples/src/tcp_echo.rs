//! tcp-echo: answers every line with a prefix and the line, as Istio's tcp-echo-server does.
//! Arguments: `PORT[,PORT...] PREFIX`, by default `9000,9001,9002 hello`.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::options::Options;
use crate::server::{self, Stop};

const MAX_CONNECTIONS: usize = 1024;
/// Longest line echoed in one piece; a longer one is echoed piece by piece.
const MAX_LINE: u64 = 64 << 10;

pub(crate) async fn run(options: Options) -> Result<()> {
    options.version(&["v1", "v2"])?;
    let (ports, prefix) = match options.positional.as_slice() {
        [] => ("9000,9001,9002", "hello"),
        [ports] => (ports.as_str(), "hello"),
        [ports, prefix] => (ports.as_str(), prefix.as_str()),
        [_, _, surplus, ..] => bail!("unexpected argument {surplus:?}"),
    };
    let mut listeners = Vec::new();
    for port in ports.split(',') {
        let port = port
            .trim()
            .parse()
            .with_context(|| format!("{port:?} is not a port"))?;
        listeners.push(server::listen(options.address, port)?);
    }
    serve(listeners, prefix, server::stop_on_signals()?).await;
    Ok(())
}

/// Serves until `stop`; open connections end then, as there is no end of a line protocol
/// to wait for.
pub(crate) async fn serve(listeners: Vec<TcpListener>, prefix: &str, mut stop: Stop) {
    let prefix: Arc<str> = prefix.into();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, prefix.clone(), slots.clone()));
    }
    server::stopped(&mut stop).await;
}

async fn accept(listener: TcpListener, prefix: Arc<str>, slots: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    loop {
        let slot = slots
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, peer)) => {
                let prefix = prefix.clone();
                connections.spawn(async move {
                    if let Err(e) = echo(stream, &prefix).await {
                        tracing::debug!("{peer}: {e}");
                    }
                    drop(slot);
                });
            }
            Err(e) => {
                tracing::warn!("accept: {e}");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn echo(mut stream: TcpStream, prefix: &str) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        line.extend_from_slice(prefix.as_bytes());
        line.push(b' ');
        if (&mut read)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .await?
            == 0
        {
            return Ok(());
        }
        write.write_all(&line).await?;
    }
}
