//! One task a cluster, which looks at rates once an interval.

use super::ejection::register;
use super::rates::compare;
use crate::model::{Cluster, Snapshot};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The rates of a process's clusters; what they are is counted by all workers. Dropping it
/// ends the tasks.
#[derive(Default)]
pub struct OutlierWatch {
    /// By the address of the cluster's configuration, which the task keeps alive.
    running: HashMap<usize, Running>,
}

struct Running {
    cluster: Rc<RefCell<Arc<Cluster>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl OutlierWatch {
    /// Watches what this snapshot says, and nothing else. Intervals that have begun go on.
    /// Must be used inside a local runtime.
    pub fn apply(&mut self, snapshot: &Snapshot) {
        let mut former = std::mem::take(&mut self.running);
        for cluster in snapshot.clusters.iter().flatten() {
            let Some(detection) = &cluster.config.outlier else {
                continue;
            };
            let key = Arc::as_ptr(&cluster.config).addr();
            let running = match former.remove(&key) {
                Some(running) => {
                    running.cluster.replace(cluster.clone());
                    running
                }
                None => start(cluster, detection.interval),
            };
            self.running.insert(key, running);
        }
    }
}

fn start(cluster: &Arc<Cluster>, interval: Duration) -> Running {
    register(cluster);
    let cluster = Rc::new(RefCell::new(cluster.clone()));
    let watched = cluster.clone();
    let task = tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(interval).await;
            let cluster = watched.borrow().clone();
            if let Some(detection) = &cluster.config.outlier {
                compare(&cluster, detection);
            }
        }
    });
    Running { cluster, task }
}
