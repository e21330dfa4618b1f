//! Who is told what was handed out. Knows no door and no file.

use std::fmt;

/// What an answer that ended well has handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery<'a> {
    /// A file or a part of it.
    File {
        /// Its name as the client had it.
        name: &'a str,
        /// Bytes of the answer: those of the file, and some around them.
        bytes: u64,
    },
    /// All that is below a directory, as one archive.
    Archive {
        /// The directory with a `/` at its end, or nothing for the root.
        directory: &'a str,
    },
}

/// Told of each [`Delivery`], while its client waits.
pub struct Deliveries(Box<dyn Fn(Delivery<'_>) + Send + Sync>);

impl Deliveries {
    /// Has `told` called, on any thread. It must not block.
    pub fn new(told: impl Fn(Delivery<'_>) + Send + Sync + 'static) -> Self {
        Self(Box::new(told))
    }

    pub(crate) fn tell(&self, delivery: Delivery<'_>) {
        (self.0)(delivery);
    }
}

impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deliveries")
    }
}
