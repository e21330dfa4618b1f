//! `--root s3://…`: a server for a bucket, from the flags to the bound server.

use std::path::{Path, PathBuf};

use qfs_server::{DigestFile, PassedSockets};
use qfs_store::bucket::{self, BucketStore, DiskCache, Location, Settings, SetupError};

use super::args::{Args, FollowLinks};
use super::failure::Failure;
use super::layers::Reading;
use super::renew::Renewal;
use super::sandbox::Places;
use super::start::{self, Parts, Started};

/// Threads of an end point that wait for the bucket: each step is a round trip, and none of them takes a processor.
pub(crate) const BLOCKING_THREADS: usize = 128;

/// What is read to find machines by their names, and to know whom certificates are believed from.
const SYSTEM: [&str; 13] = [
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/pki",
    "/etc/resolv.conf",
    "/etc/ssl",
    "/lib",
    "/lib64",
    "/run/systemd/resolve",
    "/usr/lib",
    "/usr/local/share/ca-certificates",
    "/usr/share/ca-certificates",
];

/// Variables that name files with what is shown to the provider, or certificates.
const FILES: [&str; 8] = [
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_FEDERATED_TOKEN_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
];

/// Variables that name addresses, whose ports are connected to.
const ADDRESSES: [&str; 9] = [
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
    "AZURE_ENDPOINT",
    "AZURITE_BLOB_STORAGE_URL",
    "GOOGLE_BASE_URL",
    "HTTPS_PROXY",
    "HTTP_PROXY",
];

/// Ports of buckets, of those who give out credentials, and of name servers that answer by TCP.
const PORTS: [u16; 3] = [443, 80, 53];

/// The bucket that `--root` names; None where it names a directory.
///
/// # Errors
/// When it names what is no bucket, or a setting is none.
pub(crate) fn settings(args: &Args) -> Result<Option<Settings>, Failure> {
    let root = args.root.to_string_lossy();
    let Some(location) = Location::parse(&root).map_err(|e| refused(args, &e))? else { return Ok(None) };
    if args.follow_links != FollowLinks::None {
        return Err(Failure::refused(
            format!("cannot publish {root} with --follow-links: a bucket has no links"),
            "leave it out",
        ));
    }
    let option = |text: &String| {
        let (name, value) =
            text.split_once('=').ok_or_else(|| SetupError::Setting(format!("{text} is no KEY=VALUE")))?;
        Ok((name.trim().to_ascii_lowercase(), value.to_owned()))
    };
    let options = args.root_option.iter().map(option).collect::<Result<_, _>>().map_err(|e| refused(args, &e))?;
    Ok(Some(Settings { location, options, hidden: args.hidden, disk: None }))
}

/// Binds a server for the bucket of `settings`, once it has shown that it can be read.
///
/// # Errors
/// When the bucket cannot be used; as [`start::bind`].
pub(crate) fn start(
    reading: &Reading,
    settings: &Settings,
    passed: Option<PassedSockets>,
) -> Result<Started<BucketStore>, Failure> {
    let args = &reading.args;
    bucket::check(settings).map_err(|e| refused(args, &e))?;
    let (identity, _) = start::identity(args)?;
    let gate = start::gate(args)?;
    let name = PathBuf::from(settings.location.to_string());
    let digest_file = start::digest_file(args, &name);
    let settings = &Settings { disk: disk_cache(args, digest_file.as_ref())?, ..settings.clone() };
    let mut store = BucketStore::open(settings).map_err(|e| refused(args, &e))?;
    let mut uploads = Vec::new();
    if gate.is_writable() {
        let spool = spool(args, digest_file.as_ref())?;
        store = store
            .with_spool(&spool)
            .map_err(|e| Failure::refused(format!("cannot use {} for uploads: {e}", spool.display()), SPOOL_HINT))?;
        uploads.push(spool);
    }
    let renewal = Renewal::new(args, &identity);
    let kept = digest_file.as_ref().and_then(|file| file.path().parent()).map(Path::to_owned);
    let files = FILES.iter().filter_map(std::env::var_os).map(PathBuf::from);
    let system = SYSTEM.iter().map(PathBuf::from).chain(files).filter(|path| path.exists());
    let places = Places {
        published: system.collect(),
        uploads,
        read: start::read(reading, &renewal),
        kept: kept.into_iter().collect(),
        cached: settings.disk.iter().map(|cache| cache.directory.clone()).collect(),
        connects: ports(settings),
        ..Places::default()
    };
    let parts =
        Parts { store, identity, renewal, gate, digest_file, places, blocking_threads: BLOCKING_THREADS, passed };
    start::bind(args, parts)
}

const SPOOL_HINT: &str = "name a directory with enough room for the uploads of a day with --spool DIR";

/// Where uploads are gathered: a place for each bucket.
fn spool(args: &Args, digest_file: Option<&DigestFile>) -> Result<PathBuf, Failure> {
    let usual = || digest_file.map(|file| file.path().with_extension("spool"));
    args.spool
        .clone()
        .or_else(usual)
        .ok_or_else(|| Failure::refused("uploads need a directory where they are gathered".to_owned(), SPOOL_HINT))
}

/// Where blocks of the bucket are kept, if they are: beside its digests, so that another bucket has another place.
fn disk_cache(args: &Args, digest_file: Option<&DigestFile>) -> Result<Option<DiskCache>, Failure> {
    let Some(bound) = args.cache_disk.filter(|bound| *bound > 0) else { return Ok(None) };
    let file = digest_file.ok_or_else(|| {
        let hint = "name one with --cache-dir DIR, or leave --cache-disk out";
        Failure::refused("--cache-disk needs a cache directory".to_owned(), hint)
    })?;
    Ok(Some(DiskCache { directory: file.path().with_extension("blocks"), bound }))
}

/// Ports that the store may connect to.
fn ports(settings: &Settings) -> Vec<u16> {
    let named = ADDRESSES.iter().flat_map(|name| [std::env::var(name), std::env::var(name.to_ascii_lowercase())]);
    let said = settings.options.iter().map(|(_, value)| value.clone());
    let mut ports: Vec<u16> = named.flatten().chain(said).filter_map(|address| port(&address)).chain(PORTS).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The port that an address such as `http://host:9000/x` names.
fn port(address: &str) -> Option<u16> {
    let (_, rest) = address.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}

fn refused(args: &Args, error: &SetupError) -> Failure {
    let hint = match error {
        SetupError::Location(_) => "a bucket is named as in --root s3://BUCKET/PREFIX, gs://BUCKET or az://CONTAINER",
        SetupError::Setting(_) => "see --root-option in docs/CLI.md for the settings there are",
        SetupError::Credentials(_) => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS, or AZURE_STORAGE_ACCOUNT_NAME \
             and AZURE_STORAGE_ACCOUNT_KEY, for an account that may list and read the bucket"
        }
        SetupError::NoBucket => "make it, or name another; AWS_REGION and AWS_ENDPOINT_URL say where it is looked for",
        SetupError::Disk(..) => "see --cache-dir, or leave --cache-disk out",
        _ => "see whether AWS_ENDPOINT_URL and AWS_REGION are right; plain http:// needs AWS_ALLOW_HTTP=true",
    };
    Failure::refused(format!("cannot publish {}: {error}", args.root.display()), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_from_addresses() {
        let ports = ["http://127.0.0.1:9000/x", "https://h", "https://[::1]:81", "eu-west-1", "http://h:x"].map(port);
        assert_eq!(ports, [Some(9000), None, Some(81), None, None]);
    }
}
