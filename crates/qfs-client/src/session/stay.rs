//! Exchanges that have to stay on the connection they began on, and when it may be left for another way all the same.
//!
//! Knows nothing of what is exchanged, nor of the ways.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// For how long an exchange stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    /// To its end: what it has sent or handed on is not there to be sent or asked for again.
    ToTheEnd,
    /// While the connection works: it can begin anew elsewhere, and then does all of its work again.
    WhileItWorks,
}

/// How many exchanges of a session stay.
#[derive(Debug, Default)]
pub(super) struct Stays {
    to_the_end: AtomicUsize,
    while_it_works: AtomicUsize,
}

impl Stays {
    /// One more, until what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>, stay: Stay) -> Staying {
        self.count(stay).fetch_add(1, Ordering::SeqCst);
        Staying { stays: Arc::clone(self), stay }
    }

    /// Whether the connection must not be left; `works`: as far as is known, it still works.
    pub(super) fn forbid_leaving(&self, works: bool) -> bool {
        let is_any = |stay| self.count(stay).load(Ordering::SeqCst) > 0;
        is_any(Stay::ToTheEnd) || (works && is_any(Stay::WhileItWorks))
    }

    fn count(&self, stay: Stay) -> &AtomicUsize {
        match stay {
            Stay::ToTheEnd => &self.to_the_end,
            Stay::WhileItWorks => &self.while_it_works,
        }
    }
}

/// An exchange stays for as long as this lives.
#[derive(Debug)]
pub(crate) struct Staying {
    stays: Arc<Stays>,
    stay: Stay,
}

impl Drop for Staying {
    fn drop(&mut self) {
        self.stays.count(self.stay).fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_left_when_nothing_stays() {
        let stays = Arc::<Stays>::default();
        let forbidden = || [true, false].map(|works| stays.forbid_leaving(works));
        assert_eq!(forbidden(), [false, false]);
        let listing = stays.begin(Stay::WhileItWorks);
        assert_eq!(forbidden(), [true, false]);
        let upload = stays.begin(Stay::ToTheEnd);
        drop(listing);
        assert_eq!(forbidden(), [true, true]);
        drop(upload);
        assert_eq!(forbidden(), [false, false]);
    }
}
