//! From published configuration to the World in force.

use super::state::{Current, State, objects};
use crate::world::World;
use meltemi_config::Published;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::watch;

/// Builds a World from every publication; bursts are folded by the source, and what comes
/// while one is built is folded here.
pub(super) async fn follow(state: Arc<State>, mut published: watch::Receiver<Arc<Published>>) {
    let mut reported = BTreeSet::new();
    report(&published.borrow_and_update().clone(), &mut reported);
    while published.changed().await.is_ok() {
        let next = published.borrow_and_update().clone();
        report(&next, &mut reported);
        let before = state.current();
        if next.objects.same_content(&before.published.objects) {
            state.annotate(next);
            continue;
        }
        let builder = state.clone();
        let built = tokio::task::spawn_blocking(move || build(&builder, &next)).await;
        // Without one the reason is in the log, and the last World stays in force.
        if let Ok(Some(current)) = built {
            tracing::info!(
                generation = current.world.generation,
                objects = current.published.objects.len(),
                "configuration in force"
            );
            state.publish(current);
        }
    }
}

fn build(state: &State, published: &Arc<Published>) -> Option<Current> {
    let Current {
        world: before,
        ages,
        ..
    } = state.current();
    let world = catch_unwind(AssertUnwindSafe(|| {
        World::next(objects(published), &state.options, &before)
    }));
    match world {
        Ok(world) => Some(Current::new(world, published, &ages)),
        Err(_) => {
            tracing::error!(
                "the configuration could not be resolved because of a defect in Meltemi; \
                 what was in force before stays so. Please report the panic logged above"
            );
            None
        }
    }
}

/// Logs what is newly wrong, and what is right again.
fn report(published: &Published, reported: &mut BTreeSet<String>) {
    let errors: BTreeSet<String> = published.errors.iter().map(ToString::to_string).collect();
    for error in errors.difference(reported) {
        tracing::warn!("refused: {error}");
    }
    for error in reported.difference(&errors) {
        tracing::info!("no longer wrong: {error}");
    }
    *reported = errors;
}
