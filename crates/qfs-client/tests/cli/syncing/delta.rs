//! CLI.md: of a changed file `pull` and `push` move what changed, and say how much they did not have to move.

use super::{age, writable, write};
use crate::support::{Done, noise};

const MIB: usize = 1 << 20;

/// What `--json` says of the only transfer, and of the run.
fn reused(done: &Done) -> (u64, u64) {
    let object = done.json();
    let steps = object["steps"].as_array().unwrap();
    let mut transfers = steps.iter().filter(|step| step["step"] == "transfer");
    let step = transfers.next().unwrap();
    assert!(transfers.next().is_none() && step["status"] == "done", "{object}");
    (step["reused"].as_u64().unwrap_or_default(), object["reused"].as_u64().unwrap_or_default())
}

/// Fails when: the report of a run leaves out what was reused, in words or in JSON, says it of a file that was moved whole, or moves
/// what it says it reused.
#[test]
fn what_was_reused_is_said() {
    let old = noise(6 * MIB);
    for verb in ["pull", "push"] {
        let lab = writable(&[]);
        let (root, here) = (lab.root(), lab.here("d"));
        let (source, target) = if verb == "pull" { (&root, &here) } else { (&here, &root) };
        let run = |args: &[&str]| lab.run([&[verb, "d"], args].concat()).ends_with(0);
        write(source.join("f"), &old);
        age(source.join("f"), 5_000);
        let first = run(&["--json"]);
        assert_eq!(reused(&first), (0, 0));
        assert!(first.json().get("reused").is_none() && !first.err.contains("reused"), "{first:?}");

        let changed = [&old[..3 * MIB], b"something new", &old[3 * MIB..]].concat();
        write(source.join("f"), &changed);
        age(source.join("f"), 4_000);
        let second = run(&["--json"]);
        assert!(std::fs::read(target.join("f")).unwrap() == changed);
        let (of_step, of_run) = reused(&second);
        let moved = second.json()["bytes"].as_u64().unwrap();
        assert!(of_step == of_run && of_run > 5 * MIB as u64, "{second:?}");
        // What tells the two versions apart is moved too.
        assert!(moved + of_run >= changed.len() as u64 && moved < MIB as u64 / 2, "{second:?}");

        write(source.join("f"), &old);
        age(source.join("f"), 3_000);
        let third = run(&[]);
        assert!(
            third.err.contains(&format!("total {verb} time: ")) && third.err.contains(" MiB reused, "),
            "{third:?}"
        );

        write(source.join("f"), &changed);
        age(source.join("f"), 2_000);
        let whole = run(&["--whole", "--json"]);
        assert_eq!((reused(&whole), whole.json()["bytes"].as_u64()), ((0, 0), Some(changed.len() as u64)));
    }
}
