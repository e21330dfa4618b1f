//! Any tree is pulled, and pushed back.

use fastrand::Rng;

use super::grove::{census, change, grow};
use crate::lab::{Done, Lab};
use crate::tally::{Tally, count, seed};

/// Changes of one tree before another is made.
const CHANGES: u64 = 4;

const ALL: [&str; 3] = ["--links", "--delete", "--max-delete=100%"];

/// Promise: `pull` then `push` changes nothing and moves nothing, whatever the tree was and whatever was done to it.
///
/// Fails when: anything is not carried, or is carried so that the other direction takes it for changed (times cut to
/// microseconds, the bit of one of two files, a directory's time set before the last thing came into it).
#[test]
fn there_and_back_changes_nothing() {
    let total = count("round_trips", 8);
    let mut random = Rng::with_seed(seed() ^ 0xa11);
    let mut tally = Tally::new("round_trips", total);
    let mut done = 0;
    let mut files = 0;
    while done < total {
        let mut lab = Lab::new();
        lab.start_with(&["--allow", "read,write,delete"]);
        let (here, there) = (lab.home().join("d"), lab.root());
        grow(&there, &mut random, true);
        for round in 0..CHANGES.min(total - done) {
            // What changed is on either side by turns.
            let (verb, back, source) = if round % 2 == 0 { ("pull", "push", &there) } else { ("push", "pull", &here) };
            if round > 0 {
                change(source, &mut random, true);
            }
            if census(source).values().all(|what| what.starts_with("directory")) {
                // An empty source is refused, and that is tested elsewhere.
                std::fs::write(source.join(format!("always {round}")), "something").unwrap();
            }
            run(&lab, verb);
            assert_eq!(census(&here), census(&there), "{verb}");
            let before = census(&there);
            let returned = run(&lab, back);
            assert_eq!(returned.json()["steps"].as_array().unwrap().len(), 0, "{returned:?}");
            assert_eq!(returned.json()["bytes"], 0);
            assert_eq!((census(&here), census(&there)), (before.clone(), before));
            files += census(&there).len();
            tally.note("0 differences, 0 bytes moved");
        }
        done += CHANGES.min(total - done);
    }
    tally.end(&format!("{files} things"));
}

fn run(lab: &Lab, verb: &str) -> Done {
    lab.run(&[&[verb, "d", "--json"], &ALL[..]].concat()).ends_with(0)
}
