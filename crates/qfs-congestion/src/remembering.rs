//! Controllers that remember a path: each connection's first one has its [`PathMemory`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use quinn_proto::congestion::{Controller, ControllerFactory};

use crate::bbr::{Bbr3, Bbr3Config};
use crate::known_path::PathMemory;

/// Builds the controller of one connection, with its memory. A further path of the connection, to another address, gets a
/// controller without one: what was recalled is not about it.
#[derive(Debug)]
pub(crate) struct Remembering {
    memory: PathMemory,
    is_used: AtomicBool,
}

impl Remembering {
    pub(crate) fn new(memory: PathMemory) -> Self {
        Self { memory, is_used: AtomicBool::new(false) }
    }
}

impl ControllerFactory for Remembering {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let controller = Bbr3::new(Bbr3Config::default(), now, current_mtu);
        if self.is_used.swap(true, Ordering::Relaxed) {
            // The address has changed. What the first controller found out is history, too.
            self.memory.clear();
            return Box::new(controller);
        }
        Box::new(controller.with_memory(self.memory.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::known_path::KnownPath;

    /// Fails if the controller of another path, after a change of address, is told of the first one.
    #[test]
    fn only_the_first_path_of_a_connection_has_the_memory() {
        let memory = PathMemory::default();
        let factory = Arc::new(Remembering::new(memory.clone()));
        let build = || {
            let built = Arc::clone(&factory).build(Instant::now(), 1200).into_any();
            built.downcast::<Bbr3>().map(|controller| controller.has_memory()).unwrap_or_default()
        };
        assert!(build());
        memory.observe(KnownPath { rate: 1, rtt: Duration::from_millis(1) });
        memory.recall(KnownPath { rate: 1, rtt: Duration::from_millis(1) });
        assert!(!build());
        assert_eq!((memory.observed(), memory.take()), (None, None));
    }
}
