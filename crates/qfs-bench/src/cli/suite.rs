//! The command `run`: the suite.

use std::path::Path;

use qfs_bench::BenchError;
use qfs_bench::figures::Figures;
use qfs_bench::goals::goals;
use qfs_bench::peers::{self, OursSpec};
use qfs_bench::process::{Supervisor, find_program};
use qfs_bench::report;
use qfs_bench::report::markdown::Origin;
use qfs_bench::results::Results;
use qfs_bench::runner::Processes;
use qfs_bench::scenario::{Scale, Scenario};
use qfs_bench::suite::{Bench, Options};
use tempfile::TempDir;

use super::args::{Common, RunArgs, ScaleArg, own_variables};
use super::output::{notice, result};

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
        builds: args.build.clone(),
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
    let results = Results { commit: args.commit.clone(), ..results? };
    write(args, &results, |path| {
        notice(common, &format!("a report is in {}", report::escape(&path.to_string_lossy())));
    })?;
    result(&if common.json { report::json(&results) } else { report::text::text(&results) })?;
    Ok(results.is_sound())
}

/// Writes the reports that go into files, and says so for each.
fn write(args: &RunArgs, results: &Results, said: impl Fn(&Path)) -> Result<(), BenchError> {
    let mut reports = Vec::new();
    if let Some(path) = &args.html {
        reports.push((path, report::html::html(results)));
    }
    if let Some(path) = &args.markdown {
        let origin = Origin { command: own_command(), commit: args.commit.clone() };
        reports.push((path, report::markdown::markdown(results, &origin)));
    }
    if let Some(path) = &args.goals {
        reports.push((path, report::markdown::goals_table(&goals(results))));
    }
    if let Some(path) = &args.svg {
        reports.push((path, report::picture::picture(&[Figures::of(results)])));
    }
    for (path, text) in reports {
        std::fs::write(path, text).map_err(|source| BenchError::Local {
            doing: "write",
            path: path.clone(),
            source,
        })?;
        said(path);
    }
    Ok(())
}

/// The command line of this run, without the options that only say where things are.
fn own_command() -> String {
    const PLACES: [&str; 9] = [
        "--markdown",
        "--goals",
        "--html",
        "--svg",
        "--commit",
        "--client-bin",
        "--server-bin",
        "--wan-bin",
        "--work-dir",
    ];
    let mut words = vec!["qfs-bench".to_owned()];
    let mut arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    while let Some(argument) = arguments.next() {
        if PLACES.contains(&argument.as_str()) {
            arguments.next();
        } else if argument == "--build" {
            let name = arguments.next().unwrap_or_default();
            words.push(format!("--build {}=DIR", name.split('=').next().unwrap_or_default()));
        } else if !PLACES.iter().any(|place| argument.starts_with(&format!("{place}="))) && argument != "--json" {
            words.push(if argument.contains(' ') { format!("'{argument}'") } else { argument });
        }
    }
    report::escape(&words.join(" "))
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
