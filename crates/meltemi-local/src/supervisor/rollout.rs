//! Which pods to start and which to stop next: a pure function of what is wanted and what runs.

use crate::plan::{Owner, OwnerKind, PodPlan};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A pod that runs, as far as the decision goes.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub plan: Arc<PodPlan>,
    pub ready: bool,
    /// It has ended for good (restartPolicy), or cannot start until it is changed.
    pub settled: bool,
    /// It is being stopped.
    pub leaving: bool,
}

/// The next steps.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    pub start: Vec<Arc<PodPlan>>,
    /// Keys of pods to stop.
    pub stop: Vec<String>,
}

/// Decides for all owners. Asked again after every change of either side.
pub(crate) fn next(wanted: &[Arc<PodPlan>], running: &[Running]) -> Steps {
    let mut owners: BTreeMap<&Owner, (Vec<&Arc<PodPlan>>, Vec<&Running>)> = BTreeMap::new();
    for plan in wanted {
        owners.entry(&plan.owner).or_default().0.push(plan);
    }
    for pod in running {
        owners.entry(&pod.plan.owner).or_default().1.push(pod);
    }
    let mut steps = Steps::default();
    for (owner, (wanted, running)) in owners {
        match owner.kind {
            OwnerKind::Deployment => surge(&wanted, &running, &mut steps),
            OwnerKind::StatefulSet { ordered } => replace(&wanted, &running, ordered, &mut steps),
            OwnerKind::Pod => replace(&wanted, &running, false, &mut steps),
            // Started and stopped by their commands.
            OwnerKind::Run => {}
        }
    }
    steps
}

fn find<'a>(running: &[&'a Running], plan: &PodPlan) -> Option<&'a Running> {
    running
        .iter()
        .copied()
        .find(|pod| pod.plan.name == plan.name)
}

/// New pods first; an old one goes for every new one that is ready.
fn surge(wanted: &[&Arc<PodPlan>], running: &[&Running], steps: &mut Steps) {
    let missing = wanted.iter().filter(|plan| find(running, plan).is_none());
    steps.start.extend(missing.map(|plan| Arc::clone(plan)));
    let ready = wanted
        .iter()
        .filter(|plan| find(running, plan).is_some_and(|pod| pod.ready && !pod.leaving))
        .count();
    let old = running
        .iter()
        .copied()
        .filter(|pod| !pod.leaving && !wanted.iter().any(|plan| plan.name == pod.plan.name));
    // Old pods that do not serve anyway go at once, the others as far as new ones serve.
    let (serving, idle): (Vec<&Running>, Vec<&Running>) = old.partition(|pod| pod.ready);
    steps.stop.extend(idle.iter().map(|pod| pod.plan.key()));
    let keep = wanted.len() - ready;
    let surplus = serving.len().saturating_sub(keep);
    steps
        .stop
        .extend(serving.iter().rev().take(surplus).map(|pod| pod.plan.key()));
}

/// Pods with fixed names: the old one goes before the new one comes.
fn replace(wanted: &[&Arc<PodPlan>], running: &[&Running], ordered: bool, steps: &mut Steps) {
    let surplus = running
        .iter()
        .filter(|pod| !pod.leaving && !wanted.iter().any(|plan| plan.name == pod.plan.name));
    steps.stop.extend(surplus.map(|pod| pod.plan.key()));
    for plan in wanted {
        match find(running, plan) {
            None => {
                steps.start.push(Arc::clone(plan));
                if ordered {
                    return;
                }
            }
            Some(pod) if pod.leaving => {
                if ordered {
                    return;
                }
            }
            Some(pod) if pod.plan.hash == plan.hash => {
                if ordered && !pod.ready && !pod.settled {
                    return;
                }
            }
            Some(_) => {}
        }
    }
    // Everything wanted runs: replace what has changed, the highest number first, one by one.
    for plan in wanted.iter().rev() {
        if let Some(pod) = find(running, plan)
            && pod.plan.hash != plan.hash
            && !pod.leaving
        {
            steps.stop.push(pod.plan.key());
            if ordered {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PodKind;

    fn plan(kind: OwnerKind, name: &str, hash: &str) -> Arc<PodPlan> {
        Arc::new(PodPlan {
            namespace: "default".into(),
            name: name.into(),
            owner: Owner {
                kind,
                namespace: "default".into(),
                name: "web".into(),
            },
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            spec: Default::default(),
            hash: hash.into(),
            kind: PodKind::Application { sidecar: true },
        })
    }

    fn running(plan: &Arc<PodPlan>, ready: bool) -> Running {
        Running {
            plan: plan.clone(),
            ready,
            settled: false,
            leaving: false,
        }
    }

    fn names(steps: &Steps) -> (Vec<&str>, Vec<&str>) {
        (
            steps.start.iter().map(|plan| plan.name.as_str()).collect(),
            steps.stop.iter().map(String::as_str).collect(),
        )
    }

    #[test]
    fn a_deployment_starts_the_new_before_it_stops_the_old() {
        let pod = |name| plan(OwnerKind::Deployment, name, "x");
        let (old, wanted) = ([pod("a1"), pod("a2")], [pod("b1"), pod("b2")]);
        let mut world: Vec<Running> = old.iter().map(|plan| running(plan, true)).collect();
        assert_eq!(names(&next(&wanted, &world)), (vec!["b1", "b2"], vec![]));
        world.extend([running(&wanted[0], true), running(&wanted[1], false)]);
        assert_eq!(names(&next(&wanted, &world)), (vec![], vec!["default.a2"]));
        world.remove(1);
        world[2].ready = true;
        assert_eq!(names(&next(&wanted, &world)), (vec![], vec!["default.a1"]));
    }

    #[test]
    fn scaling_and_removal() {
        let pod = |name| plan(OwnerKind::Deployment, name, "x");
        let pods = [pod("a1"), pod("a2"), pod("a3")];
        let world: Vec<Running> = pods.iter().map(|plan| running(plan, true)).collect();
        assert_eq!(
            names(&next(&pods[..1], &world)),
            (vec![], vec!["default.a3", "default.a2"])
        );
        assert_eq!(next(&[], &world).stop.len(), 3);
        assert_eq!(names(&next(&pods, &world[..1])), (vec!["a2", "a3"], vec![]));
    }

    #[test]
    fn a_stateful_set_goes_in_order() {
        let kind = OwnerKind::StatefulSet { ordered: true };
        let wanted = [plan(kind, "db-0", "x"), plan(kind, "db-1", "x")];
        assert_eq!(names(&next(&wanted, &[])), (vec!["db-0"], vec![]));
        assert_eq!(
            names(&next(&wanted, &[running(&wanted[0], false)])),
            (vec![], vec![])
        );
        assert_eq!(
            names(&next(&wanted, &[running(&wanted[0], true)])),
            (vec!["db-1"], vec![])
        );
        let world = [running(&wanted[0], true), running(&wanted[1], true)];
        let changed = [plan(kind, "db-0", "y"), plan(kind, "db-1", "y")];
        assert_eq!(
            names(&next(&changed, &world)),
            (vec![], vec!["default.db-1"])
        );
        let mut leaving = world.to_vec();
        leaving[1].leaving = true;
        assert_eq!(names(&next(&changed, &leaving)), (vec![], vec![]));
        assert_eq!(names(&next(&changed, &world[..1])), (vec!["db-1"], vec![]));
    }

    #[test]
    fn a_changed_pod_is_replaced() {
        let (old, new) = (
            plan(OwnerKind::Pod, "one", "x"),
            plan(OwnerKind::Pod, "one", "y"),
        );
        assert_eq!(
            names(&next(std::slice::from_ref(&new), &[running(&old, true)])),
            (vec![], vec!["default.one"])
        );
        assert_eq!(names(&next(&[new], &[])), (vec!["one"], vec![]));
    }
}
