//! Takes up `--cert` and `--key` anew while the server runs: certificates of public authorities live for weeks.

use std::path::{Path, PathBuf};

use qfs_core::model::Fingerprint;
use qfs_transport::{Identity, ShownIdentity};
use tracing::{error, info};

use super::args::Args;

/// The files that are looked at, and where what they hold is shown.
pub(crate) struct Renewal {
    files: Option<(PathBuf, PathBuf)>,
    shown: ShownIdentity,
    first: Fingerprint,
    is_quiet: bool,
}

impl Renewal {
    pub(crate) fn new(args: &Args, identity: &Identity) -> Self {
        let files = args.cert.clone().zip(args.key.clone());
        Self { files, shown: identity.shown(), first: identity.fingerprint(), is_quiet: args.quiet }
    }

    /// Whether there are files to look at.
    pub(crate) fn has_files(&self) -> bool {
        self.files.is_some()
    }

    /// Directories in which the files are, whichever links lead there, by which they can be read later.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let files = self.files.iter().flat_map(|(certificate, key)| [certificate, key]);
        let real = files.filter_map(|file| std::fs::canonicalize(file).ok());
        real.filter_map(|file| file.parent().map(Path::to_owned)).collect()
    }

    /// Shows what the files hold now, if it can be used; what was shown stays otherwise. Connections that exist are not touched.
    #[expect(clippy::print_stderr, reason = "the command line's own output")]
    pub(crate) fn look_anew(&self) {
        let Some((certificate, key)) = &self.files else { return };
        match Identity::from_files(certificate, key) {
            Ok(identity) => {
                self.shown.replace(&identity);
                let fingerprint = identity.fingerprint();
                info!(%fingerprint, "the certificate was taken up anew");
                if fingerprint != self.first && !self.is_quiet {
                    eprintln!(
                        "note: the key is another one now, fingerprint {fingerprint}; tickets given out before do not fit it"
                    );
                }
            }
            Err(error) => error!("the certificate stays as it was: {error}"),
        }
    }
}
