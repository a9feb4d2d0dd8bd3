//! Every file of Istio's bookinfo sample translates, for every proxy of it, without a finding;
//! the order in which objects come does not change a byte.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;

use meltemi_api::Object;
use meltemi_discovery::{ProxyKind, Resources};

const PROXIES: [&str; 4] = [
    "productpage-v1",
    "reviews-v1",
    "ratings-v1",
    "ingressgateway",
];

/// Bookinfo with the versions and services that some of the files presuppose.
fn platform() -> Option<Vec<Object>> {
    let mut all = common::captured_cluster()?;
    for file in [
        "bookinfo-details-v2.yaml",
        "bookinfo-db.yaml",
        "bookinfo-mysql.yaml",
    ] {
        let path = format!("istio-samples/bookinfo/platform/kube/{file}");
        if let Some(path) = common::shared(&path) {
            all.extend(common::read(&path));
        }
    }
    // What cert-manager would bring.
    all.extend(common::objects(
        "apiVersion: v1\nkind: Service\nmetadata: {name: cert-manager-resolver, namespace: istio-system}\nspec: {ports: [{name: http, port: 8089}]}\n",
    ));
    Some(all)
}

#[test]
fn every_networking_file_translates_without_a_finding() {
    let (Some(platform), Some(directory)) = (
        platform(),
        common::shared("istio-samples/bookinfo/networking"),
    ) else {
        return;
    };
    let rules = common::read(&directory.join("destination-rule-all.yaml"));
    let gateway = common::read(&directory.join("bookinfo-gateway.yaml"));
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 21);
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let mut objects = platform.clone();
        if !name.starts_with("destination-rule") {
            objects.extend(rules.clone());
        }
        if !name.contains("gateway") {
            objects.extend(gateway.clone());
        }
        objects.extend(common::read(&file));
        let world = common::world(&objects);
        for proxy in PROXIES {
            let resources = meltemi_discovery::translate(&world, &common::captured_proxy(proxy));
            let issues: Vec<_> = resources
                .issues
                .iter()
                .chain(&world.issues)
                // Certificates are made by cert-manager, which is not here.
                .filter(|issue| !issue.field.ends_with("credentialName"))
                .collect();
            assert!(issues.is_empty(), "{name} for {proxy}: {issues:#?}");
            assert!(!resources.clusters.is_empty() && !resources.listeners.is_empty());
        }
    }
}

fn bytes(resources: Resources) -> BTreeMap<&'static str, String> {
    resources
        .encode()
        .into_iter()
        .map(|(kind, set)| (kind, set.version().to_string()))
        .collect()
}

#[test]
fn replicas_share_a_translation_and_different_workloads_do_not() {
    let Some(objects) = platform() else { return };
    let world = common::world(&objects);
    let reviews = common::captured_proxy("reviews-v1");
    let mut replica = reviews.clone();
    replica.id = "reviews-v1-y.default".to_owned();
    replica.pod = "reviews-v1-y".to_owned();
    replica.ips = vec!["10.251.0.99".parse().unwrap()];
    let key = |proxy| meltemi_discovery::share_key(&world, proxy);
    assert_eq!(key(&reviews), key(&replica));
    assert_eq!(
        bytes(meltemi_discovery::translate(&world, &reviews)),
        bytes(meltemi_discovery::translate(&world, &replica))
    );
    assert_ne!(key(&reviews), key(&common::captured_proxy("ratings-v1")));
}

/// A small deterministic generator (xorshift), so that a failure can be repeated.
struct Shuffle(u64);

impl Shuffle {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            let other = (self.next() % (index as u64 + 1)) as usize;
            items.swap(index, other);
        }
    }
}

#[test]
fn the_order_of_objects_does_not_change_a_byte() {
    let Some(mut objects) = platform() else {
        return;
    };
    for scenario in ["routing", "egress", "traffic-policy", "gateway-tls"] {
        let Some(file) = common::shared(&format!("istiod-xds/{scenario}/config.yaml")) else {
            return;
        };
        objects.extend(common::read(&file));
    }
    // Names must be unique, as in a store.
    let mut unique: BTreeMap<_, _> = BTreeMap::new();
    for object in objects {
        unique.insert(object.key(), object);
    }
    let mut objects: Vec<Object> = unique.into_values().collect();
    let expected: Vec<_> = PROXIES
        .iter()
        .map(|name| bytes(common::translated(&objects, &common::captured_proxy(name))))
        .collect();
    let mut shuffle = Shuffle(0x2545_f491_4f6c_dd1d);
    for round in 0..20 {
        shuffle.shuffle(&mut objects);
        let world = common::world(&objects);
        for (name, expected) in PROXIES.iter().zip(&expected) {
            let proxy = common::captured_proxy(name);
            let found = bytes(meltemi_discovery::translate(&world, &proxy));
            assert_eq!(*expected, found, "round {round}, {name}");
        }
    }
}

#[test]
fn a_thousand_services_are_translated_well_below_a_second() {
    let mut text = String::new();
    for index in 0..1000 {
        text.push_str(&format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{index}, namespace: n{}}}\n\
             spec: {{selector: {{app: s{index}}}, ports: [{{name: http, port: 8080}}]}}\n",
            index % 20
        ));
        for pod in 0..2 {
            text.push_str(&common::pod(
                &format!("s{index}-{pod}"),
                &format!("n{}", index % 20),
                &format!("10.{}.{}.{pod}", index / 250, index % 250),
                "default",
                &format!("app: s{index}"),
            ));
        }
    }
    let objects = common::objects(&text);
    let proxy = common::proxy(
        ProxyKind::Sidecar,
        "client",
        "10.9.9.9",
        &[("app", "client")],
    );
    let started = std::time::Instant::now();
    let world = common::world(&objects);
    let built = started.elapsed();
    let resources = meltemi_discovery::translate(&world, &proxy);
    assert_eq!(resources.endpoints.len(), 1000);
    let translated = started.elapsed() - built;
    let sets = resources.encode();
    let encoded = started.elapsed() - built - translated;
    let size: usize = sets
        .values()
        .flatten()
        .map(|resource| resource.any.len())
        .sum();
    println!(
        "1000 services, 2000 pods: World {built:?}, translation {translated:?}, encoding {encoded:?}, {size} bytes (unoptimized build)"
    );
    // This build is unoptimized, and other tests run beside it.
    assert!(started.elapsed().as_secs() < 10);
}
