//! Differential tests: the same bytes to Envoy and to our proxy, on the same bootstrap and
//! before the same services. Compared are the answer, what the services were sent, and the
//! access log: status, headers, body, response flags and details, chosen cluster and route.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod bootstrap;
mod captured;
mod case;
mod cases;
mod client;
mod client_tls;
mod client_tunnel;
mod compare;
mod known;
mod name_server;
mod proxy;
mod statistics;
mod upstream;
mod upstream_als;
mod upstream_h2;

use case::{Case, Group, Input};
use common::envoy;
use common::runner::{Arguments, Report};
use compare::View;
use proxy::Proxy;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use upstream::Upstreams;

/// For a mirrored request to arrive.
const LATE: Duration = Duration::from_secs(3);

fn main() {
    let arguments = Arguments::of_process();
    let groups = cases::groups();
    if arguments.list {
        for group in &groups {
            for case in (group.cases)() {
                println!("{}::{}: test", group.name, case.name);
            }
        }
        for name in captured::names() {
            println!("{}::{name}: test", captured::GROUP);
        }
        return;
    }
    let mut report = Report::new();
    let envoy = match envoy::find() {
        Ok(path) => path,
        Err(reason) => {
            report.skip("differential tests", &reason);
            std::process::exit(report.finish());
        }
    };
    let programs = programs(&envoy);
    if arguments
        .words
        .first()
        .is_some_and(|word| word == captured::WITHIN)
    {
        std::process::exit(captured::main(&arguments, programs));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let upstreams = runtime.block_on(Upstreams::start()).unwrap();
    let [envoy, meltemi] = programs;
    let mut bench = Bench {
        envoy,
        meltemi,
        upstreams,
        runtime,
        report,
        met: BTreeSet::new(),
    };
    let mut complete = true;
    for group in &groups {
        let all = (group.cases)();
        let cases: Vec<&Case> = all
            .iter()
            .filter(|case| arguments.wants(group.name, case.name))
            .collect();
        complete &= cases.len() == all.len();
        if !cases.is_empty() {
            bench.group(group, &cases);
        }
    }
    if complete {
        bench.unmet_differences();
    }
    captured::run(&mut bench.report, &arguments);
    std::process::exit(bench.report.finish());
}

/// Envoy and our proxy, with their arguments but for the configuration.
fn programs(envoy: &Path) -> [Vec<String>; 2] {
    let envoy = [
        envoy.to_str().unwrap(),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--file-flush-interval-msec",
        "10",
        "-l",
        "warn",
    ];
    let envoy = envoy.map(str::to_owned).to_vec();
    let meltemi = [env!("CARGO_BIN_EXE_meltemi"), "proxy", "--concurrency", "1"];
    let mut meltemi = meltemi.map(str::to_owned).to_vec();
    // For looking at the suite itself: any program in our place.
    if let Some(program) = std::env::var_os("DIFFERENTIAL_AGAINST") {
        meltemi = envoy.clone();
        meltemi[0] = program.into_string().unwrap();
    }
    [envoy, meltemi]
}

struct Bench {
    envoy: Vec<String>,
    meltemi: Vec<String>,
    upstreams: Upstreams,
    runtime: tokio::runtime::Runtime,
    report: Report,
    /// Known differences that were met.
    met: BTreeSet<String>,
}

impl Bench {
    fn group(&mut self, group: &Group, cases: &[&Case]) {
        let dir = tempfile::tempdir().unwrap();
        let config = (group.config)(&self.upstreams);
        let start =
            |name: &str, program: &[String]| Proxy::start(name, program, &config, dir.path());
        let started = start("envoy", &self.envoy)
            .and_then(|envoy| Ok((envoy, start("meltemi", &self.meltemi)?)));
        let (mut envoy, mut meltemi) = match started {
            Ok(both) => both,
            Err(reason) => {
                println!("{reason}");
                self.report.fail(&format!("{}: setting up", group.name));
                return;
            }
        };
        for case in cases {
            let begun = Instant::now();
            let name = format!("{}::{}", group.name, case.name);
            let views = self
                .ask(&mut envoy, case)
                .and_then(|theirs| Ok((theirs, self.ask(&mut meltemi, case)?)));
            let outcome =
                views.and_then(|(theirs, ours)| self.judge(group.name, case, &theirs, &ours));
            match outcome {
                Ok(()) => self.report.pass(&name, begun),
                Err(differences) => {
                    println!("{name}:\n  {}", differences.replace('\n', "\n  "));
                    self.report.fail(&name);
                }
            }
        }
    }

    fn judge(
        &mut self,
        group: &str,
        case: &Case,
        envoy: &View,
        meltemi: &View,
    ) -> Result<(), String> {
        if std::env::var_os("DIFFERENTIAL_SHOW").is_some() {
            println!("{group}::{}: {envoy:#?}", case.name);
        }
        let verdict = compare::compare(group, case, envoy, meltemi);
        self.met.extend(verdict.met);
        if verdict.unexpected.is_empty() {
            Ok(())
        } else {
            Err(verdict.unexpected.join("\n"))
        }
    }

    /// Sends a case to one proxy and gathers what came of it.
    fn ask(&self, proxy: &mut Proxy, case: &Case) -> Result<View, String> {
        proxy.skip_log();
        self.upstreams.take();
        let port = proxy.place.listeners[case.listener];
        let case = &case.placed(&self.upstreams.ports);
        let received = match &case.input {
            Input::Http2 => self.runtime.block_on(client::http2(port, case.request()))?,
            Input::Tunnel(protocol) => {
                let asked = client_tunnel::ask(port, case.head(*protocol), case.sent());
                self.runtime.block_on(asked)?
            }
            Input::Handshake(arguments) => client_tls::handshake(port, arguments)?,
            Input::Statistics(names) => statistics::read(proxy.place.admin, names)?,
            Input::Http1 | Input::Raw(_) => {
                client::exchange(port, &case.exchange()).map_err(|error| error.to_string())?
            }
        };
        let log = proxy.log_lines(case.logs);
        // The services may be told late; a request that never comes shows in the comparison.
        let _ = common::wait::attempt(LATE, || match self.upstreams.seen() {
            seen if seen >= case.seen => Ok(()),
            seen => Err(seen.to_string()),
        });
        let seen = self.upstreams.take();
        match log {
            Ok(log) => Ok(compare::view(&received, &log, &seen)),
            Err(reason) => Err(format!("{reason}\n{received:?}")),
        }
    }

    fn unmet_differences(&mut self) {
        for known in compare::all_known().filter(|known| !self.met.contains(known)) {
            println!("{known} is gone: remove it from `known`");
            self.report.fail("known differences");
        }
    }
}
