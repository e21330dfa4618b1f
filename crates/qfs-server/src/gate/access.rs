//! Who is let in, and how far: the rule of a server, kept as its token file has it, and what it grants a request.
//!
//! Whatever is wrong with the file, nobody is let in by it: a rule that cannot be read is not a missing rule.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use qfs_core::model::{RemotePath, Token};
use qfs_core::wire::Request;
use tokio::sync::watch;
use tracing::{error, info};

use crate::error::HandlerError;
use crate::gate::rights::{Right, Rights};
#[cfg(feature = "http")]
use crate::gate::tokens::Reach;
use crate::gate::tokens::{Document, Record, TokenFile, TokenFileError};

/// How often the token file is looked at. It is read whole: some hundred bytes, and no change can hide behind its times.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Who may do what.
pub struct Gate {
    /// Kept once they were asked for: what goes on by one of them is ended when it is revoked, whoever is let in meanwhile.
    tokens: OnceLock<Tokens>,
    /// Whether a token has to be shown.
    asks: AtomicBool,
    /// What those may do who show nothing, where nothing has to be shown.
    anybody: AtomicU8,
    /// Whether the store may be changed at all: otherwise nobody may, whatever a token says.
    writable: bool,
}

struct Tokens {
    /// None: the rules never change.
    file: Option<TokenFile>,
    rules: watch::Sender<Arc<Document>>,
    /// What was last found, so that each change is told once.
    seen: Mutex<Result<Vec<u8>, String>>,
}

impl Gate {
    /// Everybody who reaches the server may do what `anybody` says.
    #[must_use]
    pub fn open(anybody: Rights) -> Self {
        let (tokens, asks) = (OnceLock::new(), AtomicBool::new(false));
        Self { tokens, asks, anybody: anybody.bits().into(), writable: anybody.change_anything() }
    }

    /// A gate of `tokens`.
    fn asking(tokens: Tokens, writable: bool) -> Self {
        Self { tokens: tokens.into(), asks: true.into(), anybody: Rights::READ.bits().into(), writable }
    }

    /// Who shows a token of `file`, now or after it changed. Blocks.
    ///
    /// # Errors
    /// [`TokenFileError`] when the file cannot be used as it is.
    pub fn tokens(file: TokenFile) -> Result<Self, TokenFileError> {
        let tokens = Tokens::of(file)?;
        let writable = tokens.rules.borrow().records().iter().any(|record| record.rights().change_anything());
        Ok(Self::asking(tokens, writable))
    }

    /// Who shows a token that is made now and stands in no file, for reading, until it `expires`.
    ///
    /// # Errors
    /// [`TokenFileError::Random`].
    pub fn one_token(expires: Option<Timestamp>) -> Result<(Self, Token), TokenFileError> {
        let (token, document) = TokenFile::unwritten(expires)?;
        let rules = watch::Sender::new(Arc::new(document));
        Ok((Self::asking(Tokens { file: None, rules, seen: Mutex::new(Ok(Vec::new())) }, false), token))
    }

    /// Asks from the next request on for a token of `file`, or lets everybody in without one. What is under way goes on. The file is the
    /// same at all times.
    ///
    /// # Errors
    /// [`TokenFileError`] when it cannot be used as it is; nothing changes then.
    pub(crate) fn ask_for(&self, file: Option<TokenFile>) -> Result<(), TokenFileError> {
        let asks = file.is_some();
        if let Some(file) = file {
            let found = Tokens::of(file)?;
            match self.tokens.get() {
                Some(tokens) => tokens.look(),
                None => _ = self.tokens.set(found),
            }
        }
        self.asks.store(asks, Ordering::Relaxed);
        Ok(())
    }

    /// The tokens, where one has to be shown.
    fn asked_for(&self) -> Option<&Tokens> {
        self.tokens.get().filter(|_| self.asks.load(Ordering::Relaxed))
    }

    /// Whether anything may be changed by anybody, now or later: settled when the server starts, because it then gives up the
    /// right to change what is published.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Lets anybody do so much from the next request on; false, and nothing changes, where that needs a store that may be changed and
    /// this one may not.
    pub(crate) fn set_anybody(&self, anybody: Rights) -> bool {
        let is_possible = self.writable || !anybody.change_anything();
        if is_possible {
            self.anybody.store(anybody.bits(), Ordering::Relaxed);
        }
        is_possible
    }

    /// How many tokens there are; None when everybody is let in.
    #[must_use]
    pub fn token_count(&self) -> Option<usize> {
        self.asked_for().map(|tokens| tokens.rules.borrow().records().len())
    }

    /// What the sender of this request is granted. No token, a wrong one, one that expired and one that was revoked are not told
    /// apart.
    ///
    /// # Errors
    /// [`HandlerError::Denied`]; [`HandlerError::Decode`] when the payload is no object or its token none.
    pub(crate) fn admit(&self, payload: &[u8]) -> Result<Access, HandlerError> {
        // An open server leaves it to the command to say what is wrong with a request.
        let shown = if self.asked_for().is_some() { Request::decode_token(payload)? } else { None };
        self.admit_token(shown.as_ref())
    }

    /// As [`Self::admit`], for whoever shows `shown`.
    ///
    /// # Errors
    /// [`HandlerError::Denied`].
    pub(crate) fn admit_token(&self, shown: Option<&Token>) -> Result<Access, HandlerError> {
        let writable = self.writable;
        let anybody = Rights::from_bits(self.anybody.load(Ordering::Relaxed));
        let Some(tokens) = self.asked_for() else { return Ok(Access { grant: None, anybody, writable }) };
        let shown = shown.ok_or(HandlerError::Denied)?;
        let current = tokens.rules.subscribe();
        let rules = Arc::clone(&current.borrow());
        match rules.position(shown) {
            Some(index) if !rules.records()[index].is_expired(Timestamp::now()) => {
                Ok(Access { grant: Some(Grant { rules, index, current }), anybody, writable })
            }
            _ => Err(HandlerError::Denied),
        }
    }

    /// Follows the token file for as long as it is polled.
    pub(crate) async fn follow(self: &Arc<Self>) -> Infallible {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if self.tokens.get().is_none_or(|tokens| tokens.file.is_none()) {
                continue;
            }
            let gate = Arc::clone(self);
            let looked = tokio::task::spawn_blocking(move || gate.tokens.get().map(Tokens::look)).await;
            if let Err(error) = looked {
                error!("the task that reads the tokens failed: {error}");
            }
        }
    }
}

impl Tokens {
    /// Those of `file` as it is.
    fn of(file: TokenFile) -> Result<Self, TokenFileError> {
        let bytes = file.bytes()?;
        let rules = watch::Sender::new(Arc::new(file.parse(&bytes)?));
        Ok(Self { file: Some(file), rules, seen: Mutex::new(Ok(bytes)) })
    }

    fn look(&self) {
        let Some(file) = &self.file else { return };
        let found = file.bytes().and_then(|bytes| Ok((file.parse(&bytes)?, bytes)));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok((_, bytes)) if seen.as_ref() == Ok(&bytes) => {}
            Ok((rules, bytes)) => {
                info!("the token file has changed; tokens in it: {}", rules.records().len());
                *seen = Ok(bytes);
                self.rules.send_replace(Arc::new(rules));
            }
            Err(why) => {
                let why = why.to_string();
                if seen.as_ref() != Err(&why) {
                    error!("nobody is let in: {why}");
                    *seen = Err(why);
                }
                self.rules.send_replace(Arc::default());
            }
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.asked_for().is_some() { "Gate::tokens" } else { "Gate::open" })
    }
}

/// What one request was granted.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// None: everything, for as long as it takes.
    grant: Option<Grant>,
    anybody: Rights,
    writable: bool,
}

#[derive(Debug, Clone)]
struct Grant {
    rules: Arc<Document>,
    index: usize,
    current: watch::Receiver<Arc<Document>>,
}

impl Grant {
    fn record(&self) -> &Record {
        &self.rules.records()[self.index]
    }
}

impl Access {
    /// The id of the token shown, for the log.
    pub(crate) fn token_id(&self) -> Option<String> {
        self.grant.as_ref().map(|grant| grant.record().id.to_string())
    }

    /// Whether it goes as far as `right` on `path`.
    ///
    /// # Errors
    /// [`HandlerError::Forbidden`] where it does not.
    pub(crate) fn allow(&self, right: Right, path: &RemotePath) -> Result<(), HandlerError> {
        let rights = self.grant.as_ref().map_or(self.anybody, |grant| grant.record().rights());
        match right {
            _ if !rights.include(right) => Err(HandlerError::Forbidden(right)),
            Right::Write | Right::Delete if !self.writable => Err(HandlerError::StartedReadOnly),
            _ if !self.covers(path) => Err(HandlerError::Forbidden(right)),
            _ => Ok(()),
        }
    }

    /// Whether reading is among its rights.
    pub(crate) fn reads(&self) -> bool {
        self.grant.as_ref().map_or(self.anybody, |grant| grant.record().rights()).include(Right::Read)
    }

    /// How much of `directory`, or of the root, lies in its scope.
    #[cfg(feature = "http")]
    pub(crate) fn reach(&self, directory: Option<&RemotePath>) -> Reach {
        let scope = self.grant.as_ref().and_then(|grant| grant.record().scope.as_ref());
        scope.map_or(Reach::All, |scope| scope.reach(directory))
    }

    /// Whether `path` lies in its scope.
    pub(crate) fn covers(&self, path: &RemotePath) -> bool {
        let scope = self.grant.as_ref().and_then(|grant| grant.record().scope.as_ref());
        scope.is_none_or(|scope| scope.covers(path))
    }

    /// Resolves when the token was revoked, or its rule changed. One that expires meanwhile was good when it was shown.
    pub(crate) async fn withdrawn(&self) {
        let Some(grant) = &self.grant else { return std::future::pending().await };
        let record = grant.record();
        let mut current = grant.current.clone();
        // The sender lives as long as the server.
        let _ = current.wait_for(|rules| rules.with_id(&record.id) != Some(record)).await;
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "damages the token file")]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use qfs_core::wire::ListRequest;

    use super::*;
    use crate::gate::tokens::{Issue, Scope};

    fn payload(token: Option<&Token>) -> Vec<u8> {
        Request::GetFilesList(ListRequest::default()).encode_with(token).unwrap()[4..].to_vec()
    }

    fn gate() -> (tempfile::TempDir, TokenFile, Gate) {
        let directory = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(directory.path());
        let gate = Gate::tokens(file.clone()).unwrap();
        (directory, file, gate)
    }

    fn look(gate: &Gate) {
        gate.tokens.get().unwrap().look();
    }

    fn is_denied(gate: &Gate, token: Option<&Token>) -> bool {
        matches!(gate.admit(&payload(token)), Err(HandlerError::Denied))
    }

    #[test]
    fn only_a_token_that_is_there_and_good_opens() {
        let (_directory, file, gate) = gate();
        assert!(is_denied(&gate, None));
        let (token, record) = file.create(Issue::default()).unwrap();
        let past = Issue { expires: Some(Timestamp::UNIX_EPOCH), ..Issue::default() };
        let (expired, _) = file.create(past).unwrap();
        look(&gate);
        assert_eq!(gate.admit(&payload(Some(&token))).unwrap().token_id(), Some(record.id.to_string()));
        let wrong = "qfs_00".parse().unwrap();
        assert!(is_denied(&gate, None) && is_denied(&gate, Some(&wrong)) && is_denied(&gate, Some(&expired)));
        assert!(matches!(gate.admit(br#"{"token":7}"#), Err(HandlerError::Decode(_))));
        assert!(Gate::open(Rights::READ).admit(b"not even JSON").is_ok(), "an open server leaves it to the command");
    }

    // Fails when a file that goes bad while the server runs leaves the old rules in force, or opens the door.
    #[tokio::test]
    async fn a_file_that_goes_bad_lets_nobody_in_until_it_is_mended() {
        let (_directory, file, gate) = gate();
        let (token, _) = file.create(Issue::default()).unwrap();
        look(&gate);
        let access = gate.admit(&payload(Some(&token))).unwrap();
        let mut withdrawn = pin!(access.withdrawn());
        assert!(poll_fn(|cx| Poll::Ready(withdrawn.as_mut().poll(cx))).await.is_pending());
        let good = std::fs::read(file.path()).unwrap();
        std::fs::write(file.path(), [&good[..], b"x"].concat()).unwrap();
        look(&gate);
        assert!(is_denied(&gate, Some(&token)));
        withdrawn.await;
        std::fs::write(file.path(), &good).unwrap();
        look(&gate);
        assert!(!is_denied(&gate, Some(&token)));
        std::fs::remove_file(file.path()).unwrap();
        look(&gate);
        assert!(is_denied(&gate, Some(&token)));
    }

    #[tokio::test]
    async fn outside_of_the_scope_there_is_nothing() {
        let (_directory, file, gate) = gate();
        let scope = Scope::parse(&["in".to_owned()]).unwrap();
        let (token, record) = file.create(Issue { scope: Some(scope), ..Issue::default() }).unwrap();
        look(&gate);
        let access = gate.admit(&payload(Some(&token))).unwrap();
        let covers = |name| access.covers(&RemotePath::parse(name).unwrap());
        assert!(covers("in/a") && covers("in") && !covers("out") && !covers("inn"));
        file.revoke(&[record.id]).unwrap();
        look(&gate);
        access.withdrawn().await;
    }
}
