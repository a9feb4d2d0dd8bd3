//! Which objects a proxy's refusal is about.

use crate::pb::route::RouteConfiguration;
use crate::world::World;
use crate::world::virtual_service::Semantics;
use meltemi_api::{Kind, ObjectKey};
use meltemi_xds::{Resource, ResourceSet, type_url};
use prost::Message;
use std::collections::BTreeSet;

/// A refusal that names more objects than this names none: it is about none of them alone.
const MAX_OBJECTS: usize = 8;
/// Where a resource tells the object it comes from, see `structs::config_path`.
const PATH: &str = "/apis/networking.istio.io/v1/namespaces/";

/// The objects behind the resources of a refused response that the refusal names, by what the
/// resources themselves tell.
pub(super) fn culprits(
    world: &World,
    kind: &str,
    set: &ResourceSet,
    names: &[std::sync::Arc<str>],
    message: &str,
) -> Vec<ObjectKey> {
    let mut named: Vec<&str> = names.iter().map(|name| &**name).collect();
    if named.len() > 1 {
        named.retain(|name| !name.is_empty() && message.contains(name));
    }
    let mut found = BTreeSet::new();
    for resource in named.into_iter().filter_map(|name| set.get(name)) {
        let mut objects = objects_in(&resource.any);
        if kind == type_url::ROUTE
            && let Some(narrow) = virtual_host(resource, message)
        {
            objects = objects_in(&narrow);
        }
        found.extend(
            objects
                .into_iter()
                .flat_map(|object| written(world, object)),
        );
        if kind == type_url::CLUSTER {
            found.extend(service_of(world, &resource.name));
        }
    }
    if found.len() > MAX_OBJECTS {
        return Vec::new();
    }
    found.into_iter().collect()
}

/// The virtual host that the refusal's field path or its name points to, encoded.
fn virtual_host(resource: &Resource, message: &str) -> Option<Vec<u8>> {
    let any = prost_types::Any::decode(&*resource.any).ok()?;
    let routes = RouteConfiguration::decode(&*any.value).ok()?;
    let index = message.split_once("virtual_hosts[").and_then(|(_, rest)| {
        let (index, _) = rest.split_once(']')?;
        index.parse::<usize>().ok()
    });
    let host = match index {
        Some(index) => routes.virtual_hosts.get(index),
        None => {
            let mut hosts = routes.virtual_hosts.iter();
            hosts.find(|host| message.contains(&host.name))
        }
    };
    host.map(Message::encode_to_vec)
}

/// The objects that an encoded resource says it comes from.
fn objects_in(encoded: &[u8]) -> BTreeSet<ObjectKey> {
    let starts = encoded.windows(PATH.len()).enumerate();
    starts
        .filter(|(_, window)| *window == PATH.as_bytes())
        .filter_map(|(start, _)| object_at(encoded, start))
        .collect()
}

/// The objects that a VirtualService was made from; it alone where a user wrote it.
fn written(world: &World, object: ObjectKey) -> BTreeSet<ObjectKey> {
    let service = world
        .virtual_services
        .iter()
        .find(|service| service.semantics != Semantics::Istio && service.key == object);
    let Some(service) = service else {
        return [object].into();
    };
    let rules = service.rules.iter().chain(&service.tls_rules);
    rules
        .chain(&service.tcp_rules)
        .map(|rule| rule.object.clone())
        .collect()
}

/// The object whose path is the protobuf text that begins there.
fn object_at(encoded: &[u8], start: usize) -> Option<ObjectKey> {
    let last = usize::from(*encoded.get(start.checked_sub(1)?)?);
    let length = match encoded.get(start.checked_sub(2)?) {
        // A length of two bytes: seven bits each, the lower ones first.
        Some(first) if first & 0x80 != 0 => usize::from(first & 0x7f) | last << 7,
        _ => last,
    };
    let path = std::str::from_utf8(encoded.get(start..start + length)?).ok()?;
    let mut parts = path.strip_prefix(PATH)?.split('/');
    let (namespace, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
    let kind = match kind {
        "virtual-service" => Kind::VirtualService,
        "destination-rule" => Kind::DestinationRule,
        _ => return None,
    };
    Some(ObjectKey::new(kind, namespace, name))
}

/// What declares the service that a cluster `DIRECTION|PORT|SUBSET|HOST` is for.
fn service_of(world: &World, cluster: &str) -> Option<ObjectKey> {
    let host = cluster.rsplit('|').next()?;
    let service = world.registry.by_host(host).first()?;
    Some(service.object.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{route, structs};
    use crate::world::WorldOptions;
    use std::sync::Arc;

    fn host(name: &str, object: &str) -> route::VirtualHost {
        route::VirtualHost {
            name: name.to_owned(),
            routes: vec![route::Route {
                metadata: Some(structs::config_metadata("virtual-service", "n", object)),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn a_refused_route_is_its_virtual_service() {
        let long = "x".repeat(150);
        let hosts = [("a:80", "a"), ("b:80", "b"), ("c:80", long.as_str())];
        let routes = RouteConfiguration {
            name: "80".to_owned(),
            virtual_hosts: hosts.map(|(name, object)| host(name, object)).into(),
            ..Default::default()
        };
        let resource = crate::translate::encode("80", &routes);
        let set = ResourceSet::new(vec![resource]);
        let world = World::build([], &WorldOptions::default(), 1);
        let names: Vec<Arc<str>> = vec!["80".into()];
        let of = |message| {
            let found = culprits(&world, type_url::ROUTE, &set, &names, message);
            found.into_iter().map(|key| key.name).collect::<Vec<_>>()
        };
        assert_eq!(of("80: virtual_hosts[1].routes[0]: bad"), ["b"]);
        assert_eq!(of("80: bad host c:80"), [long.as_str()]);
        assert_eq!(of("80: bad"), ["a", "b", long.as_str()]);
    }

    #[test]
    fn what_was_made_of_a_route_is_the_routes() {
        let text = [
            serde_json::json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
                "spec": {"ports": [{"name": "http", "port": 80}]}}),
            serde_json::json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
                "metadata": {"name": "r"}, "spec": {
                    "parentRefs": [{"group": "", "kind": "Service", "name": "a"}],
                    "rules": [{"backendRefs": [{"name": "a", "port": 80}]}]}}),
        ];
        let objects = text.map(|value| meltemi_api::decode(&value, "n").unwrap());
        let world = World::build(&objects, &WorldOptions::default(), 1);
        let made = world.virtual_services[0].key.clone();
        assert_eq!(made.name, "r-0-istio-autogenerated-k8s-gateway");
        let expected = ObjectKey::new(Kind::HttpRoute, "n", "r");
        assert_eq!(written(&world, made), [expected].into());
    }
}
