//! The kinds of work that people give such programs, as data.

use std::time::Duration;

use serde::Serialize;

use crate::BenchError;
use crate::dataset::Shape;
use crate::older::{Change, INSERTED_BYTES, PLACES};

/// One kind of work.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// How it is called on the command line and in reports.
    pub name: &'static str,
    /// One sentence for a reader of the report.
    pub about: String,
    /// What a run does.
    pub task: Task,
    /// The data set that it uses.
    pub shape: Shape,
    /// Processes at once.
    pub processes: usize,
    /// The link between the ends; `None` is loopback.
    pub link: Option<Link>,
    /// Longest time of one run.
    pub limit: Duration,
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Fetches the data set into an empty directory.
    Fetch,
    /// Fetches it again where it already is, with nothing changed.
    Again,
    /// Fetches it into an empty directory from a server from which the same user has fetched before.
    Known,
    /// Fetches it where half of an earlier fetch was cut off.
    Resume,
    /// Fetches it where an older version is.
    Update(Change),
    /// Lists it.
    List,
    /// Makes a directory here like it (`pull`), which is in this state before.
    Pull(Before),
    /// Makes a directory at the server like it (`push`), which is in this state before.
    Push(Before),
    /// Uploads it into an empty directory.
    Put,
}

/// The state of a copy before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// There is none.
    Nothing,
    /// It is whole.
    Same,
    /// One file in a hundred is another.
    Changed,
}

impl Task {
    /// Whether the server is written to.
    #[must_use]
    pub fn is_upload(self) -> bool {
        matches!(self, Self::Push(_) | Self::Put)
    }

    /// Whether a run needs the copy of an earlier one.
    #[must_use]
    pub fn needs_copy(self) -> bool {
        matches!(
            self,
            Self::Again | Self::Pull(Before::Same | Before::Changed) | Self::Push(Before::Same | Before::Changed)
        )
    }

    /// What makes the copy that it needs, or into an empty place it itself.
    #[must_use]
    pub fn first(self) -> Self {
        match self {
            Self::Again => Self::Fetch,
            Self::Pull(_) => Self::Pull(Before::Nothing),
            Self::Push(_) => Self::Push(Before::Nothing),
            task => task,
        }
    }

    /// Whether files are changed before each run.
    #[must_use]
    pub fn begins_with_changes(self) -> bool {
        matches!(self, Self::Pull(Before::Changed) | Self::Push(Before::Changed))
    }
}

/// An emulated long-distance link, the same in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Link {
    /// Rate, Mbit/s.
    pub rate: f64,
    /// One-way delay, milliseconds.
    pub delay: f64,
    /// Packets lost at random, percent.
    pub loss: f64,
    /// Queue before the bottleneck, kilobytes.
    pub queue: f64,
}

/// How much work a scenario is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// A minute or two in all, to see whether everything works.
    Quick,
    /// The figures of the documentation.
    Full,
}

const MB: u64 = 1_000_000;
const MIB: u64 = 1 << 20;

/// The links of the documentation: name, link, megabytes fetched.
const LINKS: [(&str, Link, u64); 4] = [
    ("wan-clean", Link { rate: 200.0, delay: 50.0, loss: 0.0, queue: 2500.0 }, 100),
    ("wan-lossy", Link { rate: 200.0, delay: 50.0, loss: 1.0, queue: 2500.0 }, 100),
    ("wan-shallow", Link { rate: 200.0, delay: 50.0, loss: 1.0, queue: 250.0 }, 100),
    ("wan-long", Link { rate: 500.0, delay: 100.0, loss: 0.1, queue: 12500.0 }, 1000),
];

/// The same of a path that is known.
const KNOWN_LINKS: [(&str, Link, u64); 2] = [
    ("wan-again", Link { rate: 200.0, delay: 50.0, loss: 1.0, queue: 2500.0 }, 100),
    ("wan-long-again", Link { rate: 500.0, delay: 100.0, loss: 0.1, queue: 12500.0 }, 100),
];

/// Links over which a file is uploaded: those of the same ending.
const UPLOAD_LINKS: [(&str, Link, u64); 2] = [
    ("put-lossy", Link { rate: 200.0, delay: 50.0, loss: 1.0, queue: 2500.0 }, 100),
    ("put-long", Link { rate: 500.0, delay: 100.0, loss: 0.1, queue: 12500.0 }, 1000),
];

/// The link over which many small files are fetched.
const SMALL_LINK: Link = Link { rate: 200.0, delay: 50.0, loss: 1.0, queue: 2500.0 };

/// A link on which it matters to fetch only what changed.
const MODEST: Link = Link { rate: 100.0, delay: 10.0, loss: 0.0, queue: 500.0 };

/// Changes that are fetched over it: name, change, megabytes of the file.
const CHANGES: [(&str, Change, u64); 3] = [
    ("update-far", Change::Scattered, 1000),
    ("insert-far", Change::Inserted, 1000),
    ("other-far", Change::Everything, 250),
];

impl Scenario {
    /// All scenarios, in the order in which they run.
    #[must_use]
    pub fn all(scale: Scale) -> Vec<Self> {
        let full = scale == Scale::Full;
        let big = Shape { files: 1, file_bytes: if full { 1024 * MIB } else { 64 * MIB }, directories: 0 };
        let many = if full { (10_000, 100) } else { (1_000, 10) };
        let small = Shape { files: many.0, file_bytes: 4096, directories: many.1 };
        let (crowd, crowd_bytes) = if full { (20, 100 * MB) } else { (5, 10 * MB) };
        let (one, shared) = (1024, Shape { files: 1, file_bytes: crowd_bytes, directories: 0 });
        let tiny = Shape { files: 1, file_bytes: one, directories: 0 };
        let plain = |name, about: String, task, shape| Self {
            name,
            about,
            task,
            shape,
            processes: 1,
            link: None,
            limit: Duration::from_secs(300),
        };
        let (big_text, many_text) = (
            format!("One file of {} MiB", big.file_bytes / MIB),
            format!("{} files of 4 KiB in {} directories", many.0, many.1),
        );
        let mut all = vec![
            plain("bulk", format!("{big_text}, into an empty directory."), Task::Fetch, big),
            plain("small", format!("{many_text}, into an empty directory."), Task::Fetch, small),
            plain("again", format!("{many_text}, fetched again with nothing changed."), Task::Again, small),
            Self {
                processes: crowd,
                ..plain(
                    "swarm",
                    format!("{crowd} processes at once, one file of {} MB.", crowd_bytes / MB),
                    Task::Fetch,
                    shared,
                )
            },
            plain(
                "resume",
                format!("{big_text}, the rest of it after the first attempt was killed half-way."),
                Task::Resume,
                big,
            ),
            plain(
                "update",
                format!("{big_text}, where a version is of which one percent in {PLACES} places is another."),
                Task::Update(Change::Scattered),
                big,
            ),
            plain(
                "insert",
                format!("{big_text}, where it is without its first {} MiB.", INSERTED_BYTES / MIB),
                Task::Update(Change::Inserted),
                big,
            ),
            plain("list", format!("The listing of {many_text}."), Task::List, small),
            plain(
                "latency",
                "One file of 1 KiB: what a call costs before any byte moves.".to_owned(),
                Task::Fetch,
                tiny,
            ),
        ];
        let states = [(Before::Nothing, ""), (Before::Same, "-again"), (Before::Changed, "-changed")];
        for (before, ending) in states {
            let how = match before {
                Before::Nothing => "into an empty directory",
                Before::Same => "where nothing changed",
                Before::Changed => "where one in a hundred changed",
            };
            for (verb, task) in [("pull", Task::Pull(before)), ("push", Task::Push(before))] {
                let name = match (verb, ending) {
                    ("pull", "") => "pull",
                    ("pull", "-again") => "pull-again",
                    ("pull", _) => "pull-changed",
                    (_, "") => "push",
                    (_, "-again") => "push-again",
                    _ => "push-changed",
                };
                all.push(plain(name, format!("{many_text}, `{verb}` {how}."), task, small));
            }
        }
        all.push(plain("put", format!("{big_text}, uploaded."), Task::Put, big));
        all.push(Self {
            processes: crowd,
            ..plain(
                "put-swarm",
                format!("{crowd} processes at once, each uploads a file of {} MB.", crowd_bytes / MB),
                Task::Put,
                shared,
            )
        });
        all.extend([("small-far", Task::Fetch), ("small-far-again", Task::Known)].map(|(name, task)| Self {
            link: Some(SMALL_LINK),
            ..plain(name, about_link(SMALL_LINK, &many_text, task), task, small)
        }));
        let links = LINKS.map(|link| (link, Task::Fetch)).into_iter();
        let links = links.chain(KNOWN_LINKS.map(|link| (link, Task::Known)));
        let links = links.chain(UPLOAD_LINKS.map(|link| (link, Task::Put)));
        all.extend(links.map(|((name, link, megabytes), task)| Self {
            link: Some(link),
            limit: Duration::from_secs(if full { 240 } else { 60 }),
            ..plain(
                name,
                about_link(link, &one_file(if full { megabytes } else { megabytes / 10 }), task),
                task,
                Shape { files: 1, file_bytes: if full { megabytes } else { megabytes / 10 } * MB, directories: 0 },
            )
        }));
        all.extend(CHANGES.map(|(name, change, megabytes)| {
            let megabytes = if full { megabytes } else { 20 };
            let shape = Shape { files: 1, file_bytes: megabytes * MB, directories: 0 };
            let about = about_link(MODEST, &one_file(megabytes), Task::Update(change));
            Self { link: Some(MODEST), ..plain(name, about, Task::Update(change), shape) }
        }));
        all
    }

    /// The scenarios called `names`; without names, all on loopback in which files are fetched or listed. `sync` means those with
    /// `pull`, `push` and `put`, `wan` all with a link, and `all` every scenario.
    ///
    /// # Errors
    /// [`BenchError::Unknown`] for a name that none has.
    pub fn select(names: &[String], scale: Scale) -> Result<Vec<Self>, BenchError> {
        let all = Self::all(scale);
        if let Some(unknown) = names.iter().find(|name| !all.iter().any(|scenario| scenario.is_called(name))) {
            let known: Vec<&str> = all.iter().map(|s| s.name).chain(["sync", "wan", "all"]).collect();
            return Err(BenchError::Unknown { kind: "scenario", name: unknown.clone(), known: known.join(", ") });
        }
        let wanted = |scenario: &Self| match names {
            [] => scenario.link.is_none() && !scenario.is_sync(),
            names => names.iter().any(|name| scenario.is_called(name)),
        };
        Ok(all.into_iter().filter(wanted).collect())
    }

    fn is_called(&self, name: &str) -> bool {
        name == self.name
            || name == "all"
            || (name == "wan" && self.link.is_some())
            || (name == "sync" && self.is_sync())
    }

    fn is_sync(&self) -> bool {
        self.link.is_none() && matches!(self.task, Task::Pull(_) | Task::Push(_) | Task::Put)
    }

    /// Bytes a run moves; 0 where time, not rate, is the figure.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self.task {
            Task::Fetch | Task::Known | Task::Put if self.shape.bytes() >= MB => {
                self.shape.bytes() * self.processes as u64
            }
            _ => 0,
        }
    }
}

fn one_file(megabytes: u64) -> String {
    format!("One file of {megabytes} MB")
}

fn about_link(link: Link, what: &str, task: Task) -> String {
    let how = match task {
        Task::Known => ", from a server that was met before".to_owned(),
        Task::Put => ", uploaded".to_owned(),
        Task::Update(Change::Scattered) => format!(", of which one percent in {PLACES} places is another here"),
        Task::Update(Change::Inserted) => format!(", whose first {} MiB are missing here", INSERTED_BYTES / MIB),
        Task::Update(Change::Everything) => ", where a version is that has nothing in common with it".to_owned(),
        _ => String::new(),
    };
    format!(
        "{what} over an emulated link{how}: {} Mbit/s, {} ms round trip, {} % loss each way, a queue of {} KB.",
        link.rate,
        2.0 * link.delay,
        link.loss,
        link.queue
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(selected: &[&str]) -> Vec<&'static str> {
        let selected: Vec<String> = selected.iter().map(|&name| name.to_owned()).collect();
        Scenario::select(&selected, Scale::Quick).unwrap().iter().map(|scenario| scenario.name).collect()
    }

    #[test]
    fn scenarios_are_chosen_by_name() {
        assert_eq!(names(&[]), ["bulk", "small", "again", "swarm", "resume", "update", "insert", "list", "latency"]);
        assert_eq!(names(&["latency", "bulk"]), ["bulk", "latency"]);
        let wan = [
            "small-far",
            "small-far-again",
            "wan-clean",
            "wan-lossy",
            "wan-shallow",
            "wan-long",
            "wan-again",
            "wan-long-again",
        ];
        let more = ["put-lossy", "put-long", "update-far", "insert-far", "other-far"];
        assert_eq!(names(&["wan"]), [&wan[..], &more].concat());
        let sync = ["pull", "push", "pull-again", "push-again", "pull-changed", "push-changed", "put", "put-swarm"];
        assert_eq!(names(&["sync"]), sync);
        assert_eq!(names(&["all"]).len(), 30);
        assert!(matches!(Scenario::select(&["bulky".into()], Scale::Quick), Err(BenchError::Unknown { .. })));
    }

    #[test]
    fn the_full_scale_is_that_of_the_documentation() {
        let all = Scenario::all(Scale::Full);
        let shape = |name: &str| {
            all.iter().find(|scenario| scenario.name == name).map(|s| (s.shape.files, s.shape.bytes(), s.processes))
        };
        assert_eq!(shape("bulk"), Some((1, 1 << 30, 1)));
        assert_eq!(shape("small"), Some((10_000, 40_960_000, 1)));
        assert_eq!(shape("swarm"), Some((1, 100_000_000, 20)));
        assert_eq!(shape("wan-long"), Some((1, 1_000_000_000, 1)));
    }
}
