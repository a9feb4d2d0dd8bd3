//! The two protocols' states, without a transport.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use proptest::prelude::*;
use prost::Message;

use super::delta::DeltaState;
use super::protocol::TypeState;
use super::sotw::SotwState;
use crate::type_url::{CLUSTER, ENDPOINT, VIRTUAL_HOST};
use crate::wire::DeltaResponse;
use crate::{Resource, ResourceSet};

fn set(content: &[(&str, &str)]) -> ResourceSet {
    content
        .iter()
        .map(|(name, value)| {
            Resource::from_value(*name, ENDPOINT, Bytes::from((*value).to_owned()))
        })
        .collect()
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn delta(subscribe: &[&str], unsubscribe: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        resource_names_subscribe: strings(subscribe),
        resource_names_unsubscribe: strings(unsubscribe),
        ..Default::default()
    }
}

/// Names sent and names removed by the next delta response; none when there is
/// no response.
fn compare(state: &mut DeltaState, set: &ResourceSet) -> Option<(Vec<String>, Vec<String>)> {
    let response = state.compare(ENDPOINT, set, "n", false).prepared?.response;
    let names = response.resources.names();
    let fields = DeltaResponse::decode(&*response.fields).unwrap();
    Some((
        names.iter().map(ToString::to_string).collect(),
        fields.removed_resources,
    ))
}

fn answer(sent: &[&str], removed: &[&str]) -> Option<(Vec<String>, Vec<String>)> {
    Some((strings(sent), strings(removed)))
}

#[test]
fn delta_sends_only_the_difference() {
    let mut state = DeltaState::default();
    state
        .subscribe(CLUSTER, delta(&[], &[]), true, false)
        .unwrap();
    assert!(
        state.subscription().wildcard,
        "naming nothing asks for everything"
    );
    let one = set(&[("a", "1"), ("b", "1")]);
    assert_eq!(compare(&mut state, &one), answer(&["a", "b"], &[]));
    assert_eq!(compare(&mut state, &one), None);
    let two = set(&[("a", "2"), ("c", "1")]);
    assert_eq!(compare(&mut state, &two), answer(&["a", "c"], &["b"]));
    assert_eq!(compare(&mut state, &two), None);
}

#[test]
fn delta_wildcard_is_answered_even_when_there_is_nothing() {
    let mut state = DeltaState::default();
    state
        .subscribe(CLUSTER, delta(&["*"], &[]), true, false)
        .unwrap();
    assert_eq!(compare(&mut state, &set(&[])), answer(&[], &[]));
    assert_eq!(compare(&mut state, &set(&[])), None);
}

#[test]
fn a_name_of_virtual_hosts_is_all_of_its_namespace() {
    let hosts = set(&[("80/a", "1"), ("80/b", "1"), ("81/a", "1")]);
    let mut state = DeltaState::default();
    let subscribe = |state: &mut DeltaState, names: &[&str], gone: &[&str], first| {
        let touched = state.subscribe(VIRTUAL_HOST, delta(names, gone), first, false);
        assert_eq!(touched, Ok(true));
    };
    subscribe(&mut state, &["80"], &[], true);
    assert_eq!(compare(&mut state, &hosts), answer(&["80/a", "80/b"], &[]));
    let changed = set(&[("80/b", "2"), ("80/c", "1"), ("81/a", "2")]);
    let difference = answer(&["80/b", "80/c"], &["80/a"]);
    assert_eq!(compare(&mut state, &changed), difference);
    subscribe(&mut state, &["81", "82"], &[], false);
    let news = answer(&["81/a"], &["82"]);
    assert_eq!(compare(&mut state, &changed), news, "one has no hosts");
    subscribe(&mut state, &[], &["80"], false);
    assert_eq!(compare(&mut state, &changed), None);
    assert_eq!(compare(&mut state, &set(&[("81/a", "2")])), None);
    subscribe(&mut state, &["80"], &[], false);
    let again = answer(&["80/b", "80/c"], &[]);
    assert_eq!(compare(&mut state, &changed), again);
}

#[test]
fn delta_endpoints_are_never_a_silent_wildcard() {
    let mut state = DeltaState::default();
    state
        .subscribe(ENDPOINT, delta(&[], &[]), true, false)
        .unwrap();
    assert_eq!(compare(&mut state, &set(&[("a", "1")])), None);
}

#[test]
fn delta_after_a_reconnect_sends_what_changed_meanwhile() {
    let known = set(&[("a", "1"), ("b", "1"), ("c", "1")]);
    let mut request = delta(&[], &[]);
    request.initial_resource_versions = known
        .iter()
        .map(|r| (r.name.to_string(), r.version.to_string()))
        .collect();
    let mut state = DeltaState::default();
    state.subscribe(CLUSTER, request, true, false).unwrap();
    let now = set(&[("a", "1"), ("b", "2"), ("d", "1")]);
    assert_eq!(compare(&mut state, &now), answer(&["b", "d"], &["c"]));
}

#[test]
fn delta_repeats_what_is_subscribed_again_and_names_what_is_not_there() {
    let content = set(&[("a", "1")]);
    let mut state = DeltaState::default();
    state
        .subscribe(ENDPOINT, delta(&["a", "x"], &[]), true, false)
        .unwrap();
    assert_eq!(compare(&mut state, &content), answer(&["a"], &["x"]));
    assert_eq!(
        compare(&mut state, &content),
        None,
        "x is said to be missing once"
    );
    state
        .subscribe(ENDPOINT, delta(&["a"], &[]), false, false)
        .unwrap();
    assert_eq!(compare(&mut state, &content), answer(&["a"], &[]));
    let content = set(&[("a", "1"), ("x", "1")]);
    assert_eq!(compare(&mut state, &content), answer(&["x"], &[]));
    state
        .subscribe(ENDPOINT, delta(&[], &["a"]), false, false)
        .unwrap();
    assert_eq!(compare(&mut state, &set(&[("a", "2"), ("x", "1")])), None);
}

#[test]
fn delta_subscriptions_count_even_with_a_stale_nonce() {
    let mut state = DeltaState::default();
    state
        .subscribe(ENDPOINT, delta(&["a"], &[]), true, false)
        .unwrap();
    state
        .subscribe(ENDPOINT, delta(&["b"], &[]), false, true)
        .unwrap();
    assert!(state.subscription().matches("b"));
}

#[test]
fn delta_keeps_removals_back_while_asked_to() {
    let mut state = DeltaState::default();
    state
        .subscribe(CLUSTER, delta(&[], &[]), true, false)
        .unwrap();
    compare(&mut state, &set(&[("a", "1"), ("b", "1")])).unwrap();
    let now = set(&[("b", "2")]);
    let held = state.compare(CLUSTER, &now, "n", true);
    assert!(held.held);
    assert_eq!(held.prepared.unwrap().removed, 0);
    assert_eq!(compare(&mut state, &now), answer(&[], &["a"]));
}

#[test]
fn delta_changed_clusters_get_their_endpoints_again() {
    let content = set(&[("a", "1"), ("b", "1")]);
    let mut state = DeltaState::default();
    state
        .subscribe(ENDPOINT, delta(&["a", "b"], &[]), true, false)
        .unwrap();
    compare(&mut state, &content).unwrap();
    state.rewarm(&["a".into(), "unknown".into()]);
    assert_eq!(compare(&mut state, &content), answer(&["a"], &[]));
}

#[test]
fn unsupported_locators_are_refused_by_name() {
    let mut request = delta(&[], &[]);
    request.resource_locators_subscribe = vec![Default::default()];
    let refusal = DeltaState::default().subscribe(CLUSTER, request, true, false);
    assert!(refusal.unwrap_err().contains("resource locators"));
}

fn sotw(names: &[&str], version: &str) -> DiscoveryRequest {
    DiscoveryRequest {
        version_info: version.to_owned(),
        resource_names: strings(names),
        ..Default::default()
    }
}

/// Number of resources in the next response; none when there is no response.
fn respond(state: &mut SotwState, type_url: &str, set: &ResourceSet) -> Option<usize> {
    let prepared = state.compare(type_url, set, "n", false).prepared?;
    Some(prepared.response.resources.len())
}

#[test]
fn state_of_the_world_sends_everything_when_something_changed() {
    let mut state = SotwState::default();
    state
        .subscribe(CLUSTER, sotw(&[], ""), true, false)
        .unwrap();
    let one = set(&[("a", "1"), ("b", "1")]);
    assert_eq!(respond(&mut state, CLUSTER, &one), Some(2));
    assert_eq!(respond(&mut state, CLUSTER, &one), None);
    state
        .subscribe(CLUSTER, sotw(&[], one.version()), false, false)
        .unwrap();
    assert_eq!(respond(&mut state, CLUSTER, &one), None, "a plain ACK");
    assert_eq!(respond(&mut state, CLUSTER, &set(&[("a", "1")])), Some(1));
}

#[test]
fn state_of_the_world_answers_new_names_and_ignores_stale_requests() {
    let content = set(&[("a", "1"), ("b", "1")]);
    let mut state = SotwState::default();
    state
        .subscribe(ENDPOINT, sotw(&["a"], ""), true, false)
        .unwrap();
    assert_eq!(respond(&mut state, ENDPOINT, &content), Some(1));
    state
        .subscribe(ENDPOINT, sotw(&["a", "b"], ""), false, true)
        .unwrap();
    assert_eq!(respond(&mut state, ENDPOINT, &content), None);
    state
        .subscribe(ENDPOINT, sotw(&["a", "missing"], ""), false, false)
        .unwrap();
    assert_eq!(
        respond(&mut state, ENDPOINT, &content),
        Some(1),
        "even when it does not exist"
    );
    state.rewarm(&["a".into()]);
    assert_eq!(respond(&mut state, ENDPOINT, &content), None);
    state
        .subscribe(ENDPOINT, sotw(&["a", "missing"], ""), false, false)
        .unwrap();
    assert_eq!(
        respond(&mut state, ENDPOINT, &content),
        Some(1),
        "its cluster changed"
    );
}

#[test]
fn state_of_the_world_keeps_removals_back_while_asked_to() {
    let mut state = SotwState::default();
    state
        .subscribe(CLUSTER, sotw(&[], ""), true, false)
        .unwrap();
    respond(&mut state, CLUSTER, &set(&[("a", "1"), ("b", "1")])).unwrap();
    let now = set(&[("b", "2"), ("c", "1")]);
    let comparison = state.compare(CLUSTER, &now, "n", true);
    assert!(comparison.held);
    let prepared = comparison.prepared.unwrap();
    assert_eq!(
        prepared.response.resources.names(),
        ["a".into(), "b".into(), "c".into()]
    );
    assert_eq!(prepared.changed, ["b".into(), "c".into()]);
    assert!(state.compare(CLUSTER, &now, "n", true).prepared.is_none());
    assert_eq!(respond(&mut state, CLUSTER, &now), Some(2));
}

#[test]
fn state_of_the_world_needs_no_answer_when_the_client_is_current() {
    let content = set(&[("a", "1")]);
    let mut state = SotwState::default();
    state
        .subscribe(CLUSTER, sotw(&[], content.version()), true, false)
        .unwrap();
    assert_eq!(respond(&mut state, CLUSTER, &content), None);
    // Endpoints are different: a cluster may be waiting for them.
    let mut state = SotwState::default();
    state
        .subscribe(ENDPOINT, sotw(&["a"], content.version()), true, false)
        .unwrap();
    assert_eq!(respond(&mut state, ENDPOINT, &content), Some(1));
}

#[derive(Clone, Debug)]
enum Step {
    Serve(BTreeMap<u8, u8>),
    Subscribe(Vec<u8>, Vec<u8>),
    Wildcard(bool),
    Reconnect,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let names = || prop::collection::vec(0..6u8, 0..4);
    let step = prop_oneof![
        prop::collection::btree_map(0..6u8, 0..3u8, 0..6).prop_map(Step::Serve),
        (names(), names()).prop_map(|(a, b)| Step::Subscribe(a, b)),
        any::<bool>().prop_map(Step::Wildcard),
        Just(Step::Reconnect),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    /// Whatever a client does, applying the responses gives it exactly what is
    /// served of what it wants.
    #[test]
    fn delta_converges(steps in steps()) {
        let mut state = DeltaState::default();
        state.subscribe(ENDPOINT, delta(&[], &[]), true, false).unwrap();
        let mut served = ResourceSet::default();
        let mut client: BTreeMap<String, String> = BTreeMap::new();
        let (mut wildcard, mut names) = (false, BTreeSet::new());
        for step in steps {
            match step {
                Step::Serve(content) => {
                    served = content
                        .iter()
                        .map(|(n, v)| Resource::from_value(n.to_string(), ENDPOINT, vec![*v].into()))
                        .collect();
                }
                Step::Subscribe(more, fewer) => {
                    let request = DeltaDiscoveryRequest {
                        resource_names_unsubscribe: fewer.iter().map(u8::to_string).collect(),
                        resource_names_subscribe: more.iter().map(u8::to_string).collect(),
                        ..Default::default()
                    };
                    for name in fewer { names.remove(&name.to_string()); }
                    names.extend(more.iter().map(u8::to_string));
                    state.subscribe(ENDPOINT, request, false, false).unwrap();
                }
                Step::Wildcard(on) => {
                    let star: &[&str] = &["*"];
                    let request = if on { delta(star, &[]) } else { delta(&[], star) };
                    state.subscribe(ENDPOINT, request, false, false).unwrap();
                    wildcard = on;
                }
                Step::Reconnect => {
                    let mut subscribe: Vec<String> = names.iter().cloned().collect();
                    if wildcard { subscribe.push("*".to_owned()); }
                    state = DeltaState::default();
                    state.subscribe(ENDPOINT, DeltaDiscoveryRequest {
                        resource_names_subscribe: subscribe,
                        initial_resource_versions: client.clone().into_iter().collect(),
                        ..Default::default()
                    }, true, false).unwrap();
                }
            }
            // A client forgets what it unsubscribes from.
            client.retain(|name, _| wildcard || names.contains(name));
            if let Some(prepared) = state.compare(ENDPOINT, &served, "n", false).prepared {
                let fields = DeltaResponse::decode(&*prepared.response.fields).unwrap();
                for name in fields.removed_resources {
                    client.remove(&name);
                }
                for resource in prepared.response.resources.iter() {
                    client.insert(resource.name.to_string(), resource.version.to_string());
                }
            }
            prop_assert!(state.compare(ENDPOINT, &served, "n", false).prepared.is_none());
            let wanted: BTreeMap<String, String> = served
                .iter()
                .filter(|r| wildcard || names.contains(&*r.name))
                .map(|r| (r.name.to_string(), r.version.to_string()))
                .collect();
            prop_assert_eq!(&client, &wanted);
        }
    }
}
