//! What may be changed of a server while it runs: everything that needs no new socket and no other file.
//!
//! Knows no configuration file and no signal.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::config::Deadlines;
use crate::gate::access::Gate;
use crate::gate::admission::Admission;
use crate::gate::rights::Rights;
use crate::gate::tokens::{TokenFile, TokenFileError};
use crate::pace::{Limit, Pace};
use crate::room::Room;

/// The settings of a server that may be changed while it runs, from any thread; cheap to clone.
#[derive(Clone)]
pub struct Controls {
    pub(crate) pace: Arc<Pace>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) room: Room,
    pub(crate) admission: Arc<Admission>,
    pub(crate) deadlines: Arc<RwLock<Deadlines>>,
}

impl Controls {
    /// How fast bytes go, for all clients together and for each; also for what is under way.
    pub fn set_pace(&self, all: Limit, each: Limit) {
        self.pace.set(all, each);
    }

    /// What those may do from the next request on who show nothing. False where that would change something and the server was
    /// started as one that changes nothing: then it is left as it was.
    pub fn set_rights(&self, anybody: Rights) -> bool {
        self.gate.set_anybody(anybody)
    }

    /// Who is let in from the next request on: who shows a token of this file, or everybody. It is the same file at all times. Blocks.
    ///
    /// # Errors
    /// [`TokenFileError`] when the file cannot be used as it is: nothing changes then.
    pub fn set_tokens(&self, file: Option<TokenFile>) -> Result<(), TokenFileError> {
        self.gate.ask_for(file)
    }

    /// The space that uploads leave free, in bytes (None: as much as is usual), and the largest file that is taken (None: any), from
    /// the next upload on.
    pub fn set_room(&self, keep_free: Option<u64>, max_upload: Option<u64>) {
        self.room.set(keep_free, max_upload);
    }

    /// How many connections there may be, in all and from one address; those that are there stay.
    pub fn set_connections(&self, in_all: usize, per_ip: usize) {
        self.admission.set_most(in_all, per_ip);
    }

    /// How long a client may take nothing, how long transfers have to finish at the end, and how long uploads are kept that were cut
    /// off.
    pub fn set_deadlines(&self, stall: Duration, drain: Duration, partial_age: Duration) {
        let mut deadlines = self.deadlines.write().unwrap_or_else(PoisonError::into_inner);
        *deadlines = Deadlines { stall, drain, partial_age, ..*deadlines };
    }
}

impl std::fmt::Debug for Controls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Controls")
    }
}
