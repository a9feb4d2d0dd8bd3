//! `meltemi up [DIR]`: the mesh on this machine.

mod detach;
mod page;
mod report;
mod sample;

use super::{Outcome, Usage, duration, log_to_stderr};
use anyhow::{Context, bail};
use meltemi_identity::{Authority, AuthorityOptions};
use meltemi_local::events::{Event, Events};
use meltemi_local::running::Mode;
use meltemi_local::supervisor::{Options, up};
use report::Report;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[derive(clap::Args)]
pub struct Args {
    /// Directory of Kubernetes and Istio YAML (default: the bookinfo sample)
    dir: Option<PathBuf>,
    /// Return when everything is ready; the mesh goes on
    #[arg(long)]
    detach: bool,
    /// How long everything may take to become ready
    #[arg(long, value_parser = duration, default_value = "120s", value_name = "DURATION")]
    wait_timeout: Duration,
    /// Port of this machine for the ingress gateway's port 8080 (default: 8080, or the next free one)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Lifetime of workload certificates (default: 24h)
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    cert_ttl: Option<Duration>,
    /// Plugged-in CA: a directory laid out as Istio's cacerts
    #[arg(long, value_name = "DIR")]
    cacerts: Option<PathBuf>,
    /// How applications are connected
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    mode: Choice,
    /// Descriptor that a detached mesh reports to
    #[arg(long, hide = true)]
    report_fd: Option<RawFd>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Choice {
    /// As `namespaces` where the machine allows it, else as `loopback`
    Auto,
    /// Each in its own network namespace, its traffic intercepted
    Namespaces,
    /// In the machine's network at explicit loopback addresses; nothing is intercepted
    Loopback,
}

impl Choice {
    fn mode(self) -> Option<Mode> {
        match self {
            Self::Auto => None,
            Self::Namespaces => Some(Mode::Namespaces),
            Self::Loopback => Some(Mode::Loopback),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Namespaces => "namespaces",
            Self::Loopback => "loopback",
        }
    }
}

pub fn run(args: Args) -> Outcome {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => sample::lay_down()?,
    };
    let dir = std::fs::canonicalize(&dir).with_context(|| format!("{}", dir.display()))?;
    if let Some(port) = args.port {
        available(port)?;
    }
    let cacerts = args.cacerts.as_deref().map(plugged_in).transpose()?;
    if args.detach {
        return detach::run(&args, &dir);
    }
    keep_descriptors_private();
    log_to_stderr("warn");
    let mut options = Options::new(dir, env!("CARGO_PKG_VERSION"))?;
    options.mode = args.mode.mode();
    if let Some(port) = args.port {
        options.publish_ports = vec![(8080, port)];
    }
    if let Some(ttl) = args.cert_ttl {
        let seconds = format!("{}ms", ttl.as_millis());
        options
            .control_plane_args
            .extend(["--cert-ttl".to_owned(), seconds]);
    }
    if let Some(cacerts) = cacerts {
        let cacerts = cacerts.to_string_lossy().into_owned();
        options
            .control_plane_args
            .extend(["--cacerts".to_owned(), cacerts]);
    }
    let report = Report::new(args.report_fd)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    runtime.block_on(supervise(options, report, args.wait_timeout))
}

/// What the caller has open is not for the mesh's processes.
#[expect(unsafe_code, reason = "a system call without a wrapper")]
fn keep_descriptors_private() {
    // SAFETY: changes a flag of descriptors only. Where the kernel is too old (before 5.11)
    // they stay as they are.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}

/// A CA that the control plane would refuse keeps the mesh from starting.
fn plugged_in(cacerts: &Path) -> anyhow::Result<PathBuf> {
    let absolute = std::fs::canonicalize(cacerts)
        .with_context(|| format!("--cacerts {}", cacerts.display()))?;
    Authority::plugged_in(&absolute, AuthorityOptions::default()).context("--cacerts")?;
    Ok(absolute)
}

/// An explicit port must be free: another one would be a surprise.
fn available(port: u16) -> anyhow::Result<()> {
    match std::net::TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Ok(()),
        Err(error) => bail!(Usage(format!(
            "--port {port}: {error}; choose another one, or leave it out to get the next free port"
        ))),
    }
}

async fn supervise(options: Options, mut report: Report, patience: Duration) -> Outcome {
    let stop = CancellationToken::new();
    let (events, mut receiver) = Events::channel();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mesh = tokio::spawn(up(options, events, stop.clone()));
    let deadline = tokio::time::sleep(patience);
    tokio::pin!(deadline);
    let mut ready = false;
    let mut late = false;
    loop {
        tokio::select! {
            event = receiver.recv() => match event {
                Some(event) => {
                    ready |= matches!(event, Event::Ready { .. });
                    report.event(&event).await;
                    // The last one; tasks of pods whose sandbox was killed may still hold the
                    // channel.
                    if event == Event::Stopped {
                        break;
                    }
                }
                None => break,
            },
            _ = tokio::signal::ctrl_c() => stop.cancel(),
            _ = terminate.recv() => stop.cancel(),
            // A closed terminal ends a mesh in the foreground; a detached one has none.
            _ = hangup.recv() => stop.cancel(),
            () = &mut deadline, if !ready && !late => {
                late = true;
                report.late(patience);
                stop.cancel();
            }
        }
    }
    mesh.await.context("the supervisor broke off")??;
    Ok(ExitCode::from(u8::from(late)))
}
