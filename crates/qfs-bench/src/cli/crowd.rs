//! The command without a name: runs the crowd.

use std::ffi::OsString;
use std::time::Duration;

use qfs_bench::BenchError;
use qfs_bench::crowd::{self, Plan, ServerUse};
use qfs_bench::process::{Supervisor, find_program};
use qfs_bench::qfs::{Address, Client, Server, ServerSpec, nobody_listens};
use qfs_bench::report;
use qfs_bench::runner::Processes;

use super::args::{Common, CrowdArgs, own_variables};
use super::output::{notice, result};

/// Runs the crowd; true when every copy is verified.
pub(crate) fn run(args: &CrowdArgs, common: &Common, supervisor: &Supervisor) -> Result<bool, BenchError> {
    let client = common.client_bin.clone().or_else(|| find_program("qfs-client"));
    let client = client.ok_or(BenchError::NoProgram("qfs-client"))?;
    let server = start_server(args, common, supervisor)?;
    let client = Client {
        program: client,
        address: match (&server, &args.server) {
            (Some(server), _) => server.address(),
            (None, Some(ticket)) => Address::Ticket(ticket.clone()),
            (None, None) => Address::At { host: args.ip.clone(), port: args.port },
        },
        extra: client_arguments(args, common),
        without_env: own_variables(),
    };
    let plan = Plan {
        processes: args.processes.into(),
        files: args.files.clone(),
        seed: common.seed.unwrap_or_else(|| fastrand::u64(..)),
        timeout: Duration::from_secs(args.timeout.into()),
        work_dir: common.work_dir(),
    };
    let runner = Processes::new(supervisor.clone());
    let before = server.as_ref().map(Server::usage);
    let mut crowd = crowd::run(&runner, &client, &plan, &|| supervisor.stopped())?;
    crowd.server = server.as_ref().zip(before).map(|(server, before)| {
        let after = server.usage();
        let cpu_seconds = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        ServerUse { cpu_seconds, peak_memory_bytes: after.peak_rss }
    });
    write_time(args, &crowd)?;
    let text = if common.json { report::json(&crowd) } else { report::crowd::text(&crowd) };
    result(&text)?;
    notice(common, &format!("the total download time is in {}", report::escape(&args.out.to_string_lossy())));
    Ok(crowd.verified)
}

/// Starts a server for the run when the address is this machine's own and nobody is there.
fn start_server(args: &CrowdArgs, common: &Common, supervisor: &Supervisor) -> Result<Option<Server>, BenchError> {
    if args.server.is_some() || args.fingerprint.is_some() || !nobody_listens(&args.ip, args.port) {
        return Ok(None);
    }
    let program = common.server_bin.clone().or_else(|| find_program("qfs-server"));
    let spec = ServerSpec {
        program: program.ok_or(BenchError::NoProgram("qfs-server"))?,
        ip: if args.ip == "localhost" { "127.0.0.1".to_owned() } else { args.ip.clone() },
        port: args.port,
        root: args.root.clone(),
        extra: common.server_arg.clone(),
        without_env: own_variables(),
        wrapper: Vec::new(),
    };
    let root = report::escape(&args.root.to_string_lossy());
    notice(common, &format!("no server at {}:{}: starting one for this run, publishing {root}", args.ip, args.port));
    Server::start(supervisor, &spec).map(Some)
}

fn client_arguments(args: &CrowdArgs, common: &Common) -> Vec<OsString> {
    let pin = args.fingerprint.iter().flat_map(|pin| ["--fingerprint".to_owned(), pin.clone()]).map(OsString::from);
    let accept = args.accept_new.then(|| OsString::from("--accept-new"));
    pin.chain(accept).chain(common.client_arg.iter().cloned()).collect()
}

fn write_time(args: &CrowdArgs, crowd: &crowd::Crowd) -> Result<(), BenchError> {
    std::fs::write(&args.out, report::crowd::time_file(crowd)).map_err(|source| BenchError::Local {
        doing: "write",
        path: args.out.clone(),
        source,
    })
}
