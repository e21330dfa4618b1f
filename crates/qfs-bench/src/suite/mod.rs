//! Runs the scenarios. All contenders take turns (A B C A B C …), so that what the machine does meanwhile affects all
//! of them equally.
//!
//! A run has a fresh destination, which is made before the timed part and removed after it. The first round is a
//! warm-up: it is not counted, but its copies are read back completely. Of later rounds, the files and bytes of the
//! copies are counted.

mod turn;
mod watch;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::BenchError;
use crate::dataset::{DataSet, Shape};
use crate::host::Host;
use crate::peers::{Ends, Entry, Ours, OursSpec, Peer, PeerError, Place, Started};
use crate::process::{ProcessError, Supervisor};
use crate::results::{Absent, BASELINE, Contender, Results, Sample, ScenarioResults, Summary};
use crate::runner::Runner;
use crate::scenario::{Scale, Scenario};
use crate::wan::Wan;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// Scenarios, in the order in which they run.
    pub scenarios: Vec<Scenario>,
    /// Programs beside qfs.
    pub peers: Vec<Entry>,
    /// More kinds of qfs: a name, and arguments for both its programs.
    pub variants: Vec<(String, Vec<String>)>,
    /// More builds of qfs: a name, and the directory of both programs.
    pub builds: Vec<(String, PathBuf)>,
    /// Rounds that count.
    pub runs: u32,
    /// Seed of data sets and links.
    pub seed: u64,
    /// How much work a scenario is; for the report.
    pub scale: Scale,
}

/// The instruments and programs of a measurement.
pub struct Bench<'a> {
    /// Runs the clients.
    pub runner: &'a dyn Runner,
    /// Watches over the servers.
    pub supervisor: &'a Supervisor,
    /// The programs of this project.
    pub ours: &'a OursSpec,
    /// An empty directory for everything.
    pub work: &'a Path,
    /// Is told what is being done.
    pub progress: &'a dyn Fn(&str),
}

/// A program set up for one scenario.
struct Turn {
    name: String,
    peer: Box<dyn Peer>,
    /// It comes after the peer, so that it outlives the peer's processes.
    link: Option<Wan>,
    /// Where its copies go.
    copies: PathBuf,
    /// How long a whole fetch took in the warm-up.
    whole: Duration,
    command: String,
    samples: Vec<Sample>,
}

impl Bench<'_> {
    /// Measures everything.
    ///
    /// # Errors
    /// When data sets cannot be made, or the bench is told to stop. A contender that fails is a result.
    pub fn run(&self, options: &Options) -> Result<Results, BenchError> {
        let started = jiff::Timestamp::now().to_string();
        let mut data = HashMap::new();
        let mut scenarios = Vec::new();
        for scenario in &options.scenarios {
            (self.progress)(&format!("{}: {}", scenario.name, scenario.about));
            let data = match data.entry(scenario.shape) {
                std::collections::hash_map::Entry::Occupied(there) => there.into_mut(),
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert(self.make_data(scenario.shape, options.seed)?)
                }
            };
            scenarios.push(self.measure(scenario, data, options)?);
        }
        Ok(Results {
            version: env!("CARGO_PKG_VERSION"),
            started,
            host: Host::describe(self.work),
            scale: if options.scale == Scale::Full { "full" } else { "quick" },
            runs: options.runs,
            commit: None,
            seed: options.seed,
            scenarios,
        })
    }

    fn make_data(&self, shape: Shape, seed: u64) -> Result<DataSet, BenchError> {
        let root = self.work.join(format!("data-{}x{}", shape.files, shape.file_bytes));
        DataSet::make(&root, shape, seed, &|| self.supervisor.stopped()).map_err(BenchError::local("create", root))
    }

    fn measure(&self, scenario: &Scenario, data: &DataSet, options: &Options) -> Result<ScenarioResults, BenchError> {
        let mut results = ScenarioResults::new(scenario);
        let home = self.work.join(scenario.name);
        fs::create_dir(&home).map_err(BenchError::local("create", &home))?;
        let mut turns = self.set_up(scenario, data, options, &home, &mut results.absent)?;
        let mut ready = Vec::new();
        for mut turn in turns.drain(..) {
            match self.warm_up(scenario, data, &mut turn)? {
                None => ready.push(turn),
                Some(reason) => results.absent.push(self.absence(&turn.name, reason)),
            }
        }
        for round in 1..=options.runs {
            let mut line = format!("  round {round} of {}:", options.runs);
            for number in order(ready.len(), round) {
                let turn = &mut ready[number];
                let sample = self.sample(scenario, data, turn)?;
                line.push_str(&match &sample.error {
                    None => format!(" {} {:.3}{}", turn.name, sample.seconds, if sample.cut_off { "+" } else { "" }),
                    Some(error) => format!(" {} FAILED ({error})", turn.name),
                });
                turn.samples.push(sample);
            }
            (self.progress)(&line);
        }
        results.contenders = ready.into_iter().map(|turn| self.retire(turn)).collect();
        results.summarise();
        fs::remove_dir_all(&home).map_err(BenchError::local("remove", &home))?;
        Ok(results)
    }

    /// Starts every program that can take part.
    fn set_up(
        &self,
        scenario: &Scenario,
        data: &DataSet,
        options: &Options,
        home: &Path,
        absent: &mut Vec<Absent>,
    ) -> Result<Vec<Turn>, BenchError> {
        let ours = |spec: OursSpec, arguments: Vec<String>| -> Box<dyn Fn(&Place<'_>) -> Started> {
            Box::new(move |place| {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                Ok(Box::new(Ours::start(place, &spec, &arguments)?))
            })
        };
        let mut list = vec![(BASELINE.to_owned(), ours(self.ours.clone(), Vec::new()))];
        for (name, directory) in &options.builds {
            list.push((name.clone(), ours(self.ours.built_in(directory), Vec::new())));
        }
        for (name, arguments) in &options.variants {
            list.push((name.clone(), ours(self.ours.clone(), arguments.clone())));
        }
        for entry in options.peers.iter().filter(|entry| (entry.can)(scenario)) {
            list.push((entry.name.to_owned(), Box::new(entry.start)));
        }
        let mut turns = Vec::new();
        for (name, start) in list {
            match self.start(scenario, data, options.seed, home.join(&name), &start) {
                Ok((peer, link)) => turns.push(Turn {
                    // Where a server that is written to can reach it.
                    copies: home.join(&name).join("copies"),
                    name,
                    peer,
                    link,
                    whole: Duration::ZERO,
                    command: String::new(),
                    samples: Vec::new(),
                }),
                Err(PeerError::Process(ProcessError::Interrupted)) => return Err(ProcessError::Interrupted.into()),
                Err(error) => absent.push(self.absence(&name, error.to_string())),
            }
        }
        Ok(turns)
    }

    fn start(
        &self,
        scenario: &Scenario,
        data: &DataSet,
        seed: u64,
        home: PathBuf,
        start: &dyn Fn(&Place<'_>) -> Started,
    ) -> Result<(Box<dyn Peer>, Option<Wan>), PeerError> {
        fs::create_dir(&home)?;
        let link = match scenario.link {
            None => None,
            Some(link) => {
                let program = self.ours.wan.as_deref().ok_or(PeerError::Missing("qfs-wan"))?;
                Some(Wan::start(self.supervisor, program, link, seed)?)
            }
        };
        let loopback = Ends::loopback();
        let ends = link.as_ref().map_or(&loopback, Wan::ends);
        let peer = start(&Place {
            supervisor: self.supervisor,
            data,
            home,
            task: scenario.task,
            ends,
            link: scenario.link,
            tcp: "cubic",
            ours: self.ours,
        })?;
        Ok((peer, link))
    }

    fn absence(&self, name: &str, reason: String) -> Absent {
        (self.progress)(&format!("  without {name}: {reason}"));
        Absent { name: name.to_owned(), reason }
    }

    /// Stops the peer and removes its link.
    fn retire(&self, turn: Turn) -> Contender {
        let about = turn.peer.about();
        drop(turn.peer);
        Contender {
            name: turn.name,
            about,
            command: turn.command.replace(&*self.work.to_string_lossy(), "WORK"),
            samples: turn.samples,
            summary: Summary::default(),
            traffic: turn.link.and_then(Wan::finish),
        }
    }
}

/// The order in which `contenders` run in a `round`: a row of a Williams square. A run finds caches as the one before it left them, so
/// nobody runs always in the same place or always after the same other. Of an even number, each runs once in each place and once after
/// each other in as many rounds as there are contenders; of an odd number, the first of these holds.
fn order(contenders: usize, round: u32) -> impl Iterator<Item = usize> {
    (0..contenders).map(move |place| {
        let ahead = if place % 2 == 1 { place.div_ceil(2) } else { contenders - place / 2 };
        (ahead + round as usize) % contenders
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::peers::Job;
    use crate::process::{Daemon, Invocation};
    use crate::runner::{Batch, Exit, Finished, Mock};

    #[derive(Debug)]
    struct Copier(&'static str);

    impl Peer for Copier {
        fn about(&self) -> String {
            "copies".into()
        }

        fn command(&self, job: &Job<'_>) -> Invocation {
            Invocation::new(self.0).arg(job.data.root.join(job.data.shape.name(0))).arg(job.dest)
        }

        fn daemon(&self) -> Option<&Daemon> {
            None
        }
    }

    fn started(name: &'static str) -> Entry {
        let start: fn(&Place<'_>) -> Started = match name {
            "good" => |_| Ok(Box::new(Copier("good"))),
            "bad" => |_| Ok(Box::new(Copier("bad"))),
            _ => |_| Err(PeerError::Missing("it")),
        };
        Entry { name, can: |_| true, start }
    }

    /// `good` copies; `bad` changes what it copies.
    fn act(invocation: &Invocation) {
        let [source, dest] = invocation.arguments() else { return };
        let source = Path::new(source);
        let target = Path::new(dest).join(source.file_name().unwrap());
        fs::copy(source, &target).unwrap();
        if invocation.program() == Path::new("bad") {
            fs::write(target, "other").unwrap();
        }
    }

    fn nothing_of_ours() -> OursSpec {
        let nowhere = || PathBuf::from("/nowhere");
        OursSpec {
            client: nowhere(),
            server: nowhere(),
            wan: None,
            client_args: vec![],
            server_args: vec![],
            without_env: vec![],
        }
    }

    fn options(name: &str, peers: Vec<Entry>, runs: u32) -> Options {
        let shape = Shape { files: 1, file_bytes: 1000, directories: 0 };
        let scenario = Scenario { shape, ..Scenario::select(&[name.into()], Scale::Quick).unwrap().remove(0) };
        Options {
            scenarios: vec![scenario],
            peers,
            variants: vec![],
            builds: vec![],
            runs,
            seed: 1,
            scale: Scale::Quick,
        }
    }

    fn one(ms: u64, exit: Exit) -> Batch {
        let processes = vec![Finished { exit, ..Mock::success(ms, "") }];
        Batch { elapsed: Duration::from_millis(ms), processes, memory_floor: 5 }
    }

    #[test]
    fn a_fetch_that_ended_before_it_was_cut_off_is_not_resumed() {
        let work = tempfile::tempdir().unwrap();
        // The warm-up, a first attempt that was too fast, one that was cut off, and the rest of it. Then six attempts
        // that are too fast.
        let script = [(40, 0), (9, 0), (4, 9), (7, 0)].into_iter().chain([(9, 0); 6]);
        let exit = |code| if code == 9 { Exit::TimedOut } else { Exit::Code(code) };
        let runner = Mock::new(script.map(|(ms, code)| one(ms, exit(code))), act);
        let (supervisor, ours) = (Supervisor::default(), nothing_of_ours());
        let bench =
            Bench { runner: &runner, supervisor: &supervisor, ours: &ours, work: work.path(), progress: &|_| {} };
        let results = bench.run(&options("resume", vec![started("good")], 2)).unwrap();
        let samples = &results.scenarios[0].contenders[0].samples;
        assert!((samples[0].seconds - 0.007).abs() < 1e-9 && samples[0].kept_bytes.is_some());
        assert!(samples[1].error.as_deref().unwrap().contains("too fast"));
    }

    #[test]
    fn nobody_runs_always_in_the_same_place_or_after_the_same_other() {
        for contenders in 1..12 {
            let mut places = std::collections::HashSet::new();
            let mut pairs = std::collections::HashSet::new();
            for round in (1..).take(contenders) {
                let row: Vec<usize> = order(contenders, round).collect();
                places.extend(row.iter().copied().enumerate());
                pairs.extend(row.windows(2).map(|pair| (pair[0], pair[1])));
            }
            assert_eq!(places.len(), contenders * contenders);
            if contenders % 2 == 0 {
                assert_eq!(pairs.len(), contenders * (contenders - 1));
            }
        }
        assert_eq!((order(2, 1).collect::<Vec<_>>(), order(2, 2).collect::<Vec<_>>()), (vec![1, 0], vec![0, 1]));
    }

    #[test]
    fn contenders_take_turns_and_the_bad_one_is_shown_out() {
        let work = tempfile::tempdir().unwrap();
        // Warm-ups of good and bad, then three rounds of good alone.
        let runner = Mock::new([1, 1, 10, 30, 20].map(|ms| one(ms, Exit::Code(0))), act);
        let said = RefCell::new(Vec::new());
        let none = nothing_of_ours();
        let bench = Bench {
            runner: &runner,
            supervisor: &Supervisor::default(),
            ours: &none,
            work: work.path(),
            progress: &|line| said.borrow_mut().push(line.to_owned()),
        };
        let options = options("latency", vec![started("good"), started("bad"), started("gone")], 3);
        let results = bench.run(&options).unwrap();
        let table = &results.scenarios[0];
        let names: Vec<&str> = table.contenders.iter().map(|contender| contender.name.as_str()).collect();
        assert_eq!(names, ["good"]);
        assert!((table.contenders[0].summary.seconds.unwrap().median - 0.02).abs() < 1e-9);
        let absent: Vec<&str> = table.absent.iter().map(|absent| absent.name.as_str()).collect();
        assert_eq!(absent, ["qfs", "gone", "bad"]);
        assert!(!results.is_sound(), "without qfs there is nothing to compare with");
        assert!(said.borrow().iter().any(|line| line.contains("round 3 of 3: good 0.020")));
        // The data set is kept for other scenarios; everything else is gone.
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 1);
    }
}
