//! The commands that show and change configuration: what they print, how they exit.

use crate::common::runner::Test;
use crate::tests;
use crate::world::{EFFECT, World, replace};

pub const TESTS: &[Test<World>] = tests![
    apply_get_diff_and_delete_agree,
    a_dry_run_writes_nothing,
    a_wrong_object_is_refused_with_its_place_and_a_remedy,
    a_broken_file_is_told_and_the_last_good_version_stays,
    a_field_that_is_not_honoured_is_named,
    explain_names_the_rule_of_the_running_mesh,
    analyze_looks_at_the_running_mesh,
    proxy_config_shows_what_the_proxy_has,
    logs_show_the_application_and_the_proxy,
    usage_errors_exit_with_2,
    programs_that_cannot_run_exit_as_in_a_shell,
];

const VIRTUAL_SERVICE: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: { name: shown }\nspec:\n  hosts: [ratings]\n  http:\n  - route: [{ destination: { host: ratings } }]\n    timeout: 3s\n";

fn apply_get_diff_and_delete_agree(world: &World) {
    world.reset();
    let mesh = &world.mesh;
    let diff = |text: &str| mesh.cli_with_input(&["diff", "-f", "-"], text);
    assert_eq!(diff(VIRTUAL_SERVICE).code, 1);
    let applied = mesh.apply_text(VIRTUAL_SERVICE);
    assert!(
        applied.stdout.contains("virtualservice/shown created"),
        "{applied}"
    );
    let again = mesh.apply_text(VIRTUAL_SERVICE);
    assert!(
        again.stdout.contains("virtualservice/shown unchanged"),
        "{again}"
    );
    let changed = mesh.apply_text(&VIRTUAL_SERVICE.replace("3s", "4s"));
    assert!(
        changed.stdout.contains("virtualservice/shown configured"),
        "{changed}"
    );
    let difference = diff(VIRTUAL_SERVICE);
    assert!(
        difference.code == 1
            && difference.stdout.contains("4s")
            && difference.stdout.contains("3s"),
        "{difference}"
    );
    let same = diff(&VIRTUAL_SERVICE.replace("3s", "4s"));
    assert_eq!((same.code, same.stdout.trim()), (0, ""), "{same}");
    let got = mesh
        .cli(&["get", "virtualservice", "shown", "-o", "json"])
        .expect_success("get")
        .json();
    assert_eq!(got["kind"], "VirtualService", "{got:#}");
    assert_eq!(got["metadata"]["name"], "shown", "{got:#}");
    assert_eq!(got["spec"]["http"][0]["timeout"], "4s", "{got:#}");
    let list = mesh
        .cli(&["get", "vs", "-A", "-o", "json"])
        .expect_success("get")
        .json();
    assert!(
        list["items"]
            .as_array()
            .is_some_and(|items| items.len() >= 2),
        "{list:#}"
    );
    let table = mesh.cli(&["get", "vs"]).expect_success("get");
    assert!(
        table.stdout.contains("shown") && table.stdout.starts_with("NAMESPACE"),
        "{table}"
    );
    mesh.cli(&["delete", "virtualservice", "shown"])
        .expect_success("delete");
    let gone = mesh.cli(&["get", "virtualservice", "shown"]);
    assert!(gone.code == 1 && gone.stderr.contains("shown"), "{gone}");
    let twice = mesh.cli(&["delete", "virtualservice", "shown"]);
    assert_eq!(twice.code, 1, "{twice}");
}

fn explain_names_the_rule_of_the_running_mesh(world: &World) {
    world.reset();
    let mesh = &world.mesh;
    mesh.apply_text(VIRTUAL_SERVICE);
    let explain = |url: &str| mesh.cli(&["explain", "reviews", url, "-o", "json"]);
    let answer = explain("http://ratings:9080/ratings/0")
        .expect_success("explain")
        .json();
    assert_eq!(answer["evidence"][0]["rule"]["name"], "shown", "{answer:#}");
    let place = answer["evidence"][0]["place"].as_str().unwrap_or_default();
    assert!(place.contains(".yaml:"), "{answer:#}");
    let server = &answer["call"]["hops"][1];
    assert_eq!(
        (&server["role"], &server["tls"]),
        (&"server".into(), &"mtls".into()),
        "{answer:#}"
    );
    let nowhere = explain("http://rating:9080/");
    assert_eq!(nowhere.code, 1, "{nowhere}");
    mesh.cli(&["delete", "virtualservice", "shown"])
        .expect_success("delete");
}

fn a_dry_run_writes_nothing(world: &World) {
    world.reset();
    let version = world.mesh.config_version();
    let output = world
        .mesh
        .cli_with_input(&["apply", "--dry-run", "-f", "-"], VIRTUAL_SERVICE);
    let output = output.expect_success("dry run");
    assert!(
        output.stdout.contains("default/shown") && output.stdout.contains("+    timeout: 3s"),
        "{output}"
    );
    assert_eq!(world.mesh.cli(&["get", "virtualservice", "shown"]).code, 1);
    assert_eq!(world.mesh.config_version(), version);
}

fn a_wrong_object_is_refused_with_its_place_and_a_remedy(world: &World) {
    world.reset();
    let file = world.mesh.home.join("wrong.yaml");
    std::fs::write(
        &file,
        VIRTUAL_SERVICE.replace("timeout: 3s", "timeout: soon"),
    )
    .unwrap();
    let version = world.mesh.config_version();
    let output = world.mesh.cli(&["apply", "-f", file.to_str().unwrap()]);
    assert_eq!(output.code, 1, "{output}");
    for part in ["wrong.yaml:8", "VirtualService", "default/shown", "timeout"] {
        assert!(
            output.stderr.contains(part),
            "{part:?} is missing: {output}"
        );
    }
    assert_eq!(world.mesh.cli(&["get", "virtualservice", "shown"]).code, 1);
    assert_eq!(world.mesh.config_version(), version);
}

fn a_broken_file_is_told_and_the_last_good_version_stays(world: &World) {
    world.reset();
    let file = world.mesh.dir.join("watched.yaml");
    let good = VIRTUAL_SERVICE.replace(
        "timeout: 3s",
        "fault: { abort: { httpStatus: 418, percentage: { value: 100 } } }",
    );
    let before = world.mesh.config_version();
    replace(&file, &good);
    world.changed_since(&before);
    let status = || world.mesh.get("/api/v1/products/0/ratings").status;
    crate::common::wait::until("the fault", EFFECT, || match status() {
        418 => Ok(()),
        other => Err(other.to_string()),
    });
    replace(
        &file,
        &good.replace("httpStatus: 418", "httpStatus: teapot"),
    );
    let told = crate::common::wait::until("the error in the status", EFFECT, || {
        let output = world.mesh.cli(&["status"]);
        match output.code == 1 && output.stdout.contains("watched.yaml:") {
            true => Ok(output),
            false => Err(output.to_string()),
        }
    });
    assert!(told.stdout.contains("httpStatus"), "{told}");
    assert_eq!(status(), 418, "the last good version stays in force");
    // And everything else goes on.
    let before = world.mesh.config_version();
    replace(
        &world.mesh.dir.join("other.yaml"),
        &VIRTUAL_SERVICE
            .replace("shown", "other")
            .replace("ratings", "details"),
    );
    crate::common::wait::until_true("another object", EFFECT, || {
        world.mesh.config_version() != before
    });
    assert_eq!(world.mesh.get("/productpage").status, 200);
    world.reset();
    assert_eq!(status(), 200);
}

fn a_field_that_is_not_honoured_is_named(world: &World) {
    world.reset();
    let misspelt = VIRTUAL_SERVICE.replace("timeout", "timeuot");
    let output = world
        .mesh
        .cli_with_input(&["apply", "--dry-run", "-f", "-"], &misspelt);
    assert!(
        output.stderr.contains("timeuot") && output.stderr.contains("timeout"),
        "{output}"
    );
}

fn analyze_looks_at_the_running_mesh(world: &World) {
    world.reset();
    let mesh = &world.mesh;
    let before = mesh.cli(&["analyze"]);
    assert_eq!(before.code, 0, "{before}");
    let wrong = VIRTUAL_SERVICE.replace("host: ratings", "host: rating");
    let added = mesh.cli_with_input(&["analyze", "--use-mesh", "-"], &wrong);
    assert!(
        added.code == 79 && added.stdout.contains("(VirtualService default/shown -:7)"),
        "{added}"
    );
    let applied = mesh.apply_text(&wrong);
    assert!(applied.stderr.contains("[IST0101]"), "{applied}");
    let after = mesh.cli(&["analyze", "-o", "json"]);
    assert_eq!(after.code, 79, "{after}");
    let message = &after.json()[0];
    assert_eq!(
        message["origin"], "VirtualService default/shown",
        "{message:#}"
    );
    assert_eq!(message["field"], "spec.http[0].route[0].destination.host");
    assert_eq!(message["remedy"], "did you mean \"ratings\"?");
    mesh.cli(&["delete", "virtualservice", "shown"])
        .expect_success("delete");
    assert_eq!(mesh.cli(&["analyze"]).code, 0);
}

fn proxy_config_shows_what_the_proxy_has(world: &World) {
    world.reset();
    for (kind, part) in [
        ("listener", "15006"),
        ("route", "reviews.default.svc.cluster.local"),
        (
            "cluster",
            "outbound|9080||reviews.default.svc.cluster.local",
        ),
        ("endpoint", "9080"),
        ("secret", "default"),
        ("bootstrap", "xds"),
        ("all", "PassthroughCluster"),
    ] {
        let output = world
            .mesh
            .cli(&["proxy-config", kind, "productpage", "-o", "json"]);
        let output = output.expect_success(kind);
        assert!(
            output.json().is_object() || output.json().is_array(),
            "{kind}: {output}"
        );
        assert!(
            output.stdout.contains(part),
            "{kind}: {part:?} is missing in {} bytes",
            output.stdout.len()
        );
        assert!(
            !output.stdout.contains("PRIVATE KEY"),
            "{kind} shows a private key"
        );
        let text = world
            .mesh
            .cli(&["proxy-config", kind, "productpage"])
            .expect_success(kind);
        assert!(!text.stdout.is_empty(), "{kind}");
        world
            .mesh
            .cli(&["proxy-config", kind, "productpage", "-o", "yaml"])
            .expect_success(kind);
    }
}

fn logs_show_the_application_and_the_proxy(world: &World) {
    world.reset();
    // Istio writes no access log unless told to.
    world.mesh.apply_text("apiVersion: v1\nkind: ConfigMap\nmetadata: { name: istio, namespace: istio-system }\ndata:\n  mesh: |\n    accessLogFile: /dev/stdout\n");
    crate::common::wait::until("the access log", EFFECT, || {
        let request = world
            .mesh
            .request("/productpage")
            .header("user-agent", "tests of logs");
        assert_eq!(request.send()?.status, 200);
        let output = world.mesh.cli(&[
            "logs",
            "istio-ingressgateway",
            "-n",
            "istio-system",
            "--proxy",
            "--tail",
            "50",
        ]);
        let found =
            output.stdout.contains("/productpage") && output.stdout.contains("tests of logs");
        if found {
            Ok(())
        } else {
            Err(output.to_string())
        }
    });
    world
        .mesh
        .cli(&["logs", "reviews-v1"])
        .expect_success("logs");
    assert_ne!(world.mesh.cli(&["logs", "nobody"]).code, 0);
}

fn usage_errors_exit_with_2(world: &World) {
    assert_eq!(world.mesh.cli(&["no-such-command"]).code, 2);
    assert_eq!(world.mesh.cli(&["apply"]).code, 2);
    let nobody = world.mesh.cli(&["status", "--mesh", "nobody"]);
    assert!(
        nobody.code != 0 && nobody.stderr.contains("nobody"),
        "{nobody}"
    );
    assert!(
        world
            .mesh
            .cli(&["--version"])
            .expect_success("version")
            .stdout
            .starts_with("meltemi ")
    );
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            !world
                .mesh
                .cli(&["completion", shell])
                .expect_success(shell)
                .stdout
                .is_empty()
        );
    }
}

fn programs_that_cannot_run_exit_as_in_a_shell(world: &World) {
    let exec = |program: &str| world.mesh.exec("client", &[program]);
    let missing = exec("no-such-program");
    assert_eq!(missing.code, 127, "{missing}");
    assert!(missing.stderr.contains("not found in PATH"), "{missing}");
    assert_eq!(exec("/no/such/program").code, 127);
    let data = exec("/etc/hosts");
    assert_eq!(data.code, 126, "{data}");
    assert!(data.stderr.contains("Permission denied"), "{data}");
    let run = world.mesh.cli(&["run", "--", "no-such-program"]);
    assert_eq!(run.code, 127, "{run}");
}
