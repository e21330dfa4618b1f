//! `run`: the suite.

use qfs_bench::BenchError;
use qfs_bench::peers::{self, OursSpec};
use qfs_bench::process::{Supervisor, find_program};
use qfs_bench::report;
use qfs_bench::runner::Processes;
use qfs_bench::scenario::{Scale, Scenario};
use qfs_bench::suite::{Bench, Options};
use tempfile::TempDir;

use super::args::{Common, RunArgs, ScaleArg, own_variables};
use super::{notice, result};

/// Runs the suite; true when every run did its work.
pub(crate) fn run(args: &RunArgs, common: &Common, supervisor: &Supervisor) -> Result<bool, BenchError> {
    let scale = match args.scale {
        ScaleArg::Quick => Scale::Quick,
        ScaleArg::Full => Scale::Full,
    };
    let options = Options {
        scenarios: Scenario::select(&args.scenario, scale)?,
        peers: peers::select(&args.peers)?,
        variants: args.variant.clone(),
        runs: args.runs,
        seed: common.seed.unwrap_or(1),
        scale,
    };
    let ours = ours(args, common)?;
    let place = common.work_dir();
    let work = TempDir::with_prefix_in("qfs-bench-", &place).map_err(|source| BenchError::Local {
        doing: "create",
        path: place,
        source,
    })?;
    let results = Bench {
        runner: &Processes::new(supervisor.clone()),
        supervisor,
        ours: &ours,
        work: work.path(),
        progress: &|line| notice(common, line),
    }
    .run(&options);
    if args.keep {
        notice(common, &format!("data sets and configurations are in {}", work.keep().display()));
    }
    let results = results?;
    if let Some(path) = &args.html {
        std::fs::write(path, report::html::html(&results)).map_err(|source| BenchError::Local {
            doing: "write",
            path: path.clone(),
            source,
        })?;
        notice(common, &format!("the report is in {}", report::escape(&path.to_string_lossy())));
    }
    result(&if common.json { report::json(&results) } else { report::text::text(&results) })?;
    Ok(results.is_sound())
}

fn ours(args: &RunArgs, common: &Common) -> Result<OursSpec, BenchError> {
    let client = common.client_bin.clone().or_else(|| find_program("qfs-client"));
    let server = common.server_bin.clone().or_else(|| find_program("qfs-server"));
    Ok(OursSpec {
        client: client.ok_or(BenchError::NoProgram("qfs-client"))?,
        server: server.ok_or(BenchError::NoProgram("qfs-server"))?,
        wan: args.wan_bin.clone().or_else(|| find_program("qfs-wan")),
        client_args: common.client_arg.clone(),
        server_args: common.server_arg.clone(),
        without_env: own_variables(),
    })
}
