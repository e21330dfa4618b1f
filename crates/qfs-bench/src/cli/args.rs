//! What can be said on the command line. Every flag has a variable `QFS_<FLAG>`; a flag beats its variable.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory as _, Parser};
use qfs_bench::crowd::MAX_PROCESSES;
use qfs_manual::Manual;

const EXAMPLES: &str = "\
Examples:
  qfs-bench                                20 clients, one random file of the server at 127.0.0.1:8000;
                                           with nobody there, a server for server_databases is started for the run
  qfs-bench -n 5 --files big.iso --seed 1  5 clients, this file
  qfs-bench --json --root data | jq .seconds
  qfs-bench run --html report.html         qfs beside every peer that is installed (see qfs-bench run --help)

Exit codes: 0 every copy verified; 1 a process failed or a copy differs; 2 usage; 130 interrupted.
The file written by --out begins with the total in seconds, alone on its line; then comes a line for each
process: 'process N: SECONDS ok|failed|differs'.";

/// Starts many qfs clients at once, all after the same file, and verifies every copy.
#[derive(Debug, Parser)]
#[command(name = "qfs-bench", version, after_help = EXAMPLES, max_term_width = 120)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) crowd: CrowdArgs,
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What else can be done.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Measure scenarios, qfs and its peers in turns
    Run(RunArgs),
    /// Draw what was measured before
    Draw(DrawArgs),
    #[command(flatten)]
    Manual(Manual),
}

const DRAW_EXAMPLES: &str = "\
Examples:
  The picture of the README, from the figures kept beside it:
    qfs-bench draw docs/performance.json --svg docs/performance.svg
  The same from new results, whose figures are kept:
    qfs-bench draw target/performance/*.json --data docs/performance.json --svg docs/performance.svg";

/// The picture of the documentation: for each scenario, the time of every program over that of qfs.
#[derive(Debug, clap::Args)]
#[command(after_help = DRAW_EXAMPLES)]
pub(crate) struct DrawArgs {
    /// What `run --json` printed, or what --data wrote
    #[arg(required = true, value_name = "FILE")]
    pub(crate) results: Vec<PathBuf>,

    /// Where the picture goes; without it, stdout
    #[arg(long, value_name = "FILE", env = "QFS_SVG")]
    pub(crate) svg: Option<PathBuf>,

    /// Write the figures drawn to one JSON file, too, from which the picture can be drawn again
    #[arg(long, value_name = "FILE", env = "QFS_DATA")]
    pub(crate) data: Option<PathBuf>,
}

const RUN_EXAMPLES: &str = "\
Examples:
  qfs-bench run --scale quick                    everything on loopback, small: does it all work?
  qfs-bench run bulk small --peers curl,rsync    two scenarios, two peers
  qfs-bench run wan --runs 3                     emulated long links (needs root)
  qfs-bench run bulk --variant 'qfs-cubic=--congestion cubic' --peers none
  qfs-bench run bulk --variant 'qfs-dense=client:--no-sparse' --peers none
  qfs-bench run bulk --variant 'qfs-blake3=client:--hash=blake3' --peers curl
  qfs-bench run bulk small --build before=../old/target/release --peers none
  qfs-bench run --html report.html --json > report.json
  qfs-bench run bulk --markdown bulk.md --goals goals.md --commit 1a2b3c4

Scenarios: bulk small again swarm resume update insert list latency (these run when none is named),
           pull push pull-again push-again pull-changed push-changed put put-swarm (together: sync);
           small-far small-far-again wan-clean wan-lossy wan-shallow wan-long wan-again wan-long-again put-lossy put-long
           update-far insert-far other-far (together: wan); all
Peers:     curl curl-from-qfs curl-from-dufs curl+sha256sum curl+b3sum curl-bbr rsync rsync-ssh scp aria2c
           qcp sendme rclone zsync cp qfs-cubic qfs-bbr

Every scenario makes its own data. What is not installed is left out and said so. Figures are medians of rounds in
turns, and ratios pair by pair. Exit codes: 0 every run did its work; 1 one did not; 2 usage; 130 interrupted.";

/// The suite: scenarios, with peers in turns.
#[derive(Debug, clap::Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct RunArgs {
    /// Scenarios to measure; without any, all on loopback
    pub(crate) scenario: Vec<String>,

    /// Programs beside qfs: auto, none, or names
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "auto", env = "QFS_PEERS")]
    pub(crate) peers: Vec<String>,

    /// Rounds that count, after one that does not
    #[arg(long, value_name = "N", default_value_t = 7, env = "QFS_RUNS", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) runs: u32,

    /// How much work a scenario is
    #[arg(long, value_enum, default_value_t = ScaleArg::Full, env = "QFS_SCALE")]
    pub(crate) scale: ScaleArg,

    /// One more kind of qfs: its name, and arguments for both its programs, or with client: or server: in front for one (repeatable)
    #[arg(long, value_name = "NAME=ARGS", env = "QFS_VARIANT", value_parser = variant)]
    pub(crate) variant: Vec<(String, Vec<String>)>,

    /// Another build of qfs in turns with this one: its name, and the directory of its programs (repeatable)
    #[arg(long, value_name = "NAME=DIR", env = "QFS_BUILD", value_parser = build)]
    pub(crate) build: Vec<(String, PathBuf)>,

    /// Write the report as one HTML file, too
    #[arg(long, value_name = "FILE", env = "QFS_HTML")]
    pub(crate) html: Option<PathBuf>,

    /// Draw the ratios as one SVG file, too (see qfs-bench draw --help)
    #[arg(long, value_name = "FILE", env = "QFS_SVG")]
    pub(crate) svg: Option<PathBuf>,

    /// Write the tables as Markdown, too, with command, commit, machine and day
    #[arg(long, value_name = "FILE", env = "QFS_MARKDOWN")]
    pub(crate) markdown: Option<PathBuf>,

    /// Write which of the project's goals were reached, as a table in Markdown
    #[arg(long, value_name = "FILE", env = "QFS_GOALS")]
    pub(crate) goals: Option<PathBuf>,

    /// The commit that is measured, for the reports
    #[arg(long, value_name = "NAME", env = "QFS_COMMIT")]
    pub(crate) commit: Option<String>,

    /// The link emulator, found like --client-bin
    #[arg(long, value_name = "PATH", env = "QFS_WAN_BIN")]
    pub(crate) wan_bin: Option<PathBuf>,

    /// Keep data sets and configurations, and say where they are
    #[arg(long, env = "QFS_KEEP", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    pub(crate) keep: bool,
}

/// See [`qfs_bench::scenario::Scale`].
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum ScaleArg {
    /// A minute or two in all: whether everything works
    Quick,
    /// The sizes of the documentation
    Full,
}

/// `NAME=ARG ARG …`, where `client:ARG` and `server:ARG` are for one of the programs.
fn variant(text: &str) -> Result<(String, Vec<String>), String> {
    let (name, arguments) = text.split_once('=').ok_or("expected NAME=ARGS")?;
    Ok((contender(name)?, arguments.split_whitespace().map(str::to_owned).collect()))
}

/// `NAME=DIR`. The directory has to contain both programs.
fn build(text: &str) -> Result<(String, PathBuf), String> {
    let (name, directory) = text.split_once('=').ok_or("expected NAME=DIR")?;
    let directory = PathBuf::from(directory);
    match ["qfs-client", "qfs-server"].iter().find(|program| !directory.join(program).is_file()) {
        Some(program) => Err(format!("there is no {program} in {}", directory.display())),
        None => Ok((contender(name)?, directory)),
    }
}

/// The name of a kind of qfs; it becomes part of a path.
fn contender(name: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_+.".contains(c);
    if name.is_empty() || name == "qfs" || name.starts_with('.') || !name.chars().all(plain) {
        return Err("the name has to be of letters, digits and -_+., and not qfs".to_owned());
    }
    Ok(name.to_owned())
}

/// The crowd: N clients, one file.
#[derive(Debug, clap::Args)]
pub(crate) struct CrowdArgs {
    /// Client processes to start at once
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, env = "QFS_PROCESSES",
        value_parser = clap::value_parser!(u16).range(1..=MAX_PROCESSES as i64))]
    pub(crate) processes: u16,

    /// Address or host name of the server
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1", env = "QFS_IP")]
    pub(crate) ip: String,

    /// UDP port of the server
    #[arg(long, value_name = "N", default_value_t = 8000, env = "QFS_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,

    /// A ticket, instead of --ip and --port
    #[arg(long, value_name = "TICKET", env = "QFS_SERVER", hide_env_values = true)]
    pub(crate) server: Option<String>,

    /// The key the server must have, handed to the clients
    #[arg(long, value_name = "sha256:HEX", env = "QFS_FINGERPRINT")]
    pub(crate) fingerprint: Option<String>,

    /// Let the clients trust a server they do not know yet
    #[arg(long, env = "QFS_ACCEPT_NEW", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    pub(crate) accept_new: bool,

    /// Files to pick one from; without it, the server's listing (in the variable: separated by commas)
    #[arg(long, value_name = "NAME", num_args = 1.., env = "QFS_FILES")]
    pub(crate) files: Vec<String>,

    /// Where the total download time is written
    #[arg(long, value_name = "FILE", default_value = "total_download_time.txt", env = "QFS_OUT")]
    pub(crate) out: PathBuf,

    /// The directory published, when a server is started for the run
    #[arg(long, value_name = "DIR", default_value = "server_databases", env = "QFS_ROOT")]
    pub(crate) root: PathBuf,

    /// Longest time the downloads may take, seconds
    #[arg(long, value_name = "S", default_value_t = 600, env = "QFS_TIMEOUT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) timeout: u32,
}

/// What all commands understand.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// Makes everything random repeatable
    #[arg(long, global = true, value_name = "N", env = "QFS_SEED")]
    pub(crate) seed: Option<u64>,

    /// Print the result as one JSON object
    #[arg(long, global = true, env = "QFS_JSON", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    pub(crate) json: bool,

    /// The client to measure; without it, the one beside this program, then the one on PATH
    #[arg(long, global = true, value_name = "PATH", env = "QFS_CLIENT_BIN")]
    pub(crate) client_bin: Option<PathBuf>,

    /// The server to start, likewise
    #[arg(long, global = true, value_name = "PATH", env = "QFS_SERVER_BIN")]
    pub(crate) server_bin: Option<PathBuf>,

    /// One more argument for every client (repeatable)
    #[arg(long, global = true, value_name = "ARG", allow_hyphen_values = true, env = "QFS_CLIENT_ARG")]
    pub(crate) client_arg: Vec<OsString>,

    /// One more argument for a server that is started (repeatable)
    #[arg(long, global = true, value_name = "ARG", allow_hyphen_values = true, env = "QFS_SERVER_ARG")]
    pub(crate) server_arg: Vec<OsString>,

    /// Where copies and data sets are put, in a temporary directory; without it, the system's place for such
    #[arg(long, global = true, value_name = "DIR", env = "QFS_WORK_DIR")]
    pub(crate) work_dir: Option<PathBuf>,

    /// Say nothing but results and errors
    #[arg(short, long, global = true, env = "QFS_QUIET", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    pub(crate) quiet: bool,

    /// Say more, on stderr (repeatable; RUST_LOG is honoured)
    #[arg(short, long, global = true, env = "QFS_VERBOSE", action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl Args {
    /// A list that came from a variable is one text with commas; on the command line names stay whole.
    pub(crate) fn with_split_variables(mut self, matches: &ArgMatches) -> Self {
        if matches.value_source("files") == Some(ValueSource::EnvVariable) {
            let names = self.crowd.files.iter().flat_map(|text| text.split(','));
            self.crowd.files = names.map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        }
        self
    }
}

impl Common {
    /// Where temporary directories are made.
    pub(crate) fn work_dir(&self) -> PathBuf {
        self.work_dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}

/// The variables of the bench's own flags: what was said to the bench was not said to the programs it starts.
pub(crate) fn own_variables() -> Vec<OsString> {
    let command = Args::command();
    let commands = std::iter::once(&command).chain(command.get_subcommands());
    commands.flat_map(clap::Command::get_arguments).filter_map(|arg| arg.get_env().map(OsString::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_variable() {
        let command = Args::command();
        let commands = std::iter::once(&command).chain(command.get_subcommands());
        for arg in commands.flat_map(clap::Command::get_arguments) {
            let Some(long) = arg.get_long().filter(|long| !["help", "version"].contains(long)) else { continue };
            let expected = format!("QFS_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(expected.as_str()));
        }
    }

    #[test]
    fn files_take_many_names() {
        let args = Args::try_parse_from(["qfs-bench", "-n", "3", "--files", "a", "b,c", "--json"]).unwrap();
        assert_eq!(args.crowd.files, ["a", "b,c"]);
        assert!(args.common.json);
        assert!(Args::try_parse_from(["qfs-bench", "-n", "0"]).is_err());
    }

    #[test]
    fn variants_have_a_name_and_arguments() {
        assert_eq!(variant("a=--mtu 1452"), Ok(("a".to_owned(), vec!["--mtu".to_owned(), "1452".to_owned()])));
        for text in ["a", "=x", "qfs=x", "a/b=x", "..=x"] {
            assert!(variant(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_build_has_a_name_and_a_directory_with_both_programs() {
        let directory = tempfile::tempdir().unwrap();
        let text = format!("before={}", directory.path().display());
        std::fs::write(directory.path().join("qfs-client"), "").unwrap();
        assert!(build(&text).is_err_and(|error| error.contains("no qfs-server")));
        std::fs::write(directory.path().join("qfs-server"), "").unwrap();
        assert_eq!(build(&text), Ok(("before".to_owned(), directory.path().to_owned())));
        assert!(build("before").is_err());
        assert!(build(&text.replace("before", "a/b")).is_err());
    }

    #[test]
    fn the_help_names_all_scenarios_and_peers() {
        let scenarios = qfs_bench::scenario::Scenario::all(qfs_bench::scenario::Scale::Full);
        let names = scenarios.iter().map(|s| s.name).chain(qfs_bench::peers::ALL.iter().map(|peer| peer.name));
        for name in names {
            assert!(
                RUN_EXAMPLES.split_whitespace().any(|word| word.trim_matches(['(', ')', ',', ';']) == name),
                "{name}"
            );
        }
    }
}
