//! The supervisor over a real sandbox, with stand-ins for the control plane and the proxies.

use crate::Test;
use crate::fixture::{PATIENCE, block_on, eventually, processes, until};
use crate::mesh::{
    Mesh, SERVER, config, config_map, deployment, is_ready, options, settings, write,
};
use meltemi_local::events::{Event, Events};
use meltemi_local::paths::MeshPaths;
use meltemi_local::running::MeshInfo;
use meltemi_local::supervisor::up;
use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Stdio};
use tokio_util::sync::CancellationToken;

pub const TESTS: &[Test] = tests![
    a_mesh_comes_up_and_leaves_nothing,
    what_cannot_run_is_told_and_the_rest_runs,
    changes_are_rolled_out,
    the_meshs_own_processes_are_replaced,
    jobs_finish_and_probes_restart,
    programs_enter_pods,
    a_killed_supervisor_is_cleaned_up_after,
];

fn a_mesh_comes_up_and_leaves_nothing() {
    let directory = Mesh::of_web(2);
    block_on(async {
        let mut mesh = Mesh::start(directory);
        let Event::Ready {
            ready,
            blocked,
            url,
        } = mesh.ready().await
        else {
            unreachable!()
        };
        assert_eq!((ready, blocked.len(), url), (2, 0, None));
        let pods = mesh.pods();
        assert_eq!(pods.len(), 2);
        for pod in &pods {
            assert!(
                is_ready(pod) && pod["status"]["phase"] == "Running",
                "{pod:#}"
            );
            assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "ReplicaSet");
            assert_eq!(
                pod["status"]["containerStatuses"].as_array().unwrap().len(),
                2
            );
        }
        assert_ne!(pods[0]["status"]["podIP"], pods[1]["status"]["podIP"]);
        let name = pods[0]["metadata"]["name"].as_str().unwrap();
        let paths = MeshPaths::of(&config(mesh.directory.path())).unwrap();
        let log = fs::read_to_string(paths.log("default", name, "istio-proxy")).unwrap();
        assert!(
            log.contains(&format!("{name}.default~default.svc.cluster.local"))
                && log.contains("token 64"),
            "{log}"
        );
        assert!(
            log.contains("--netns-fd 3") && log.contains("--mesh-cidr 10.98.0.0/16"),
            "{log}"
        );
        assert_eq!(
            fs::read_to_string(paths.log("default", name, "main")).unwrap(),
            "starting\n"
        );
        let credentials = fs::read_dir(paths.in_run("credentials")).unwrap().count();
        assert_eq!(credentials, 2);
        let info = MeshInfo::read(&paths.run).unwrap().unwrap();
        assert!(info.is_alive());
        let mark = config(mesh.directory.path()).display().to_string();
        assert!(!processes(&mark).is_empty());

        let (events, _receiver) = Events::channel();
        let error = up(
            options(mesh.directory.path()),
            events,
            CancellationToken::new(),
        )
        .await
        .unwrap_err();
        assert!(error.to_string().contains("running already"), "{error}");

        mesh.down().await;
        assert!(processes(&mark).is_empty());
    });
}

fn what_cannot_run_is_told_and_the_rest_runs() {
    let directory = Mesh::prepare();
    let mut crashing = deployment("crashing", 1, "crash:1");
    crashing["spec"]["template"]["spec"]["containers"][0]["command"] =
        json!(["sh", "-c", "exit 3"]);
    let waiting = deployment("web", 1, "web:1");
    write(
        directory.path(),
        "all.yaml",
        &[waiting, deployment("unknown", 1, "strange:1"), crashing],
    );
    block_on(async {
        let mut mesh = Mesh::start(directory);
        let Event::PodProblem { message, .. } = mesh
            .until(
                "NoCommand",
                |event| matches!(event, Event::PodProblem { reason, .. } if reason == "NoCommand"),
            )
            .await
        else {
            unreachable!()
        };
        assert!(
            message.contains("strange:1") && message.contains("meltemi.yaml"),
            "{message}"
        );
        mesh.until("the missing ConfigMap", |event| {
            matches!(event, Event::PodProblem { message, .. } if message.contains("no ConfigMap default/settings"))
        })
        .await;
        write(mesh.directory.path(), "map.yaml", &[config_map()]);
        mesh.until(
            "web's readiness",
            |event| matches!(event, Event::PodReady { pod } if pod.contains("web")),
        )
        .await;
        mesh.until("CrashLoopBackOff", |event| {
            matches!(event, Event::PodProblem { reason, message, .. } if reason == "CrashLoopBackOff" && message.contains("exit code 3"))
        })
        .await;
        mesh.until_pods("a restart count", |pods| {
            pods.iter().any(|pod| {
                pod["status"]["containerStatuses"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|one| one["restartCount"].as_u64() > Some(1))
            })
        })
        .await;
        // The mapping comes: the blocked pod is replaced by one that runs.
        settings(
            mesh.directory.path(),
            json!([{"image": "web:*", "command": ["python3", "-c", SERVER]}, {"image": "strange:*", "command": ["python3", "-c", SERVER]}]),
        );
        mesh.until(
            "unknown's readiness",
            |event| matches!(event, Event::PodReady { pod } if pod.contains("unknown")),
        )
        .await;
        mesh.down().await;
    });
}

fn changes_are_rolled_out() {
    let directory = Mesh::of_web(1);
    block_on(async {
        let mut mesh = Mesh::start(directory);
        mesh.ready().await;
        let first = mesh.pods()[0]["metadata"]["name"]
            .as_str()
            .unwrap()
            .to_owned();
        let address = mesh.pods()[0]["status"]["podIP"].clone();
        write(
            mesh.directory.path(),
            "web.yaml",
            &[deployment("web", 2, "web:1"), config_map()],
        );
        mesh.until_pods("the second replica", |pods| {
            pods.iter().filter(|pod| is_ready(pod)).count() == 2
        })
        .await;
        assert!(
            mesh.pods()
                .iter()
                .any(|pod| pod["metadata"]["name"] == first.as_str()
                    && pod["status"]["podIP"] == address)
        );
        write(
            mesh.directory.path(),
            "web.yaml",
            &[deployment("web", 2, "web:2"), config_map()],
        );
        let mut least = usize::MAX;
        let begin = std::time::Instant::now();
        loop {
            let pods = mesh.pods();
            let ready: Vec<&Value> = pods.iter().filter(|pod| is_ready(pod)).collect();
            least = least.min(ready.len());
            if pods.len() == 2
                && pods
                    .iter()
                    .all(|pod| pod["spec"]["containers"][0]["image"] == "web:2" && is_ready(pod))
            {
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "{pods:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert!(
            least >= 2,
            "never fewer than two ready, but there were {least}"
        );
        write(mesh.directory.path(), "web.yaml", &[config_map()]);
        mesh.until_pods("the end of all pods", |pods| pods.is_empty())
            .await;
        mesh.down().await;
    });
}

fn the_meshs_own_processes_are_replaced() {
    let directory = Mesh::of_web(1);
    block_on(async {
        let mut mesh = Mesh::start(directory);
        mesh.ready().await;
        let run = mesh.run_dir().display().to_string();
        let kill = |name: &str| {
            let pids = processes(&run);
            let pid = pids.into_iter().find(|pid| {
                fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                    String::from_utf8_lossy(&line).split('\0').nth(1) == Some(name)
                })
            });
            nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid.unwrap()),
                nix::sys::signal::Signal::SIGKILL,
            )
            .unwrap();
        };
        kill("control-plane");
        mesh.until("the control plane's return", |event| {
            *event == Event::ControlPlane { restarts: 1 }
        })
        .await;
        let credentials = || -> Vec<_> {
            fs::read_dir(mesh.run_dir().join("credentials"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect()
        };
        let before = credentials();
        kill("proxy");
        mesh.until_pods("not ready", |pods| !is_ready(&pods[0]))
            .await;
        mesh.until_pods("ready again", |pods| is_ready(&pods[0]))
            .await;
        let after = credentials();
        assert_eq!(after.len(), 1);
        assert_ne!(before, after, "a new proxy has a new credential");
        mesh.down().await;
    });
}

fn jobs_finish_and_probes_restart() {
    let directory = Mesh::prepare();
    let job = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "job"},
        "spec": {
            "restartPolicy": "Never",
            "initContainers": [{"name": "first", "command": ["sh", "-c", "echo init"]}],
            "containers": [{"name": "main", "command": ["sh", "-c", "echo done"]}],
        },
    });
    let sick = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sick"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main", "command": ["sleep", "1000"],
                "livenessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1},
            }],
        },
    });
    write(directory.path(), "pods.yaml", &[job, sick]);
    block_on(async {
        let mesh = Mesh::start(directory);
        let begin = std::time::Instant::now();
        while !mesh.run_dir().join("pods").exists() {
            assert!(begin.elapsed() < PATIENCE);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        mesh.until_pods("the job's end", |pods| {
            pods.iter().any(|pod| {
                pod["metadata"]["name"] == "job" && pod["status"]["phase"] == "Succeeded"
            })
        })
        .await;
        let paths = MeshPaths::of(&config(mesh.directory.path())).unwrap();
        assert_eq!(
            fs::read_to_string(paths.log("default", "job", "first")).unwrap(),
            "init\n"
        );
        assert_eq!(
            fs::read_to_string(paths.log("default", "job", "main")).unwrap(),
            "done\n"
        );
        mesh.until_pods("a restart by liveness", |pods| {
            pods.iter().any(|pod| {
                pod["metadata"]["name"] == "sick"
                    && pod["status"]["containerStatuses"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .any(|one| one["restartCount"].as_u64() > Some(0))
            })
        })
        .await;
        mesh.down().await;
    });
}

fn programs_enter_pods() {
    let directory = Mesh::of_web(1);
    block_on(async {
        let mut mesh = Mesh::start(directory);
        mesh.ready().await;
        let address = mesh.pods()[0]["status"]["podIP"]
            .as_str()
            .unwrap()
            .to_owned();
        let script = "echo $MODE $(cat /proc/sys/kernel/hostname) $(id -u); grep CapEff /proc/self/status; grep -c $0 /proc/net/fib_trie; exit 7";
        let (code, text) = mesh
            .output(&["exec", "web", "--", "sh", "-c", script, &address])
            .await;
        assert_eq!(code, 7, "{text}");
        assert!(
            text.starts_with("fast web-")
                && text.contains(&format!(" {}\n", nix::unistd::getuid())),
            "{text}"
        );
        let (code, text) = mesh.output(&["exec", "nothing", "--", "true"]).await;
        assert!(
            code == 99 && text.contains("no pod or workload nothing"),
            "{text}"
        );
        let (code, text) = mesh.output(&["exec", "web", "--", "no-such-program"]).await;
        assert!(code == 99 && text.contains("no-such-program"), "{text}");
        let (code, text) = mesh
            .output(&["exec", "web", "--", "sh", "-c", "kill -TERM $$"])
            .await;
        assert_eq!(code, 128 + libc::SIGTERM, "{text}");

        // A run is a pod and a Service for as long as its program runs; signals pass through.
        let mut child = mesh
            .enter(&["run", "extra", "8000", "--", "python3", "-c", SERVER])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        mesh.until_pods("the run's readiness", |pods| {
            pods.iter()
                .any(|pod| pod["metadata"]["labels"]["app"] == "extra" && is_ready(pod))
        })
        .await;
        let service = mesh.run_dir().join("builtin/run.default.extra.yaml");
        assert!(service.exists());
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(child.id() as i32),
            nix::sys::signal::Signal::SIGTERM,
        )
        .unwrap();
        let status = tokio::task::spawn_blocking(move || child.wait().unwrap())
            .await
            .unwrap();
        assert_eq!(status.code(), Some(128 + libc::SIGTERM));
        mesh.until_pods("the run's end", |pods| pods.len() == 1)
            .await;
        eventually("the Service's end", || !service.exists()).await;

        // A killed command line takes its program with it.
        let mark = format!("sleep-{}", std::process::id());
        let mut child = mesh
            .enter(&[
                "run",
                "extra",
                "8000",
                "--",
                "sh",
                "-c",
                &format!("sleep 1000; : {mark}"),
            ])
            .spawn()
            .unwrap();
        eventually("the program", || processes(&mark).len() >= 2).await;
        child.kill().unwrap();
        child.wait().unwrap();
        eventually("the program's end", || processes(&mark).is_empty()).await;
        mesh.until_pods("the run's end", |pods| pods.len() == 1)
            .await;
        mesh.down().await;
    });
}

fn a_killed_supervisor_is_cleaned_up_after() {
    let directory = Mesh::of_web(1);
    let mut first = Command::new(std::env::current_exe().unwrap())
        .arg("up")
        .arg(directory.path())
        .spawn()
        .unwrap();
    let paths = MeshPaths::of(&config(directory.path())).unwrap();
    until("the first mesh's pod", || {
        fs::read_dir(paths.in_run("admin")).is_ok_and(|entries| entries.count() > 0)
    });
    first.kill().unwrap();
    first.wait().unwrap();
    let mark = paths.run.display().to_string();
    until("the end of the first mesh's processes", || {
        processes(&mark).is_empty()
    });
    assert!(MeshInfo::all(&paths.root).unwrap().is_empty() && paths.run.exists());
    block_on(async {
        let mut mesh = Mesh::start(directory);
        mesh.ready().await;
        mesh.down().await;
    });
}
