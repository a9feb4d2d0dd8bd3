//! What the real istiod served, given to both proxies, and questions derived from it.

mod certificates;
mod chance;
mod config;
mod echo;
mod examples;
mod known;
mod log;
mod plan;
mod question;
mod routes;
mod world;

use crate::common::http::Request;
use crate::common::namespace::{end_with_parent, within};
use crate::common::process::{Killed, signal, spawn};
use crate::common::runner::{Arguments, Report};
use crate::common::tools::from_debian;
use crate::common::wait::attempt;
use crate::compare::{View, differences, view};
use crate::name_server;
use crate::proxy::{ready, tail};
use certificates::Authority;
use chance::Chance;
use config::{ADMIN, Captured};
use echo::Echo;
use question::Question;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const GROUP: &str = "captured";
/// The word by which the suite calls itself inside of the namespace.
pub const WITHIN: &str = "within-namespace";
const START: Duration = Duration::from_secs(20);
/// For connections to end and logs to be written.
const LATE: Duration = Duration::from_secs(5);
/// Questions under way at a time.
const AT_ONCE: usize = 8;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/istiod-xds")
}

/// The captured proxies: `SCENARIO/PROXY`.
pub fn names() -> Vec<String> {
    let folders = |path: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.path().is_dir());
        folders
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    };
    let mut names: Vec<String> = folders(&data())
        .into_iter()
        .flat_map(|scenario| {
            let proxies = folders(&data().join(&scenario)).into_iter();
            proxies.map(move |proxy| format!("{scenario}/{proxy}"))
        })
        .collect();
    names.sort();
    names
}

/// Runs the wanted ones in a namespace of their own.
pub fn run(report: &mut Report, arguments: &Arguments) {
    let all = names();
    if all.is_empty() {
        let reason = format!("{} not found", data().display());
        report.skip("captured configurations", &reason);
        return;
    }
    let wanted: Vec<String> = all
        .iter()
        .filter(|name| arguments.wants(GROUP, name))
        .cloned()
        .collect();
    if wanted.is_empty() {
        return;
    }
    if let Err(reason) = namespaces() {
        report.skip("captured configurations", &reason);
        return;
    }
    let mut command = within(&std::env::current_exe().unwrap());
    command
        .arg(WITHIN)
        .args(&wanted)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = spawn(command).unwrap();
    let mut closing = None;
    for line in BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
    {
        match line.starts_with("test result:") {
            true => closing = Some(line),
            false => println!("{line}"),
        }
    }
    let success = child.wait().unwrap().success();
    report.absorb(GROUP, closing.as_deref(), success);
}

/// Whether one can be made, with the rules that are needed.
fn namespaces() -> Result<(), String> {
    from_debian("ip", "iproute2")?;
    from_debian("nft", "nftables")?;
    let script = "ip link set lo up && nft 'table inet t { chain c { \
                  type nat hook output priority -100; \
                  meta l4proto tcp meta mark 1 redirect to :1; }; }'";
    let output = within(Path::new("sh")).args(["-c", script]).output();
    let output = output.map_err(|error| format!("unshare: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "it needs a network namespace, ip and nft: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

/// The suite inside of the namespace; the exit code.
pub fn main(arguments: &Arguments, programs: [Vec<String>; 2]) -> i32 {
    end_with_parent();
    let wanted = &arguments.words[1..];
    let mut report = Report::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let all: Vec<Captured> = wanted
        .iter()
        .map(|name| Captured::load(&data().join(name)))
        .collect();
    let authority = Arc::new(Authority::new());
    let servers = all.iter().flat_map(Captured::server_names).collect();
    let start = || -> Result<Echo, String> {
        world::open()?;
        let echo = runtime.block_on(Echo::start(authority.server(&servers)));
        let echo = echo.map_err(|error| error.to_string())?;
        let names = runtime.block_on(name_server::start());
        world::steer(echo.port, names.map_err(|error| error.to_string())?)?;
        Ok(echo)
    };
    let echo = match start() {
        Ok(echo) => echo,
        Err(reason) => {
            println!("{reason}");
            report.fail("captured: setting up");
            return report.finish();
        }
    };
    let bench = Bench {
        runtime,
        authority,
        echo,
        programs,
    };
    let mut met = BTreeSet::new();
    for captured in &all {
        let begun = Instant::now();
        let name = format!("{GROUP}::{}", captured.name);
        match bench.compare(captured, &mut met) {
            Ok(count) => report.pass(&format!("{name} ({count} questions)"), begun),
            Err(unexpected) => {
                println!("{name}:\n  {}", unexpected.replace('\n', "\n  "));
                report.fail(&name);
            }
        }
    }
    let complete = wanted.len() == names().len();
    let unmet = (0..known::DIFFERENCES.len()).filter(|index| complete && !met.contains(index));
    for known in unmet.map(|index| &known::DIFFERENCES[index]) {
        println!(
            "{} of {:?} is gone: remove it from `known`",
            known.aspect, known.questions
        );
        report.fail("captured: known differences");
    }
    report.finish()
}

struct Bench {
    runtime: tokio::runtime::Runtime,
    authority: Arc<Authority>,
    echo: Echo,
    programs: [Vec<String>; 2],
}

impl Bench {
    /// How many questions were asked, or what differs.
    fn compare(&self, captured: &Captured, met: &mut BTreeSet<usize>) -> Result<usize, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = dir.path().join("bootstrap.json");
        let bootstrap = captured.bootstrap(&self.authority);
        std::fs::write(&path, bootstrap.to_string()).map_err(|error| error.to_string())?;
        if std::env::var_os("KEEPIT").is_some() {
            std::fs::copy(&path, "/tmp/kept.json").unwrap();
        }
        let questions = plan::questions(&captured.listeners);
        let chance = Chance::of(&captured.listeners, &captured.clusters);
        let [envoy, meltemi] = &self.programs;
        let theirs = self.views("Envoy", envoy, &path, &questions, |_| Ok(()))?;
        let ours = self.views("Meltemi", meltemi, &path, &questions, nothing_ignored)?;
        let mut unexpected = BTreeMap::<_, Vec<_>>::new();
        for ((question, mut theirs), mut ours) in questions.iter().zip(theirs).zip(ours) {
            chance.take_out(&mut theirs);
            chance.take_out(&mut ours);
            let name = format!("{} {}", captured.name, question.name);
            if std::env::var_os("DIFFERENTIAL_SHOW").is_some() {
                println!("{name}: {theirs:#?}");
            }
            for (aspect, theirs, ours) in differences(&theirs, &ours) {
                match known::find(&name, aspect, theirs, ours) {
                    Some(index) => {
                        met.insert(index);
                    }
                    None => {
                        let what = format!("{aspect}: Envoy {theirs:?}, Meltemi {ours:?}");
                        unexpected
                            .entry(what)
                            .or_default()
                            .push(question.name.as_str());
                    }
                }
            }
        }
        match unexpected.is_empty() {
            true => Ok(questions.len()),
            false => Err(told(&unexpected)),
        }
    }

    /// What one proxy made of every question.
    fn views(
        &self,
        name: &str,
        program: &[String],
        bootstrap: &Path,
        questions: &[Question],
        check: fn(&Value) -> Result<(), String>,
    ) -> Result<Vec<View>, String> {
        let file = |what: &str| bootstrap.with_file_name(format!("{name}.{what}"));
        let create = |what: &str| std::fs::File::create(file(what)).map_err(|e| e.to_string());
        let mut command = Command::new(&program[0]);
        command
            .args(&program[1..])
            .arg("-c")
            .arg(bootstrap)
            .stdin(Stdio::null());
        command.stdout(create("out")?).stderr(create("err")?);
        let mut process = Killed::spawn(command).map_err(|e| format!("{}: {e}", program[0]))?;
        let said = || {
            tail(
                &std::fs::read_to_string(file("err")).unwrap_or_default(),
                12,
            )
        };
        attempt(START, || match (ready(ADMIN), process.status()) {
            (true, _) => Ok(()),
            (_, Some(_)) => Ok(()),
            _ => Err("it is not ready".into()),
        })
        .map_err(|reason| format!("{name}: {reason}\n{}", said()))?;
        if let Some(status) = process.status() {
            return Err(format!("{name} does not start: {status}\n{}", said()));
        }
        check(&Request::get(ADMIN, "/config_dump").send()?.json())?;
        self.echo.take();
        let received = self.runtime.block_on(ask_all(questions, &self.authority));
        attempt(LATE, || idle(ADMIN))?;
        if let Some(status) = process.status() {
            return Err(format!("{name} ended: {status}\n{}", said()));
        }
        signal(process.pid, libc::SIGTERM);
        attempt(LATE, || {
            process
                .status()
                .map(drop)
                .ok_or_else(|| format!("{name} stays"))
        })?;
        let mut seen = BTreeMap::<usize, Vec<_>>::new();
        for one in self.echo.take() {
            let agent = one.header("user-agent").unwrap_or(&one.target).to_owned();
            let index = agent
                .split_once("captured/")
                .and_then(|(_, rest)| rest.split('.').next());
            let index = index.and_then(|index| index.parse().ok());
            seen.entry(index.unwrap_or(usize::MAX))
                .or_default()
                .push(one);
        }
        let text = std::fs::read_to_string(file("out")).map_err(|error| error.to_string())?;
        let mut lines = log::by_question(&text);
        let views = received.iter().enumerate().map(|(index, received)| {
            let mut seen = seen.remove(&index).unwrap_or_default();
            seen.sort_by_key(|seen| seen.header("endpoint").map(str::to_owned));
            let mut lines = lines.remove(&index).unwrap_or_default();
            lines.sort();
            view(received, &lines, &seen)
        });
        Ok(views.collect())
    }
}

async fn ask_all(
    questions: &[Question],
    authority: &Arc<Authority>,
) -> Vec<crate::client::Received> {
    let mut all = Vec::new();
    for (chunk, some) in questions.chunks(AT_ONCE).enumerate() {
        let tasks: Vec<_> = some
            .iter()
            .enumerate()
            .map(|(index, question)| {
                let (question, authority) = (question.clone(), authority.clone());
                let index = chunk * AT_ONCE + index;
                tokio::spawn(async move { question.ask(index, &authority).await })
            })
            .collect();
        for task in tasks {
            all.push(task.await.unwrap());
        }
    }
    all
}

/// Each difference, and the first of the questions where it showed.
fn told(unexpected: &BTreeMap<String, Vec<&str>>) -> String {
    let tell = |(what, questions): (&String, &Vec<&str>)| {
        let more = match questions.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{what}\n    in {:?}{more}", questions[0])
    };
    unexpected.iter().map(tell).collect::<Vec<_>>().join("\n")
}

/// Whether the questions' connections have ended.
fn idle(admin: u16) -> Result<(), String> {
    let stats = Request::get(admin, "/stats?filter=downstream_cx_active").send()?;
    let open: Vec<&str> = stats
        .body
        .lines()
        .filter(|line| line.starts_with("listener.") && !line.contains("admin"))
        .filter(|line| !line.ends_with(": 0"))
        .collect();
    match open.is_empty() {
        true => Ok(()),
        false => Err(format!("connections are open: {open:?}")),
    }
}

/// Our proxy honours every field of what istiod serves, but for those that are known.
fn nothing_ignored(dump: &Value) -> Result<(), String> {
    let mut ignored = Vec::new();
    config::collect(&dump["meltemi"], &mut |key, value| {
        let all = value.as_array().filter(|_| key.ends_with("not_honoured"));
        let fields = all.into_iter().flatten().map(|notice| &notice["field"]);
        ignored.extend(fields.filter_map(|field| field.as_str().map(str::to_owned)));
    });
    ignored.retain(|field| !known::NOT_HONOURED.contains(&field.as_str()));
    match ignored.is_empty() {
        true => Ok(()),
        false => Err(format!("Meltemi ignores {ignored:?}")),
    }
}
