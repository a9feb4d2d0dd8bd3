//! A watched directory: what changes, what holds, what is said.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meltemi_api::networking::VirtualService;
use meltemi_api::{Kind, ObjectKey};
use meltemi_config::{Directory, DirectorySource, Published, ReadOptions, SourceOptions, Trust};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

fn route(name: &str, subset: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: {name}\n\
         spec:\n  hosts: [{name}]\n  http:\n  - route:\n    - destination:\n        host: {name}\n        subset: {subset}\n"
    )
}

fn subset(published: &Published, name: &str) -> Option<String> {
    published
        .objects
        .find::<VirtualService>("default", name)
        .map(|vs| vs.http[0].route[0].destination.subset.clone())
}

async fn open(dir: &Path, last_good: Option<&Path>) -> DirectorySource {
    let directory = Directory {
        path: dir.to_owned(),
        read: ReadOptions::default(),
    };
    let options = SourceOptions {
        last_good: last_good.map(Path::to_owned),
        ..SourceOptions::default()
    };
    DirectorySource::open(vec![directory], options)
        .await
        .unwrap()
}

async fn until(
    receiver: &mut watch::Receiver<Arc<Published>>,
    what: impl Fn(&Published) -> bool,
) -> Arc<Published> {
    timeout(Duration::from_secs(10), receiver.wait_for(|p| what(p)))
        .await
        .expect("the change was not seen in time")
        .unwrap()
        .clone()
}

#[tokio::test]
async fn changes_are_seen_without_asking() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("a.yaml");
    fs::write(&file, route("a", "v1")).unwrap();
    let source = open(dir.path(), None).await;
    let mut receiver = source.subscribe();
    let first = source.current();
    assert_eq!(subset(&first, "a").as_deref(), Some("v1"));

    fs::write(&file, route("a", "v2")).unwrap();
    let second = until(&mut receiver, |p| subset(p, "a").as_deref() == Some("v2")).await;
    assert!(second.objects.version() > first.objects.version());

    // A new sub-directory, and a rename into it as editors and kubelets do.
    let sub = dir.path().join("x/y");
    fs::create_dir_all(&sub).unwrap();
    fs::write(sub.join(".b.swp"), route("b", "v1")).unwrap();
    fs::rename(sub.join(".b.swp"), sub.join("b.yml")).unwrap();
    until(&mut receiver, |p| subset(p, "b").is_some()).await;

    fs::remove_file(&file).unwrap();
    until(&mut receiver, |p| subset(p, "a").is_none()).await;
}

#[tokio::test]
async fn a_broken_object_holds_its_last_good_version_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("both.yaml");
    let both = |a: &str, b: &str| format!("{}---\n{}", route("a", a), route("b", b));
    fs::write(&file, both("v1", "v1")).unwrap();
    let source = open(dir.path(), None).await;

    fs::write(&file, both("'BAD NAME'", "v2")).unwrap();
    let published = source.refresh().await;
    assert_eq!(subset(&published, "a").as_deref(), Some("v1"));
    assert_eq!(subset(&published, "b").as_deref(), Some("v2"));
    assert_eq!(
        published.held,
        [ObjectKey::new(Kind::VirtualService, "default", "a")]
    );
    let error = &published.errors[0];
    assert_eq!(error.line, 11, "{error}");
    assert!(
        error
            .to_string()
            .contains("spec.http[0].route[0].destination.subset"),
        "{error}"
    );

    // A document that cannot be read holds what the file had; the others go on.
    fs::write(
        &file,
        format!("{}---\n{}", "kind: [broken\n", route("b", "v3")),
    )
    .unwrap();
    let published = source.refresh().await;
    assert_eq!(subset(&published, "a").as_deref(), Some("v1"));
    assert_eq!(subset(&published, "b").as_deref(), Some("v3"));

    // An object that is gone from a good file is gone.
    fs::write(&file, route("b", "v3")).unwrap();
    let published = source.refresh().await;
    assert_eq!(subset(&published, "a"), None);
    assert!(published.errors.is_empty() && published.held.is_empty());
}

#[tokio::test]
async fn the_last_good_version_survives_a_restart() {
    let dir = TempDir::new().unwrap();
    let state = TempDir::new().unwrap();
    let kept = state.path().join("lastgood.json");
    let file = dir.path().join("a.yaml");
    fs::write(&file, route("a", "v1")).unwrap();
    let before = open(dir.path(), Some(&kept)).await.current();
    fs::write(&file, route("a", "v2").replace("hosts:", "hsots:")).unwrap();
    let after = open(dir.path(), Some(&kept)).await.current();
    assert_eq!(subset(&after, "a").as_deref(), Some("v1"));
    assert!(after.objects.same_content(&before.objects));
    let error = after.errors[0].to_string();
    assert!(
        error.contains("a.yaml:6") && error.contains("did you mean \"hosts\""),
        "{error}"
    );
}

#[tokio::test]
async fn the_first_definition_wins_and_the_other_is_named() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("2.yaml"), route("a", "v2")).unwrap();
    fs::write(
        dir.path().join("1.yaml"),
        format!("# head\n{}", route("a", "v1")),
    )
    .unwrap();
    let published = open(dir.path(), None).await.current();
    assert_eq!(subset(&published, "a").as_deref(), Some("v1"));
    let error = published.errors[0].to_string();
    assert!(
        error.contains("2.yaml:1") && error.contains("1.yaml:2"),
        "{error}"
    );
}

#[tokio::test]
async fn the_platform_is_believed_and_the_user_is_not() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers: [{name: c, image: i}]\nstatus: {podIP: 10.98.0.7}\n";
    let (user, platform) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(user.path().join("p.yaml"), pod).unwrap();
    let directory = |dir: &TempDir, trust| Directory {
        path: dir.path().to_owned(),
        read: ReadOptions {
            trust,
            ..ReadOptions::default()
        },
    };
    let directories = vec![
        directory(&user, Trust::User),
        directory(&platform, Trust::Platform),
    ];
    let source = DirectorySource::open(directories, SourceOptions::default())
        .await
        .unwrap();
    let ip = |published: &Published| {
        let pod = published
            .objects
            .find::<meltemi_api::k8s::Pod>("default", "p")
            .unwrap();
        pod.status.as_ref().and_then(|status| status.pod_ip.clone())
    };
    assert_eq!(ip(&source.current()), None);
    fs::write(platform.path().join("default.p.yaml"), pod).unwrap();
    let published = source.refresh().await;
    assert_eq!(ip(&published).as_deref(), Some("10.98.0.7"));
}

#[tokio::test]
async fn istios_config_map_holds_the_mesh_settings() {
    let dir = TempDir::new().unwrap();
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: istio\n  namespace: istio-system\ndata:\n  mesh: |\n    outboundTrafficPolicy:\n      mode: REGISTRY_ONLY\n    acessLogFile: /dev/stdout\n";
    let file = dir.path().join("mesh.yaml");
    fs::write(&file, map).unwrap();
    let source = open(dir.path(), None).await;
    let error = source.current().errors[0].clone();
    assert_eq!(error.line, 10, "{error}");
    assert!(error.to_string().contains("accessLogFile"), "{error}");
    fs::write(&file, map.replace("acessLog", "accessLog")).unwrap();
    let published = source.refresh().await;
    assert!(published.errors.is_empty(), "{:?}", published.errors);
    assert_eq!(
        published.objects.mesh_config().access_log_file,
        "/dev/stdout"
    );
}

/// A writer that truncates a file and takes its time: what is half there is never in force.
#[tokio::test]
async fn a_file_that_is_being_written_is_waited_for() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.yaml");
    let whole = |subset| format!("{}---\n{}", route("a", subset), route("b", subset));
    fs::write(&path, whole("v1")).unwrap();
    let source = open(dir.path(), None).await;
    let mut receiver = source.subscribe();

    let mut file = fs::File::create(&path).unwrap();
    file.write_all(route("a", "v2").as_bytes()).unwrap();
    file.sync_all().unwrap();
    // A look at once sees the half and leaves it alone.
    for _ in 0..2 {
        let published = source.refresh().await;
        let subsets = ["a", "b"].map(|name| subset(&published, name));
        assert_eq!(subsets, [Some("v1".to_owned()), Some("v1".to_owned())]);
    }
    file.write_all(format!("---\n{}", route("b", "v2")).as_bytes())
        .unwrap();
    drop(file);
    let published = until(&mut receiver, |p| subset(p, "b").as_deref() == Some("v2")).await;
    assert_eq!(subset(&published, "a").as_deref(), Some("v2"));
}

/// Ten thousand files that change at once are read, and nothing waits for ever.
#[tokio::test]
async fn a_flood_of_changes_ends_in_what_the_files_say() {
    let dir = TempDir::new().unwrap();
    let source = open(dir.path(), None).await;
    let mut receiver = source.subscribe();
    for index in 0..10_000 {
        let text = format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: n{index}}}\n");
        fs::write(dir.path().join(format!("n{index}.yaml")), text).unwrap();
    }
    let all = |published: &Published| published.objects.len() == 10_000;
    timeout(Duration::from_secs(120), receiver.wait_for(|p| all(p)))
        .await
        .expect("the flood was not taken in")
        .unwrap();
}
