//! The sandbox: what applications see, what they may do, and that nothing outlives it.

use crate::Test;
use crate::fixture::{World, block_on, null, pipe, processes, until};
use meltemi_local::sandbox::{Ended, NETNS_FD, Role, Spawn};
use std::future::Future;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;

pub const TESTS: &[Test] = tests![
    an_application_has_its_own_names_and_files,
    an_application_has_no_power_over_the_mesh,
    an_application_cannot_signal_the_mesh,
    run_as_user_is_seen_by_the_application,
    a_program_that_cannot_start_says_why,
    a_sidecar_keeps_its_powers_and_the_hosts_network,
    probe_sockets_reach_the_application,
    signals_and_orphans,
    workloads_come_and_go,
    nothing_outlives_the_supervisor,
    without_namespaces_applications_have_no_powers_either,
    without_namespaces_a_process_ends_with_all_it_started,
    without_namespaces_nothing_outlives_the_supervisor,
];

fn an_application_has_its_own_names_and_files() {
    block_on(async {
        let mut world = World::new().await;
        let (run, state) = (world.run.path().to_owned(), world.state.path().to_owned());
        let script = format!(
            "cat /etc/resolv.conf /etc/hosts; echo host=$(cat /proc/sys/kernel/hostname); \
             echo run=$(ls -A {} | wc -l) state=$(ls -A {} | wc -l); grep ^hosts /etc/nsswitch.conf; cat /proc/net/fib_trie | grep -c 10.98.3.7; \
             touch {}/new 2>/dev/null && echo writable; echo end",
            run.display(),
            state.display(),
            state.display(),
        );
        let spawn = world.shell(&script);
        let (ended, text) = world.output(spawn).await;
        assert_eq!(ended, Ended::Code(0), "{text}");
        for part in [
            "nameserver 10.98.0.1\n",
            "ndots:5",
            "10.98.3.7 one-0\n",
            "host=one-0\n",
            "run=0 state=0\n",
            "hosts: files dns\n",
        ] {
            assert!(text.contains(part), "{part:?} missing in\n{text}");
        }
        assert!(
            !text.contains("writable") && text.ends_with("end\n"),
            "{text}"
        );
        // The machine itself is untouched.
        assert!(run.join("secret").exists() && state.join("secret").exists());
        assert!(
            !std::fs::read_to_string("/etc/hosts")
                .unwrap()
                .contains("one-0")
        );
    });
}

fn an_application_has_no_power_over_the_mesh() {
    block_on(async {
        let mut world = World::new().await;
        let spawn = world.shell(
            "grep -E 'Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs' /proc/self/status; id -u; \
             umount /etc/resolv.conf 2>/dev/null && echo umounted; \
             echo 1 > /proc/sys/net/ipv4/ip_forward 2>/dev/null && echo forwarding; \
             python3 - <<'END' 2>/dev/null || true\nimport socket\ns=socket.socket()\ntry:\n s.setsockopt(1,36,1337); print('marked')\nexcept PermissionError: print('no mark')\nEND",
        );
        let rootless = world.sandbox.capabilities().rootless;
        let (_, text) = world.output(spawn).await;
        let field = |name: &str| {
            let line = text
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_else(|| panic!("{name} in {text}"));
            u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
        };
        // NET_ADMIN, NET_RAW, SYS_ADMIN, SYS_PTRACE.
        let powers = 1 << 12 | 1 << 13 | 1 << 21 | 1 << 19;
        for set in ["CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(field(set) & powers, 0, "{set} in {text}");
            assert!(!rootless || field(set) == 0, "{set} in {text}");
        }
        assert_eq!(field("NoNewPrivs"), 1);
        assert!(
            text.contains(&format!("\n{}\n", nix::unistd::getuid())),
            "{text}"
        );
        for forbidden in ["umounted", "forwarding", "marked"] {
            assert!(!text.contains(forbidden), "{text}");
        }
    });
}

fn an_application_cannot_signal_the_mesh() {
    // Linux 6.12, with Landlock.
    // SAFETY: without attributes nothing is read.
    let abi = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0,
            1,
        )
    };
    if abi < 6 {
        println!("skipped: signals: this kernel's Landlock has no scopes (ABI {abi})");
        return;
    }
    block_on(async {
        let mut world = World::new().await;
        // The sandbox is process 1, of the same user.
        let spawn = world.shell(
            "sleep 60 & kill $! && echo own; kill -0 1 2>/dev/null && echo others; echo end",
        );
        let (_, text) = world.output(spawn).await;
        assert_eq!(text, "own\nend\n");
    });
}

fn run_as_user_is_seen_by_the_application() {
    block_on(async {
        let mut world = World::new().await;
        let mut view = world.view();
        view.uid = Some(1000);
        view.gid = Some(1001);
        let mut spawn = world.shell("id -u; id -g; grep CapEff /proc/self/status");
        spawn.role = Role::Application(view);
        let (_, text) = world.output(spawn).await;
        assert!(
            text.starts_with("1000\n1001\nCapEff:\t0000000000000000"),
            "{text}"
        );
    });
}

async fn refusal(world: &World, spawn: Spawn) -> String {
    let started = world.sandbox.spawn(spawn, null(), null(), Vec::new());
    started.await.unwrap_err().to_string()
}

fn a_program_that_cannot_start_says_why() {
    block_on(async {
        let world = World::new().await;
        let mut spawn = world.shell("");
        spawn.argv = vec!["no-such-program".into()];
        let error = refusal(&world, spawn).await;
        assert!(
            error.contains("run no-such-program: not found in PATH"),
            "{error}"
        );
        let mut spawn = world.shell("");
        spawn.cwd = Some("/no/such/directory".into());
        let error = refusal(&world, spawn).await;
        assert!(error.contains("/no/such/directory"), "{error}");
        let mut spawn = world.shell("");
        spawn.workload = Some("two".into());
        let error = refusal(&world, spawn).await;
        assert!(error.contains("no workload two"), "{error}");
    });
}

fn a_sidecar_keeps_its_powers_and_the_hosts_network() {
    block_on(async {
        let mut world = World::new().await;
        let script = format!(
            "import os,socket,ctypes\n\
             own=os.readlink('/proc/self/ns/net')\n\
             libc=ctypes.CDLL(None,use_errno=True)\n\
             assert libc.setns({NETNS_FD},0x40000000)==0, ctypes.get_errno()\n\
             s=socket.socket(); s.setsockopt(1,36,1337); s.bind(('10.98.3.7',0))\n\
             print(own)\n\
             print(os.read(4,5).decode())\n"
        );
        let spawn = Spawn {
            workload: Some("one".into()),
            role: Role::Sidecar,
            argv: vec!["python3".into(), "-c".into(), script],
            env: vec![("PATH".into(), std::env::var("PATH").unwrap())],
            cwd: None,
        };
        let (mut read, write) = pipe();
        let errors = write.try_clone().unwrap();
        let (token, token_end) = pipe();
        nix::unistd::write(token_end.as_fd(), b"token").unwrap();
        let pid = world
            .sandbox
            .spawn(spawn, write, errors, vec![token.into()])
            .await
            .unwrap();
        let ended = world.ended(pid).await;
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(ended, Ended::Code(0), "{text}");
        let host = std::fs::read_link("/proc/self/ns/net").unwrap();
        assert_eq!(text, format!("{}\ntoken\n", host.display()));
    });
}

fn probe_sockets_reach_the_application() {
    block_on(async {
        let world = World::new().await;
        let script = "import socket\ns=socket.socket(); s.bind(('10.98.3.7',80)); s.listen(); print('up',flush=True)\nc,a=s.accept(); c.sendall(a[0].encode())";
        let mut spawn = world.shell("");
        spawn.argv = vec!["python3".into(), "-c".into(), script.into()];
        let (read, write) = pipe();
        world
            .sandbox
            .spawn(spawn, write, null(), Vec::new())
            .await
            .unwrap();
        let mut line = String::new();
        BufReader::new(read).read_line(&mut line).unwrap();
        let socket = world.sandbox.socket("one").await.unwrap();
        let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
        let mut stream = socket
            .connect("10.98.3.7:80".parse().unwrap())
            .await
            .unwrap();
        let mut text = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut text)
            .await
            .unwrap();
        assert_eq!(text, "127.0.0.6");
    });
}

fn signals_and_orphans() {
    block_on(async {
        let mut world = World::new().await;
        let (read, write) = pipe();
        let mut reader = BufReader::new(read);
        let spawn = world.shell(
            "trap 'exit 7' TERM; (setsid sleep 0 &) ; echo up; while :; do sleep 0.05; done",
        );
        let pid = world
            .sandbox
            .spawn(spawn, write, null(), Vec::new())
            .await
            .unwrap();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        world
            .sandbox
            .signal(pid, libc::SIGTERM, false)
            .await
            .unwrap();
        assert_eq!(world.ended(pid).await, Ended::Code(7));
        // Gone already: no error, and nobody else is hit.
        world
            .sandbox
            .signal(pid, libc::SIGTERM, true)
            .await
            .unwrap();

        let spawn = world.shell("sleep 1000 & sleep 1000");
        let pid = world
            .sandbox
            .spawn(spawn, null(), null(), Vec::new())
            .await
            .unwrap();
        world
            .sandbox
            .signal(pid, libc::SIGKILL, true)
            .await
            .unwrap();
        assert_eq!(world.ended(pid).await, Ended::Signal(libc::SIGKILL));
    });
}

fn workloads_come_and_go() {
    block_on(async {
        let world = World::new().await;
        let rules =
            meltemi_capture::RuleSet::bare(meltemi_capture::MeshNetwork::standard().ranges());
        let error = world
            .sandbox
            .create("one", crate::fixture::ADDRESS, rules.clone())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("exists already"), "{error}");
        world.sandbox.rules("one", rules.clone()).await.unwrap();
        world.sandbox.destroy("one").await.unwrap();
        world
            .sandbox
            .create("two", crate::fixture::ADDRESS, rules)
            .await
            .unwrap();
        assert_eq!(
            world.sandbox.namespaces("two").await.unwrap().len(),
            if world.sandbox.capabilities().rootless {
                4
            } else {
                3
            }
        );
        assert!(world.sandbox.namespaces("one").await.is_err());
    });
}

fn nothing_outlives_the_supervisor() {
    nothing_outlives(World::new);
}

fn without_namespaces_nothing_outlives_the_supervisor() {
    nothing_outlives(World::without_namespaces);
}

fn nothing_outlives<F: Future<Output = World>>(world: impl FnOnce() -> F) {
    // A name of its own for the processes, to find them again in the machine's view.
    let mark = format!("meltemi-mark-{}", std::process::id());
    // SAFETY: this process has one thread so far.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            block_on(async {
                let world = world().await;
                for _ in 0..3 {
                    let spawn = world.shell(&format!(
                        "setsid sh -c ': {mark}; sleep 1000; :' & sleep 1000; : {mark}"
                    ));
                    world
                        .sandbox
                        .spawn(spawn, null(), null(), Vec::new())
                        .await
                        .unwrap();
                }
                std::future::pending::<()>().await;
            });
        }
        nix::unistd::ForkResult::Parent { child } => {
            until("all processes", || processes(&mark).len() >= 6);
            nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).unwrap();
            nix::sys::wait::waitpid(child, None).unwrap();
            until("the end of all processes", || processes(&mark).is_empty());
        }
    }
}

fn without_namespaces_applications_have_no_powers_either() {
    block_on(async {
        let mut world = World::without_namespaces().await;
        assert!(world.sandbox.namespaces("one").await.unwrap().is_empty());
        let root = nix::unistd::geteuid().is_root();
        let mut spawn = world.shell("id -u; grep -E '^(CapBnd|NoNewPrivs)' /proc/self/status");
        if let (Role::Application(view), true) = (&mut spawn.role, root) {
            (view.uid, view.gid) = (Some(1234), Some(1234));
        }
        let (ended, text) = world.output(spawn).await;
        assert_eq!(ended, Ended::Code(0), "{text}");
        assert!(text.contains("NoNewPrivs:\t1"), "{text}");
        if root {
            assert!(text.starts_with("1234\n"), "{text}");
            // No network or system administration, no raw sockets.
            let set = text
                .lines()
                .find_map(|line| line.strip_prefix("CapBnd:"))
                .unwrap();
            let set = u64::from_str_radix(set.trim(), 16).unwrap();
            assert_eq!(set & (1 << 12 | 1 << 13 | 1 << 21), 0, "{text}");
        }
    });
}

fn without_namespaces_a_process_ends_with_all_it_started() {
    let mark = format!("meltemi-group-{}", std::process::id());
    block_on(async {
        let mut world = World::without_namespaces().await;
        let script = format!("sh -c ': {mark}; sleep 1000; :' & sleep 0.1; kill -9 $$");
        let spawn = world.shell(&script);
        let pid = world
            .sandbox
            .spawn(spawn, null(), null(), Vec::new())
            .await
            .unwrap();
        assert_eq!(world.ended(pid).await, Ended::Signal(libc::SIGKILL));
        until("the end of its group", || processes(&mark).is_empty());

        // What has left the group stays until the sandbox ends.
        let script = format!("setsid sh -c ': {mark}; sleep 1000; :' & exec sleep 1000");
        let spawn = world.shell(&script);
        let pid = world
            .sandbox
            .spawn(spawn, null(), null(), Vec::new())
            .await
            .unwrap();
        let own_session = |pid: &i32| {
            let pid = nix::unistd::Pid::from_raw(*pid);
            nix::unistd::getsid(Some(pid)) == Ok(pid)
        };
        until(
            "a daemon alone",
            || matches!(&processes(&mark)[..], [daemon] if own_session(daemon) && *daemon != pid),
        );
        world
            .sandbox
            .signal(pid, libc::SIGKILL, false)
            .await
            .unwrap();
        world.ended(pid).await;
        // Its shell may be seen twice while it forks.
        until("the daemon stays", || processes(&mark).len() == 1);
        world.events.end().unwrap();
        assert!(processes(&mark).is_empty());
    });
}
