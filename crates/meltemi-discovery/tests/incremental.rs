//! Whatever is edited in whatever order: what is kept from World to World never shows. The
//! resources of every proxy are those of a translation from nothing.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::collections::BTreeMap;

use common::proxy;
use meltemi_api::Object;
use meltemi_discovery::{
    Issue, Own, Proxy, ProxyKind, ServiceCache, View, ViewKey, World, WorldOptions, share_key,
    translate,
};
use meltemi_xds::{ResourceSet, type_url};
use proptest::prelude::*;

/// What an object can be; `{n}` is the variant's number.
const TEMPLATES: &[&[&str]] = &[
    &[
        "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\nspec: {selector: {app: web}, ports: [{name: http, port: 80}]}",
        "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\nspec: {selector: {app: web}, ports: [{name: http, port: 80}, {name: tcp, port: 9000}]}",
        "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\nspec: {selector: {app: client}, ports: [{name: http, port: 80, targetPort: 8080}]}",
        "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\nspec: {clusterIP: None, selector: {app: web}, ports: [{name: tcp, port: 80}]}",
    ],
    &[
        "apiVersion: v1\nkind: Service\nmetadata: {name: db, namespace: data}\nspec: {selector: {app: db}, ports: [{name: tcp, port: 5432}]}",
        "apiVersion: v1\nkind: Service\nmetadata: {name: db, namespace: data, annotations: {networking.istio.io/exportTo: .}}\nspec: {selector: {app: db}, ports: [{name: tcp, port: 5432}]}",
        "apiVersion: v1\nkind: Service\nmetadata: {name: db, namespace: data}\nspec: {type: ExternalName, externalName: web.default.svc.cluster.local, ports: [{name: http, port: 80}]}",
    ],
    &[
        "POD web-1 default 10.0.0.1 sa-a {app: web, version: v1}",
        "POD web-1 default 10.0.0.2 sa-a {app: web, version: v2}",
        "POD web-1 default 10.0.0.1 sa-b {app: web, version: v1}",
    ],
    &[
        "POD web-2 default 10.0.0.3 sa-a {app: web, version: v1}",
        "POD web-2 default 10.0.0.3 sa-a {app: other}",
    ],
    &[
        "POD db-1 data 10.0.1.1 sa-a {app: db}",
        "POD db-1 data 10.0.1.2 sa-a {app: db, topology.istio.io/subzone: x}",
    ],
    &["POD client default 10.9.9.9 sa-a {app: client}"],
    &[
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: far, namespace: default}\nspec: {hosts: [far.example], location: MESH_INTERNAL, resolution: STATIC, addresses: [240.1.0.1], ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 10.7.0.1, labels: {version: v1}}]}",
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: far, namespace: default}\nspec: {hosts: [far.example], location: MESH_INTERNAL, resolution: STATIC, addresses: [240.1.0.1], ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 10.7.0.1, labels: {version: v1}}, {address: 10.7.0.2, labels: {version: v2}}]}",
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: far, namespace: default}\nspec: {hosts: [far.example], location: MESH_INTERNAL, resolution: STATIC, addresses: [240.1.0.1], ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 10.9.9.9, serviceAccount: sa-b}]}",
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: far, namespace: default}\nspec: {hosts: [far.example], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]}",
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: far, namespace: default}\nspec: {hosts: ['*.example'], location: MESH_EXTERNAL, resolution: NONE, ports: [{number: 443, name: tls, protocol: TLS}]}",
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: far, namespace: default}\nspec: {hosts: ['*.example'], location: MESH_EXTERNAL, resolution: DYNAMIC_DNS, ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]}",
    ],
    &[
        "apiVersion: mesh.istio.io/v1alpha1\nkind: MeshConfig\nmetadata: {name: istio, namespace: istio-system}\nspec: {outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}}",
        "apiVersion: mesh.istio.io/v1alpha1\nkind: MeshConfig\nmetadata: {name: istio, namespace: istio-system}\nspec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY, tls: {mode: SIMPLE}}}",
    ],
    &[
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web, namespace: default}\nspec: {hosts: [web], http: [{route: [{destination: {host: web, subset: v1}, weight: 90}, {destination: {host: web, subset: v2}, weight: 10}]}]}",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web, namespace: default}\nspec: {hosts: [web], http: [{route: [{destination: {host: web, subset: v1}, weight: 50}, {destination: {host: web, subset: v2}, weight: 50}]}]}",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web, namespace: default}\nspec: {hosts: [web], http: [{match: [{sourceLabels: {app: client}}], route: [{destination: {host: far.example}}]}, {route: [{destination: {host: nowhere}}]}]}",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web, namespace: default}\nspec: {hosts: [web, far.example], exportTo: [.], tcp: [{match: [{port: 9000}], route: [{destination: {host: db.data.svc.cluster.local}}]}]}",
    ],
    &[
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: web, namespace: default}\nspec: {host: web, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}",
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: web, namespace: default}\nspec: {host: web, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}, subsets: [{name: v1, labels: {version: v1}}]}",
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: web, namespace: default}\nspec: {host: '*.cluster.local', workloadSelector: {matchLabels: {app: client}}, trafficPolicy: {tls: {mode: DISABLE}}}",
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: web, namespace: default}\nspec: {host: db.data.svc.cluster.local, trafficPolicy: {outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: [topology.istio.io/subzone, app]}}}}",
    ],
    &[
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: one, namespace: default}\nspec: {egress: [{hosts: ['./*']}]}",
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: one, namespace: default}\nspec: {workloadSelector: {labels: {app: client}}, egress: [{hosts: ['data/*', '*/far.example']}]}",
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: one, namespace: istio-system}\nspec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}",
    ],
    &[
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: one, namespace: default}\nspec: {mtls: {mode: STRICT}}",
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: one, namespace: default}\nspec: {selector: {matchLabels: {version: v1}}, mtls: {mode: DISABLE}}",
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: one, namespace: istio-system}\nspec: {mtls: {mode: DISABLE}}",
    ],
    &[
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: in, namespace: istio-system}\nspec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}",
    ],
    &[
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: in, namespace: istio-system}\nspec: {hosts: ['*'], gateways: [in], http: [{route: [{destination: {host: web.default.svc.cluster.local}}]}]}",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: in, namespace: istio-system}\nspec: {hosts: ['*.cluster.local'], gateways: [in, mesh], http: [{fault: {abort: {httpStatus: 418, percentage: {value: 100}}}, route: [{destination: {host: far.example}}]}]}",
    ],
    &[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: web, namespace: default}\nspec: {parentRefs: [{group: '', kind: Service, name: web}], rules: [{backendRefs: [{name: web, port: 80}]}]}",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: web, namespace: default}\nspec: {parentRefs: [{name: in}], rules: [{matches: [{path: {value: /a}}], backendRefs: [{name: web, port: 80}]}]}",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: web, namespace: default}\nspec: {parentRefs: [{group: networking.istio.io, kind: ServiceEntry, name: far}], rules: [{backendRefs: [{kind: Hostname, group: networking.istio.io, name: db.data.svc.cluster.local, port: 5432}]}]}",
    ],
    &[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: in, namespace: default}\nspec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: in, namespace: default}\nspec: {gatewayClassName: istio, listeners: [{name: tcp, port: 9000, protocol: TCP}]}",
    ],
    &[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\nmetadata: {name: tcp, namespace: default}\nspec: {parentRefs: [{name: in}, {group: '', kind: Service, name: web}], rules: [{backendRefs: [{name: web, port: 80}]}]}",
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: in, namespace: default}\nspec: {ingressClassName: istio, defaultBackend: {service: {name: web, port: {number: 80}}}}",
    ],
    &[
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: bare, namespace: default}\nspec: {hosts: [bare.example], http: [{route: [{destination: {host: web}}]}]}",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: bare, namespace: default}\nspec: {hosts: [bare.example], http: [{timeout: 2s, route: [{destination: {host: web}}]}]}",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: bare, namespace: default}\nspec: {hosts: [bare.example], http: [{match: [{port: 81}], route: [{destination: {host: web}}]}]}",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: bare, namespace: default}\nspec: {hosts: [bare.example, '*.example'], http: [{retries: {attempts: 3}, route: [{destination: {host: web, subset: v3}}]}]}",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: bare, namespace: default}\nspec: {hosts: [bare.example], http: [{delegate: {name: child}}]}",
    ],
    &[
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: child, namespace: default}\nspec: {http: [{route: [{destination: {host: web}}]}]}",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: child, namespace: default}\nspec: {http: [{timeout: 3s, route: [{destination: {host: web, subset: v4}}]}]}",
    ],
    &[
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: other, namespace: data}\nspec: {hosts: [bare.example], http: [{timeout: 9s, route: [{destination: {host: web}}]}]}",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: other, namespace: data}\nspec: {hosts: ['*.cluster.local'], http: [{timeout: 9s, route: [{destination: {host: web.default.svc.cluster.local}}]}]}",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: other, namespace: data}\nspec: {hosts: ['*.cluster.local'], http: [{timeout: 8s, route: [{destination: {host: web.default.svc.cluster.local, subset: v9}}]}]}",
    ],
];

fn objects_of(template: &str) -> Vec<Object> {
    match template.strip_prefix("POD ") {
        None => common::objects(template),
        Some(pod) => {
            let mut words = pod.splitn(5, ' ');
            let mut word = || words.next().unwrap();
            let (name, namespace, ip, account) = (word(), word(), word(), word());
            let labels = word().trim_matches(['{', '}']);
            common::objects(&common::pod(name, namespace, ip, account, labels))
        }
    }
}

/// An object's slot and its new variant; none: it is removed.
fn edits() -> impl Strategy<Value = Vec<(usize, Option<usize>)>> {
    let edit = (0..TEMPLATES.len(), prop::option::weighted(0.85, 0..8usize));
    prop::collection::vec(edit, 1..30)
}

fn proxies() -> Vec<Proxy> {
    let sidecar = |pod, ip, labels: &[(&str, &str)]| proxy(ProxyKind::Sidecar, pod, ip, labels);
    let mut data = sidecar("db-1", "10.0.1.1", &[("app", "db")]);
    data.namespace = "data".to_owned();
    let mut discovering = sidecar("client-2", "10.9.9.6", &[("app", "client")]);
    discovering.discovers_hosts = true;
    vec![
        discovering,
        sidecar("client", "10.9.9.9", &[("app", "client")]),
        sidecar("web-1", "10.0.0.1", &[("app", "web"), ("version", "v1")]),
        sidecar("idle", "10.9.9.8", &[("app", "idle"), ("version", "v1")]),
        data,
        proxy(
            ProxyKind::Gateway,
            "gw",
            "10.9.9.7",
            &[("istio", "ingressgateway")],
        ),
    ]
}

/// What the control plane keeps of one proxy.
struct Kept {
    view: View,
    view_key: ViewKey,
}

type Content = BTreeMap<(&'static str, String), String>;

fn content<'a>(sets: impl IntoIterator<Item = (&'static str, &'a ResourceSet)>) -> Content {
    let resources = sets
        .into_iter()
        .flat_map(|(kind, set)| set.iter().map(move |resource| (kind, resource)));
    resources
        .map(|(kind, resource)| {
            (
                (kind, resource.name.to_string()),
                resource.version.to_string(),
            )
        })
        .collect()
}

fn from_nothing(world: &World, proxy: &Proxy) -> (Content, Vec<Issue>) {
    let resources = translate(world, proxy);
    let sets = resources.encode();
    let sets = sets.iter().map(|(kind, set)| (*kind, set));
    (content(sets), resources.issues)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_never_shows(edits in edits()) {
        let mut slots: BTreeMap<usize, Vec<Object>> = BTreeMap::new();
        let mut before: Option<World> = None;
        let mut kept: BTreeMap<usize, Kept> = BTreeMap::new();
        let mut own: BTreeMap<usize, (meltemi_discovery::ShareKey, u64, Own)> = BTreeMap::new();
        let cache = ServiceCache::default();
        for (step, (slot, variant)) in edits.into_iter().enumerate() {
            match variant {
                Some(variant) => {
                    let variants = TEMPLATES[slot];
                    slots.insert(slot, objects_of(variants[variant % variants.len()]));
                }
                None => { slots.remove(&slot); }
            }
            let objects: Vec<Object> = slots.values().flatten().cloned().collect();
            let generation = step as u64 + 1;
            let scratch = World::build(&objects, &WorldOptions::default(), generation);
            let world = match &before {
                Some(before) => World::next(&objects, &WorldOptions::default(), before),
                None => World::build(&objects, &WorldOptions::default(), generation),
            };
            cache.sweep();
            for (index, proxy) in proxies().iter().enumerate() {
                let key = share_key(&world, proxy);
                let Some(view_key) = ViewKey::of(&world, &key) else {
                    prop_assert_eq!(from_nothing(&world, proxy), from_nothing(&scratch, proxy));
                    continue;
                };
                let earlier = kept.remove(&index);
                let earlier = earlier.filter(|kept| kept.view_key == view_key);
                let view = View::new(&world, &view_key, earlier.as_ref().map(|k| &k.view), &cache);
                let known = own.remove(&index);
                let (_, _, part) = match known {
                    Some(known) if known.0 == key && known.1 >= world.frame_since => known,
                    _ => (key.clone(), generation, Own::new(&world, proxy)),
                };
                let clusters = view.clusters.beside(&part.clusters);
                let found = content([
                    (type_url::CLUSTER, &clusters),
                    (type_url::ENDPOINT, &view.endpoints),
                    (type_url::LISTENER, &part.listeners),
                    (type_url::ROUTE, &view.routes.routes),
                    (type_url::VIRTUAL_HOST, &view.routes.virtual_hosts),
                    (type_url::SECRET, &part.secrets),
                    (type_url::NAME_TABLE, &view.names),
                ]);
                let mut issues: Vec<Issue> = view.issues.iter().chain(&part.issues).cloned().collect();
                issues.sort();
                issues.dedup();
                prop_assert_eq!((found, issues), from_nothing(&scratch, proxy), "step {}, {}", step, proxy.id);
                kept.insert(index, Kept { view, view_key });
                own.insert(index, (key, generation, part));
            }
            before = Some(world);
        }
    }
}

#[test]
fn a_weight_translates_its_virtual_host_again_and_no_other() {
    let objects = |weight: usize| -> Vec<Object> {
        let with = |text| {
            let mut slots = TEMPLATES.iter();
            *slots.find(|variants| variants[0].contains(text)).unwrap()
        };
        let routes = with("VirtualService\nmetadata: {name: web,");
        [TEMPLATES[0][0], routes[weight], with("{name: bare,")[0]]
            .into_iter()
            .flat_map(objects_of)
            .collect()
    };
    let first = World::build(&objects(0), &WorldOptions::default(), 1);
    let second = World::next(&objects(1), &WorldOptions::default(), &first);
    let mut client = proxy(ProxyKind::Sidecar, "client", "10.9.9.9", &[]);
    client.discovers_hosts = true;
    let cache = ServiceCache::default();
    let view = |world: &World, before: Option<&View>| {
        let key = ViewKey::of(world, &share_key(world, &client)).unwrap();
        View::new(world, &key, before, &cache)
    };
    let before = view(&first, None);
    let after = view(&second, Some(&before));
    let is_same = |name: &str| {
        let bytes = |view: &View| view.routes.virtual_hosts.get(name).unwrap().any.clone();
        let (before, after) = (bytes(&before), bytes(&after));
        (before == after, before.as_ptr() == after.as_ptr())
    };
    assert_eq!(
        is_same("80/bare.example:80"),
        (true, true),
        "not made again"
    );
    let changed = "80/web.default.svc.cluster.local:80";
    assert_eq!(is_same(changed), (false, false));
}
