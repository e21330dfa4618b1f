//! The crowd: many client processes download the same file at once, and every copy is read back.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tempfile::TempDir;

use crate::BenchError;
use crate::process::ProcessError;
use crate::qfs::{self, Client};
use crate::runner::{Batch, Finished, Limit, Runner};
use crate::stats::Spread;
use crate::verify::{Copy, below, most_common, read_back_all};

/// The most processes of one crowd.
pub const MAX_PROCESSES: usize = 1000;
/// How long the listing may take.
const LIST_LIMIT: Duration = Duration::from_secs(30);

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Client processes, 1 to [`MAX_PROCESSES`].
    pub processes: usize,
    /// The names to pick from; the server's listing when empty.
    pub files: Vec<String>,
    /// Makes the pick repeatable.
    pub seed: u64,
    /// Longest time the downloads may take together.
    pub timeout: Duration,
    /// Where the copies go. Each process gets a directory of its own in a temporary one here.
    pub work_dir: PathBuf,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Crowd {
    /// The file that all of them asked for.
    pub file: String,
    /// Its size, bytes, as most copies have it.
    pub size: u64,
    /// Its SHA-256, as most copies have it; `None` when there is no copy.
    pub sha256: Option<String>,
    /// The seed of the pick.
    pub seed: u64,
    /// Client processes started.
    pub processes: usize,
    /// Of these, how many failed.
    pub failed: usize,
    /// Of the others, how many have a copy that differs.
    pub differing: usize,
    /// Whether every process succeeded and every copy is the same, and what its client said it was.
    pub verified: bool,
    /// From the first start to the last end, seconds: the total download time.
    pub seconds: f64,
    /// Spread of the processes' own times, seconds.
    pub elapsed: Option<Spread>,
    /// Bytes of all good copies.
    pub bytes: u64,
    /// [`Self::bytes`] over [`Self::seconds`].
    pub bytes_per_second: f64,
    /// CPU seconds of all clients.
    pub cpu_seconds: f64,
    /// Largest peak of resident memory of a client, bytes.
    pub peak_memory_bytes: u64,
    /// The memory of the bench itself, bytes. A client that held less shows about this much.
    pub memory_floor_bytes: u64,
    /// What the server used, when the bench had started it.
    pub server: Option<ServerUse>,
    /// The processes, in the order they were started.
    pub clients: Vec<ClientRow>,
}

/// What the server used during the run.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ServerUse {
    /// CPU seconds.
    pub cpu_seconds: f64,
    /// Peak resident memory, bytes.
    pub peak_memory_bytes: u64,
}

/// One client process.
#[derive(Debug, Clone, Serialize)]
pub struct ClientRow {
    /// Number of the process, from 1.
    pub process: usize,
    /// How it went.
    pub status: Status,
    /// From its start to its end.
    pub seconds: f64,
    /// CPU time, user and system.
    pub cpu_seconds: f64,
    /// Peak resident memory, bytes.
    pub peak_memory_bytes: u64,
    /// Size of the copy read back, bytes.
    pub size: Option<u64>,
    /// SHA-256 of the copy read back.
    pub sha256: Option<String>,
    /// What is wrong.
    pub error: Option<String>,
}

/// How a process went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It succeeded and its copy is right.
    Ok,
    /// It failed, or left no copy.
    Failed,
    /// It succeeded, but its copy is not what the others have, or not what it printed.
    Differs,
}

/// Picks a file, starts the crowd, reads every copy back.
///
/// # Errors
/// When nothing can be picked, or the bench itself fails or is told to stop.
pub fn run(
    runner: &dyn Runner,
    client: &Client,
    plan: &Plan,
    stopped: &(dyn Fn() -> bool + Sync),
) -> Result<Crowd, BenchError> {
    let file = pick(runner, client, plan)?;
    let place =
        TempDir::with_prefix_in("qfs-bench-", &plan.work_dir).map_err(BenchError::local("create", &plan.work_dir))?;
    let dirs: Vec<PathBuf> = (1..=plan.processes).map(|n| place.path().join(n.to_string())).collect();
    let copies: Option<Vec<PathBuf>> = dirs.iter().map(|dir| below(dir, &file)).collect();
    let copies = copies.ok_or_else(|| BenchError::BadName(file.clone()))?;
    let commands: Vec<_> = dirs.iter().map(|dir| client.get(dir, ["--", &file])).collect();
    tracing::debug!(command = %commands[0], processes = plan.processes, "starting the clients");
    let batch = runner.run(&commands, Limit::Within(plan.timeout))?;
    let copies = read_back_all(&copies, stopped);
    if stopped() {
        return Err(ProcessError::Interrupted.into());
    }
    Ok(judge(file, plan, &batch, copies))
}

fn pick(runner: &dyn Runner, client: &Client, plan: &Plan) -> Result<String, BenchError> {
    let names = if plan.files.is_empty() {
        let batch = runner.run(&[client.list()], Limit::Within(LIST_LIMIT.min(plan.timeout)))?;
        let first = batch.processes.first().ok_or(BenchError::NothingListed)?;
        qfs::listing(first)?.into_keys().collect()
    } else {
        plan.files.clone()
    };
    fastrand::Rng::with_seed(plan.seed).choice(names).ok_or(BenchError::NothingListed)
}

fn judge(file: String, plan: &Plan, batch: &Batch, copies: Vec<std::io::Result<Copy>>) -> Crowd {
    let pairs: Vec<(&Finished, std::io::Result<Copy>)> = batch.processes.iter().zip(copies).collect();
    // A copy that a failed client left behind does not count.
    let voters = pairs.iter().filter(|(finished, _)| finished.exit.is_success());
    let digests: Vec<&str> = voters.filter_map(|(_, copy)| copy.as_ref().ok().map(|c| c.sha256.as_str())).collect();
    let reference = most_common(digests).map(str::to_owned);
    let clients: Vec<ClientRow> = pairs
        .iter()
        .enumerate()
        .map(|(index, (finished, copy))| row(index + 1, finished, copy, reference.as_deref()))
        .collect();
    let count = |status| clients.iter().filter(|row| row.status == status).count();
    let (failed, differing) = (count(Status::Failed), count(Status::Differs));
    let good = clients.iter().filter(|row| row.status == Status::Ok);
    let (size, bytes) = good.filter_map(|row| row.size).fold((0, 0), |(_, sum), size| (size, sum + size));
    let seconds = batch.elapsed.as_secs_f64();
    let times: Vec<f64> = clients.iter().map(|row| row.seconds).collect();
    Crowd {
        file,
        size,
        sha256: reference,
        seed: plan.seed,
        processes: plan.processes,
        failed,
        differing,
        verified: failed == 0 && differing == 0 && clients.len() == plan.processes,
        seconds,
        elapsed: Spread::of(&times),
        bytes,
        bytes_per_second: if seconds > 0.0 { bytes as f64 / seconds } else { 0.0 },
        cpu_seconds: clients.iter().map(|row| row.cpu_seconds).sum(),
        peak_memory_bytes: clients.iter().map(|row| row.peak_memory_bytes).max().unwrap_or_default(),
        memory_floor_bytes: batch.memory_floor,
        server: None,
        clients,
    }
}

fn row(process: usize, finished: &Finished, copy: &std::io::Result<Copy>, reference: Option<&str>) -> ClientRow {
    let (status, error) = match (failure_of(finished), copy) {
        (Some(failure), _) => (Status::Failed, Some(failure)),
        (None, Err(error)) => (Status::Failed, Some(format!("it succeeded, but left no copy: {error}"))),
        (None, Ok(copy)) => match difference(finished, copy, reference) {
            Some(difference) => (Status::Differs, Some(difference)),
            None => (Status::Ok, None),
        },
    };
    let copy = copy.as_ref().ok();
    ClientRow {
        process,
        status,
        seconds: finished.elapsed.as_secs_f64(),
        cpu_seconds: finished.cpu.as_secs_f64(),
        peak_memory_bytes: finished.peak_rss,
        size: copy.map(|copy| copy.size),
        sha256: copy.map(|copy| copy.sha256.clone()),
        error,
    }
}

/// Why the client failed: the text of its report or of its standard error, or its exit code.
fn failure_of(finished: &Finished) -> Option<String> {
    let failure = finished.failure()?;
    let reported = qfs::fetched(&finished.stdout).and_then(|file| file.error).filter(|error| !error.message.is_empty());
    Some(reported.map_or(failure, |error| format!("{}: {}", finished.exit, error.message)))
}

fn difference(finished: &Finished, copy: &Copy, reference: Option<&str>) -> Option<String> {
    let Some(printed) = qfs::fetched(&finished.stdout).and_then(|file| file.sha256) else {
        return Some("the client printed no digest".to_owned());
    };
    if !printed.eq_ignore_ascii_case(&copy.sha256) {
        return Some("the copy is not what the client said it was".to_owned());
    }
    (reference != Some(&copy.sha256)).then(|| "the copy is not what most others have".to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::process::Invocation;
    use crate::qfs::Address;
    use crate::runner::{Exit, Mock};

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn client() -> Client {
        let address = Address::Ticket("qfs://h:1".into());
        Client { program: "c".into(), address, extra: vec![], without_env: vec![] }
    }

    fn plan(files: &[&str]) -> Plan {
        Plan {
            processes: 3,
            files: files.iter().map(|&name| name.to_owned()).collect(),
            seed: 5,
            timeout: Duration::from_secs(1),
            work_dir: std::env::temp_dir(),
        }
    }

    /// Writes what the command would download: `abc`, and `abd` for the process whose directory ends in `bad`.
    fn save(bad: &'static str) -> impl Fn(&Invocation) {
        move |invocation| {
            let args = invocation.arguments();
            if let Some(at) = args.iter().position(|arg| arg == "--save-dir") {
                let dir = Path::new(&args[at + 1]);
                std::fs::create_dir_all(dir).unwrap();
                let text = if dir.ends_with(bad) { "abd" } else { "abc" };
                std::fs::write(dir.join(&args[args.len() - 1]), text).unwrap();
            }
        }
    }

    fn got(milliseconds: u64) -> Finished {
        Mock::success(milliseconds, &format!(r#"{{"files":[{{"name":"f","status":"downloaded","sha256":"{ABC}"}}]}}"#))
    }

    fn three(processes: [Finished; 3]) -> Batch {
        Batch { elapsed: Duration::from_millis(30), processes: processes.into(), memory_floor: 0 }
    }

    #[test]
    fn all_well() {
        let mock = Mock::new([three([got(10), got(30), got(20)])], save("none"));
        let crowd = run(&mock, &client(), &plan(&["f"]), &|| false).unwrap();
        assert!(crowd.verified);
        assert_eq!((crowd.size, crowd.bytes, crowd.failed, crowd.differing), (3, 9, 0, 0));
        assert_eq!(crowd.sha256.as_deref(), Some(ABC));
        assert!((crowd.elapsed.unwrap().median - 0.02).abs() < 1e-9);
        assert!((crowd.bytes_per_second - 300.0).abs() < 1e-6);
    }

    #[test]
    fn a_copy_that_differs_is_found() {
        let mock = Mock::new([three([got(10), got(30), got(20)])], save("2"));
        let crowd = run(&mock, &client(), &plan(&["f"]), &|| false).unwrap();
        assert!(!crowd.verified);
        assert_eq!((crowd.failed, crowd.differing), (0, 1));
        assert_eq!(crowd.clients[1].status, Status::Differs);
    }

    #[test]
    fn a_client_that_fails_is_counted_and_quoted() {
        let message =
            r#"{"files":[{"name":"f","status":"failed","error":{"code":"not_found","message":"no such file"}}]}"#;
        let failed = Finished { exit: Exit::Code(5), ..Mock::success(1, message) };
        let mock = Mock::new([three([failed, got(30), got(20)])], save("none"));
        let crowd = run(&mock, &client(), &plan(&["f"]), &|| false).unwrap();
        assert_eq!((crowd.failed, crowd.differing, crowd.verified), (1, 0, false));
        assert_eq!(crowd.clients[0].error.as_deref(), Some("exit code 5: no such file"));
    }

    #[test]
    fn a_client_without_a_copy_or_a_digest_did_not_succeed() {
        let mute = Mock::success(1, "");
        let mock = Mock::new([three([mute, got(30), got(20)])], |_| {});
        let crowd = run(&mock, &client(), &plan(&["f"]), &|| false).unwrap();
        assert_eq!(crowd.failed, 3);
        let mock = Mock::new([three([Mock::success(1, ""), got(30), got(20)])], save("none"));
        assert_eq!(run(&mock, &client(), &plan(&["f"]), &|| false).unwrap().differing, 1);
    }

    #[test]
    fn the_pick_comes_from_the_listing_and_repeats_with_its_seed() {
        let names: Vec<String> = (0..50).map(|n| format!(r#""f{n}":{{"size":3}}"#)).collect();
        let listing = format!("{{{}}}", names.join(","));
        let listed = || Batch { elapsed: Duration::ZERO, processes: vec![Mock::success(1, &listing)], memory_floor: 0 };
        let once = || {
            let mock = Mock::new([listed(), three([got(1), got(1), got(1)])], save("none"));
            run(&mock, &client(), &plan(&[]), &|| false).unwrap().file
        };
        assert_eq!(once(), once());
    }

    #[test]
    fn nothing_listed_and_names_that_lead_out() {
        let empty = Batch { elapsed: Duration::ZERO, processes: vec![Mock::success(1, "{}")], memory_floor: 0 };
        let mock = Mock::new([empty], |_| {});
        assert!(matches!(run(&mock, &client(), &plan(&[]), &|| false), Err(BenchError::NothingListed)));
        let mock = Mock::new([], |_| {});
        assert!(matches!(run(&mock, &client(), &plan(&["../x"]), &|| false), Err(BenchError::BadName(_))));
    }
}
