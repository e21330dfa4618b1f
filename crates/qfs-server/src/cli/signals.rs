//! SIGTERM and SIGINT: the first asks for a good end, the second demands one at once. SIGHUP asks to look at files anew.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Catches the signals from its making on.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// # Errors
    /// When the system has no handler for us.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Two futures: one resolves on the first signal that asks for the end, the other on the second. The second drives both, and
    /// calls `look_anew` on each SIGHUP.
    pub(crate) fn split(&mut self, look_anew: impl Fn()) -> (impl Future<Output = ()>, impl Future<Output = ()>) {
        let (sender, receiver) = oneshot::channel();
        let first = async {
            // Never dropped unsent while the other half is polled.
            let _ = receiver.await;
        };
        let second = async move {
            self.next(&look_anew).await;
            let _ = sender.send(());
            self.next(&look_anew).await;
        };
        (first, second)
    }

    async fn next(&mut self, look_anew: &impl Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => look_anew(),
            }
        }
    }
}
