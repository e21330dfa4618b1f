//! SIGTERM and SIGINT: the first asks for a good end, the second demands one at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Catches both signals from its making on.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// # Errors
    /// When the system has no handler for us.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Two futures: one resolves on the first signal, the other on the second. The second drives both.
    pub(crate) fn split(&mut self) -> (impl Future<Output = ()>, impl Future<Output = ()>) {
        let (sender, receiver) = oneshot::channel();
        let first = async {
            // Never dropped unsent while the other half is polled.
            let _ = receiver.await;
        };
        let second = async move {
            self.next().await;
            let _ = sender.send(());
            self.next().await;
        };
        (first, second)
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
