//! The real programs, with a bucket behind the server.

mod competing;
mod handed_on;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use qfs_core::model::Digest;
use qfs_testkit::binaries::{ServerOptions, ServerProcess, client_bin, server_bin, without_settings};
use qfs_testkit::s3_engine::S3Engine;
use tempfile::TempDir;

/// More than two parts.
const LARGE: usize = (17 << 20) + 5;

struct Lab {
    /// None where a real engine is used.
    engine: Option<S3Engine>,
    /// Of the bucket; none where variables say where it is.
    options: Vec<String>,
    /// Another one for each test of a real engine.
    root: String,
    place: TempDir,
    server: ServerProcess,
}

pub(crate) fn options(endpoint: &str) -> Vec<String> {
    let option = |text: &str| format!("--root-option={text}");
    vec![
        option(&format!("aws_endpoint={endpoint}")),
        option("aws_allow_http=true"),
        option("aws_access_key_id=test"),
        option("aws_secret_access_key=test"),
    ]
}

fn start(root: &str, options: &[String], place: &TempDir) -> ServerProcess {
    let (certs, spool) = (place.path().join("certs"), format!("--spool={}", place.path().join("spool").display()));
    let mut args = vec!["--allow=read,write,delete", spool.as_str()];
    args.extend(options.iter().map(String::as_str));
    ServerProcess::start_with(&ServerOptions {
        certs: Some(&certs),
        args: &args,
        ..ServerOptions::new(Path::new(root))
    })
}

fn lab(name: &str) -> Lab {
    let (bucket, real) = (std::env::var("QFS_TEST_BUCKET").ok(), std::env::var("QFS_TEST_S3").ok());
    let engine = (bucket.is_none() && real.is_none()).then(S3Engine::start);
    let endpoint = real.or_else(|| engine.as_ref().map(S3Engine::endpoint));
    let options = if bucket.is_some() { Vec::new() } else { endpoint.map(|endpoint| options(&endpoint)).unwrap() };
    let bucket = bucket.unwrap_or_else(|| format!("s3://{}", S3Engine::BUCKET));
    let root = format!("{bucket}/{name}-{:08x}", std::process::id());
    let place = tempfile::tempdir().unwrap();
    let server = start(&root, &options, &place);
    Lab { engine, options, root, place, server }
}

impl Lab {
    fn here(&self) -> PathBuf {
        let here = self.place.path().join("home");
        fs::create_dir_all(&here).unwrap();
        here
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.here().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(client_bin());
        without_settings(&mut command)
            .env("QFS_CONFIG_DIR", self.place.path().join("config"))
            .env("QFS_CACHE_DIR", self.place.path().join("cache"))
            .args(["--server", self.server.ticket()])
            .args(args)
            .current_dir(self.here())
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    #[track_caller]
    fn works(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {:?} {told}\n{}", output.status, self.server.said());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Whether the bucket keeps directories that nothing is in, and times of directories.
    fn keeps_directories(&self) -> bool {
        !self.root.starts_with("gs:")
    }

    /// Whether the bucket checks every condition in the step that it is for. Where parts are put together moto does not, and Google is
    /// not asked to.
    fn checks_all(&self) -> bool {
        self.root.starts_with("az:") || self.engine.is_some()
    }

    /// That a run has nothing to do, but for the times of directories where these are not kept.
    #[track_caller]
    fn has_nothing_to_do(&self, args: &[&str]) {
        let told = self.works(&[args, &["--dry-run"]].concat());
        let is_kept = |line: &&str| self.keeps_directories() || !(line.starts_with("set ") && line.contains("/ ("));
        assert_eq!(told.lines().find(is_kept), None, "{args:?}: {told}");
    }

    #[track_caller]
    fn ends(&self, args: &[&str], code: i32) {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn files_go_into_a_bucket_and_come_out_of_it() {
    let lab = lab("inout");
    let large = noise(21 << 20, 1);
    lab.write("large", &large);
    lab.write("empty", b"");
    (0..30).for_each(|n| lab.write(&format!("d/small-{n}"), format!("content {n}").as_bytes()));
    let told = lab.works(&["put", "large", "empty", "d"]);
    assert!(told.contains(&format!("{}  large\n", Digest::of(&large))), "{told}");
    let listed = lab.works(&["list", "--json"]);
    assert!(listed.contains("\"d/small-7\"") && listed.contains(&Digest::of(b"content 7").to_string()), "{listed}");
    lab.works(&["get", "--all"]);
    assert!(fs::read(lab.here().join("client_env/large")).unwrap() == large);
    assert_eq!(fs::read(lab.here().join("client_env/d/small-29")).unwrap(), b"content 29");
    assert_eq!(fs::read(lab.here().join("client_env/empty")).unwrap(), b"");
    let again = lab.works(&["get", "--all", "--json"]);
    assert_eq!(again.matches("\"unchanged\"").count(), 32, "{again}");
    assert_eq!(lab.works(&["cat", "d/small-3"]), "content 3");
    assert_eq!(lab.works(&["cat", "--range", "8-8", "d/small-3"]), "3");
    lab.ends(&["put", "d/small-1", "--as", "large"], 7);
    lab.works(&["put", "d/small-1", "--as", "large", "--overwrite"]);
    assert_eq!(lab.works(&["cat", "large"]), "content 1");
    lab.works(&["rm", "large"]);
    lab.ends(&["get", "large"], 5);
    assert!(fs::read_dir(lab.place.path().join("spool")).unwrap().next().is_none(), "the spool is empty again");
}

#[test]
fn files_that_are_fetched_together_cost_one_request_each() {
    let lab = lab("together");
    // Many do not fit into one step of the server, and more are asked for at once.
    (0..150).for_each(|n| lab.write(&format!("d/{n}"), &noise(20 << 10, n)));
    lab.works(&["put", "d"]);
    lab.engine.iter().for_each(|engine| drop(engine.seen()));
    lab.works(&["get", "--all"]);
    for n in 0..150 {
        assert!(fs::read(lab.here().join(format!("client_env/d/{n}"))).unwrap() == noise(20 << 10, n));
    }
    if let Some(engine) = &lab.engine {
        let mut seen = engine.seen();
        seen.retain(|(method, target)| method == "GET" && !target.contains("list-type"));
        seen.sort();
        let asked = seen.len();
        seen.dedup();
        assert_eq!((asked, seen.len()), (150, 150));
    }
}

#[test]
fn push_and_pull_move_what_changed_and_then_nothing() {
    let lab = lab("sync");
    for (name, content) in [("t/a", "one"), ("t/sub/b", "two"), ("t/sub/deep/c", "three"), ("t/x-y/z", "four")] {
        lab.write(name, content.as_bytes());
    }
    if lab.keeps_directories() {
        fs::create_dir_all(lab.here().join("t/hollow")).unwrap();
    }
    let run = lab.here().join("t/a");
    fs::set_permissions(&run, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    lab.works(&["push", "t", "tree"]);
    lab.has_nothing_to_do(&["push", "t", "tree"]);
    lab.works(&["pull", "tree", "copy"]);
    lab.has_nothing_to_do(&["pull", "tree", "copy"]);
    // Pull, then push, changes nothing.
    lab.has_nothing_to_do(&["push", "copy", "tree"]);
    assert_eq!(fs::read(lab.here().join("copy/sub/deep/c")).unwrap(), b"three");
    assert_eq!(lab.here().join("copy/hollow").is_dir(), lab.keeps_directories());
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(lab.here().join("copy/a")).unwrap().permissions());
    assert_eq!(mode & 0o100, 0o100);
    fs::remove_dir_all(lab.here().join("t/sub")).unwrap();
    lab.write("t/a", b"changed");
    lab.works(&["push", "t", "tree", "--delete", "--max-delete", "100%"]);
    lab.has_nothing_to_do(&["push", "t", "tree", "--delete"]);
    lab.works(&["pull", "tree", "copy", "--delete", "--max-delete", "100%"]);
    assert!(!lab.here().join("copy/sub").exists() && fs::read(lab.here().join("copy/a")).unwrap() == b"changed");
}

/// Fails when: what a listing tells without asking each object is no version that a change may be bound to.
#[test]
fn push_changes_and_removes_where_times_are_those_of_a_listing() {
    let mut lab = lab("listed");
    if lab.root.starts_with("gs:") {
        // A bucket of Google cannot give an object another time by what `object_store` has.
        return;
    }
    lab.options.push("--root-option=qfs_times=listed".to_owned());
    lab.server = start(&lab.root, &lab.options, &lab.place);
    for name in ["t/a", "t/sub/b", "t/sub/gone"] {
        lab.write(name, name.as_bytes());
    }
    lab.write("t/large", &noise(LARGE, 9));
    let push = ["push", "t", "tree", "--delete", "--max-delete", "100%"];
    lab.works(&push);
    // Every file has another time than the listing says, and one by far.
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    fs::File::options().write(true).open(lab.here().join("t/sub/b")).unwrap().set_modified(at).unwrap();
    lab.works(&push);
    lab.works(&push);
    fs::remove_file(lab.here().join("t/sub/gone")).unwrap();
    lab.write("t/a", b"changed");
    let large = noise(LARGE + 1, 10);
    lab.write("t/large", &large);
    lab.works(&push);
    lab.works(&["pull", "tree", "copy"]);
    assert_eq!(fs::read(lab.here().join("copy/a")).unwrap(), b"changed");
    assert!(fs::read(lab.here().join("copy/large")).unwrap() == large && !lab.here().join("copy/sub/gone").exists());
    lab.works(&["rm", "tree/a"]);
}

#[test]
fn only_what_changed_of_a_large_file_moves() {
    let lab = lab("delta");
    let mut content = noise(12 << 20, 3);
    lab.write("big", &content);
    lab.works(&["put", "big"]);
    lab.works(&["get", "big"]);
    content[5 << 20..(5 << 20) + 1000].fill(7);
    lab.write("big", &content);
    let told: serde_json::Value = serde_json::from_str(&lab.works(&["put", "big", "--overwrite", "--json"])).unwrap();
    assert!(told["bytes"].as_u64().unwrap() < 2 << 20, "{told}");
    let told: serde_json::Value = serde_json::from_str(&lab.works(&["get", "big", "--overwrite", "--json"])).unwrap();
    assert!(told["bytes"].as_u64().unwrap() < 2 << 20, "{told}");
    assert!(fs::read(lab.here().join("client_env/big")).unwrap() == content);
}

#[test]
fn http_reads_and_writes_a_bucket() {
    let lab = lab("http");
    let url = |name: &str| format!("https://{}/{name}", lab.server.address());
    let curl = |args: &[&str]| {
        let output = Command::new("curl").args(["-sSk", "--fail-with-body"]).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"by http").unwrap();
    curl(&["-T", file.path().to_str().unwrap(), &url("d/new")]);
    assert_eq!(curl(&[&url("d/new")]), "by http");
    assert_eq!(curl(&["-r", "3-6", &url("d/new")]), "http");
    assert!(curl(&["-H", "accept: application/json", &url("d/")]).contains("\"new\""));
    let head = curl(&["-I", &url("d/new")]);
    let version = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let only = format!("If-Match: {version}");
    file.write_all(b", again").unwrap();
    curl(&["-T", file.path().to_str().unwrap(), "-H", &only, &url("d/new")]);
    assert_eq!(curl(&[&url("d/new")]), "by http, again");
    let stale =
        ["-skS", "-o", "/dev/null", "-w", "%{http_code}", "-X", "PUT", "-d", "stale", "-H", &only, &url("d/new")];
    assert_eq!(Command::new("curl").args(stale).output().unwrap().stdout, b"412");
    curl(&["-X", "DELETE", &url("d/new")]);
    lab.ends(&["get", "d/new"], 5);
}

#[test]
fn two_servers_share_a_bucket_and_an_identity() {
    let lab = lab("two");
    let other = start(&lab.root, &lab.options, &lab.place);
    assert_eq!(other.fingerprint(), lab.server.fingerprint());
    lab.write("f", b"through the first");
    lab.works(&["put", "f"]);
    let mut command = Command::new(client_bin());
    without_settings(&mut command).args(["--server", other.ticket(), "cat", "f"]).stdin(Stdio::null());
    assert_eq!(command.output().unwrap().stdout, b"through the first");
}

#[test]
fn what_cannot_be_published_is_refused_with_a_hint() {
    let place = tempfile::tempdir().unwrap();
    let (engine, certs) = (S3Engine::start(), place.path().join("certs"));
    let refuse = |root: &str, args: &[String]| {
        let mut command = Command::new(server_bin());
        let names = std::env::vars_os().filter(|(name, _)| {
            ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|start| name.to_string_lossy().starts_with(start))
        });
        for (name, _) in names {
            command.env_remove(name);
        }
        without_settings(&mut command).args(["--port", "0", "--root", root, "--certs"]).arg(&certs).args(args);
        let output = command.env("HOME", place.path()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{root}: {told}");
        assert!(told.starts_with("error: cannot publish") && told.contains("\nhint: "), "{root}: {told}");
        told
    };
    engine.fail("?list-type", qfs_testkit::s3_engine::Fault::Status(403, "InvalidAccessKeyId"));
    assert!(refuse("s3://demo", &options(&engine.endpoint())).contains("InvalidAccessKeyId"));
    engine.fail("?list-type", qfs_testkit::s3_engine::Fault::Status(404, "NoSuchBucket"));
    assert!(refuse("s3://demo", &options(&engine.endpoint())).contains("no such bucket"));
    assert!(refuse("s3://demo", &["--root-option=colour=red".to_owned()]).contains("colour is no setting"));
    assert!(refuse("s3://demo", &["--follow-links=any".to_owned()]).contains("a bucket has no links"));
    assert!(refuse("s3://demo", &["--root-option=colour".to_owned()]).contains("KEY=VALUE"));
    refuse("s3://de mo", &[]);
    refuse("s3://demo/../x", &[]);
    // Neither account nor key is named.
    refuse("az://box", &[]);
}
