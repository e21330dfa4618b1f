//! What tests of the pump need: work that is done at once, so that futures are ready at once.

use std::task::{Context, Poll, Waker};

use crate::offload::{Offload, Threads};

/// Does the work at once.
struct Here;

impl Offload for Here {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

/// Threads that are this one.
pub(super) fn here() -> Threads {
    Threads::new(Here)
}

/// What `future` resolves to, all of whose work is done [`here`].
pub(super) fn ready<T>(future: impl Future<Output = T>) -> T {
    match Box::pin(future).as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("all work is done at once"),
    }
}
