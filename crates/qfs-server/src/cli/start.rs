//! From flags to a bound server, or a clear refusal.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use qfs_core::store::WriteStore;
use qfs_server::gate::tokens::TokenFile;
use qfs_server::pace::Pacing;
use qfs_server::{
    BLOCKING_THREADS, Deadlines, DigestFile, Gate, IdentityDir, IdentityDirError, Limits, PassedSockets, Server,
    ServerConfig,
};
use qfs_store::local::{Hidden, LinkSurvey, LocalStore};
use qfs_transport::{Identity, IdentityFileError, Roots, ServerTuning, TransportError};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tracing::warn;

use super::args::{Args, Auth, Switch};
use super::failure::Failure;
use super::layers::Reading;
use super::links;
use super::renew::Renewal;
use super::sandbox::{self, Places};

/// A server that is bound and confined.
pub(crate) struct Started<S> {
    pub(crate) server: Server<S>,
    /// Takes up the certificate anew.
    pub(crate) renewal: Renewal,
}

/// A published directory, and what becomes of the links in it, where that is known by now.
pub(crate) type Published = (LocalStore, Option<LinkSurvey>);

/// Binds the server that the options describe for a directory, and gives up every right that serving does not need.
pub(crate) async fn directory(
    reading: &Reading,
    passed: Option<PassedSockets>,
) -> Result<(Started<LocalStore>, Published), Failure> {
    let args = &reading.args;
    refuse_bucket_settings(args)?;
    let root = published_directory(&args.root)?;
    let (identity, key) = identity(args)?;
    refuse_published_key(&root, &key)?;
    let store = LocalStore::open_root(&root)
        .map_err(|e| Failure::refused(format!("cannot publish {}: {e}", args.root.display()), ROOT_HINT))?
        .hidden(if args.hidden { Hidden::Included } else { Hidden::Excluded })
        .follow_links(args.follow_links.into());
    let renewal = Renewal::new(args, &identity);
    let digest_file = digest_file(args, &root);
    let cache = digest_file.as_ref().and_then(|file| file.path().parent());
    // Whatever an owner of the published directory links to: the keys and the logs of this server are not for clients.
    let own = [Some(&*args.certs), Some(&*key), args.audit_log.as_deref(), cache];
    let store = store.never_by_link(&own.into_iter().flatten().collect::<Vec<_>>());
    let mut survey = links::survey(args, &store)?;
    let gate = gate(args)?;
    let places = Places {
        uploads: if gate.is_writable() { vec![root.clone()] } else { Vec::new() },
        published: vec![root],
        linked: survey.as_mut().map(|survey| std::mem::take(&mut survey.outside)).unwrap_or_default(),
        read: read(reading, &renewal),
        kept: cache.map(Path::to_owned).into_iter().collect(),
        ..Places::default()
    };
    let parts = Parts {
        store: store.clone(),
        identity,
        renewal,
        gate,
        digest_file,
        places,
        blocking_threads: BLOCKING_THREADS,
        passed,
    };
    Ok((bind(args, parts)?, (store, survey)))
}

/// What differs between one kind of root and another.
pub(crate) struct Parts<S> {
    pub(crate) store: S,
    pub(crate) identity: Identity,
    pub(crate) renewal: Renewal,
    pub(crate) gate: Gate,
    pub(crate) digest_file: Option<DigestFile>,
    pub(crate) places: Places,
    pub(crate) blocking_threads: usize,
    pub(crate) passed: Option<PassedSockets>,
}

/// What is read while the server serves: tokens, and what is announced of a next key, again and again; the configuration file on SIGHUP,
/// in its directory, because editors replace it by another of its name.
pub(crate) fn read(reading: &Reading, renewal: &Renewal) -> Vec<PathBuf> {
    let args = &reading.args;
    let mut read = renewal.directories();
    read.extend(reading.file().and_then(directory_of));
    // A configuration file may ask for tokens later.
    if args.cert.is_none() || args.auth == Auth::Tokens || (reading.file().is_some() && args.certs.is_dir()) {
        read.push(args.certs.clone());
    }
    read
}

/// Binds the server, and confines it.
pub(crate) fn bind<S: WriteStore>(args: &Args, parts: Parts<S>) -> Result<Started<S>, Failure> {
    raise_file_limit();
    let Parts { store, identity, renewal, gate, digest_file, places, blocking_threads, passed } = parts;
    let config = ServerConfig {
        passed,
        clients: args.client_ca.as_deref().map(client_authorities).transpose()?,
        #[cfg(feature = "http")]
        http: args.http(),
        #[cfg(feature = "metrics")]
        metrics: args.metrics,
        endpoints: args.endpoints(),
        tcp: args.tcp == Switch::On,
        tuning: ServerTuning { congestion: args.congestion(), max_payload: args.mtu, ..ServerTuning::default() },
        limits: Limits {
            connections: args.max_connections,
            connections_per_ip: args.max_connections_per_ip,
            buffer_bytes: args.buffer_memory,
            keep_free: args.keep_free,
            max_upload: args.max_upload,
            blocking_threads,
            ..Limits::default()
        },
        deadlines: Deadlines {
            drain: args.drain_timeout,
            stall: args.stall_timeout,
            partial_age: args.partial_age,
            ..Deadlines::default()
        },
        pacing: Pacing {
            all: args.limit.clone(),
            each: args.limit_client.clone(),
            // Now: the sandbox keeps the server from the files that say which it is.
            zone: Some(TimeZone::system()),
        },
        digest_file,
        gate,
        renewal: args.cert.is_none().then(|| IdentityDir::new(&args.certs)),
        ..ServerConfig::new(SocketAddr::new(args.ip, args.port))
    };
    let server = Server::bind(config, &identity, store).map_err(|error| not_bound(args, &error))?;
    sandbox::enter(args.sandbox(), &places)?;
    Ok(Started { server, renewal })
}

/// The runtime of a server. One thread for the network: for a QUIC end point several are slower, not faster. More end points bring their
/// own.
pub(crate) fn runtime(blocking_threads: usize) -> Result<Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(blocking_threads).build().map_err(Failure::runtime)
}

/// Why there is no server, and what to do.
pub(crate) fn not_bound(args: &Args, error: &TransportError) -> Failure {
    let hint = match error {
        TransportError::Bind { source, .. } => bind_hint(source),
        TransportError::BindTcp { source, address } if source.kind() == io::ErrorKind::AddrInUse => {
            if is_for_metrics(args, *address) {
                "another program has this port: name another with --metrics ADDR"
            } else {
                "another program has this TCP port: choose another with --port N, or 0 for any free one; --tcp off serves over \
                 UDP alone"
            }
        }
        TransportError::BindTcp { source, .. } => bind_hint(source),
        _ => "run with -vv for more",
    };
    Failure::refused(error.to_string(), hint)
}

#[cfg(feature = "metrics")]
fn is_for_metrics(args: &Args, address: SocketAddr) -> bool {
    args.metrics == Some(address)
}

#[cfg(not(feature = "metrics"))]
fn is_for_metrics(_: &Args, _: SocketAddr) -> bool {
    false
}

/// The identity, and where its key is: of the files that are named, or of the directory.
pub(crate) fn identity(args: &Args) -> Result<(Identity, PathBuf), Failure> {
    match (&args.cert, &args.key) {
        (None, None) => {
            let directory = IdentityDir::new(&args.certs);
            let refused = |e: IdentityDirError| {
                Failure::refused(format!("cannot use the identity in {}: {e}", args.certs.display()), e.hint())
            };
            Ok((directory.load_or_create().map_err(refused)?, directory.key_path()))
        }
        (Some(certificate), Some(key)) => {
            let refused = |e: IdentityFileError| Failure::refused(format!("cannot use the certificate: {e}"), e.hint());
            Ok((Identity::from_files(certificate, key).map_err(refused)?, key.clone()))
        }
        (Some(_), None) => {
            Err(Failure::refused("--cert needs --key".to_owned(), "name the file of the certificate's key"))
        }
        (None, Some(_)) => {
            Err(Failure::refused("--key needs --cert".to_owned(), "name the file of the key's certificate"))
        }
    }
}

/// The directory in which a file really is.
fn directory_of(file: &Path) -> Option<PathBuf> {
    fs::canonicalize(file).ok()?.parent().map(Path::to_owned)
}

/// Who vouches for clients. A file that cannot be used must not let everybody in.
fn client_authorities(path: &Path) -> Result<Roots, Failure> {
    let refused = |why: &dyn std::fmt::Display| {
        let what = format!("cannot use the client authorities in {}: {why}", path.display());
        Failure::refused(what, "--client-ca names a PEM file with the certificates of authorities")
    };
    #[expect(clippy::disallowed_methods, reason = "certificates are not published")]
    let pem = fs::read(path).map_err(|e| refused(&e))?;
    Roots::from_pem(&pem).map_err(|e| refused(&e))
}

const ROOT_HINT: &str = "make it, or name another with --root DIR";

/// Settings of a bucket mean that one was meant.
fn refuse_bucket_settings(args: &Args) -> Result<(), Failure> {
    #[cfg(feature = "bucket")]
    if !args.root_option.is_empty() || args.spool.is_some() || args.cache_disk.is_some_and(|bound| bound > 0) {
        return Err(Failure::refused(
            "--root-option, --spool and --cache-disk are for a bucket, and --root is a directory".to_owned(),
            "name a bucket, as in --root s3://BUCKET/PREFIX, or leave them out",
        ));
    }
    let root = args.root.to_string_lossy();
    if ["s3://", "gs://", "az://"].iter().any(|scheme| root.starts_with(scheme)) {
        return Err(Failure::refused(
            format!("cannot publish {root}: this server was built without buckets"),
            "build it with the feature `bucket`, which is on by default",
        ));
    }
    Ok(())
}

/// Who may read. Tokens that cannot be read as they stand start nothing.
pub(crate) fn gate(args: &Args) -> Result<Gate, Failure> {
    match args.auth {
        Auth::Open => Ok(Gate::open(args.allow)),
        Auth::Tokens => Gate::tokens(TokenFile::in_directory(&args.certs))
            .map_err(|e| Failure::refused(format!("cannot use the tokens: {e}"), e.hint())),
    }
}

/// The canonical path of the root.
fn published_directory(root: &Path) -> Result<PathBuf, Failure> {
    let refused = |why: &str| Failure::refused(format!("cannot publish {}: {why}", root.display()), ROOT_HINT);
    let canonical = fs::canonicalize(root).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => refused("no such directory"),
        _ => refused(&e.to_string()),
    })?;
    if canonical.is_dir() { Ok(canonical) } else { Err(refused("not a directory")) }
}

/// Whoever has the key can pose as this server; it must not lie among the files for everybody.
pub(crate) fn refuse_published_key(root: &Path, key: &Path) -> Result<(), Failure> {
    match fs::canonicalize(key) {
        Ok(canonical) if !canonical.starts_with(root) => Ok(()),
        Ok(_) => Err(Failure::refused(
            format!("cannot publish {}: the server's private key is in it: {}", root.display(), key.display()),
            "name another directory for the identity with --certs DIR, or another place for the key with --key FILE",
        )),
        Err(e) => Err(Failure::refused(format!("cannot find {}: {e}", key.display()), "see --certs")),
    }
}

fn bind_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program has this port: choose another with --port N, or 0 for any free one"
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address: choose another with --ip ADDR",
        io::ErrorKind::PermissionDenied => "ports below 1024 need privileges: choose another with --port N",
        _ => "choose another address with --ip and --port",
    }
}

/// Where digests are remembered; None, with a warning, when there is no good place.
pub(crate) fn digest_file(args: &Args, root: &Path) -> Option<DigestFile> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = args
        .cache_dir
        .clone()
        .or_else(|| absolute("XDG_CACHE_HOME").map(|cache| cache.join("qfs")))
        .or_else(|| absolute("HOME").map(|home| home.join(".cache/qfs")));
    let Some(directory) = directory else {
        warn!("no cache directory: digests are not remembered between runs; see --cache-dir");
        return None;
    };
    // What does not exist yet is as canonical as its parent.
    let canonical = fs::canonicalize(&directory).unwrap_or_else(|_| directory.clone());
    if canonical.starts_with(root) {
        warn!("the cache directory is published: digests are not remembered between runs; see --cache-dir");
        return None;
    }
    let file = DigestFile::new(&directory, root);
    // Now, because the sandbox permits what is in the directory, not its making.
    if let Err(error) = file.make_directory() {
        warn!(
            "digests are not remembered between runs, because the cache directory cannot be used: {error}; see --cache-dir"
        );
        return None;
    }
    Some(file)
}

/// Every open file is a descriptor, and the default limit of 1024 is for programs that use select(2).
pub(crate) fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!("the limit of open files cannot be raised: {error}");
    }
}
