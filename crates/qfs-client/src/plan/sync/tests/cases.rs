//! What is planned for single situations.

use std::time::Duration;

use qfs_core::model::Digest;

use super::model::{Tells, Thing, Tree, lines, path};
use crate::plan::sync::{
    Condition, Directory, Entry, FilterRules, Kind, LinkFault, Listing, Obstacle, Options, Skipped, Step, Summary,
    Undecided, plan, undecided,
};

fn deleting() -> Options {
    Options { delete: true, max_delete: "100%".parse().unwrap(), ..Options::default() }
}

/// The lines of what makes `target` like `source`, and what is left when they are carried out.
fn steps(source: &str, target: &str, options: &Options) -> Vec<String> {
    let (source, mut target) = (Tree::of(source), Tree::of(target));
    let plan = target.plan(&source, options).unwrap();
    assert_eq!(plan.problems, []);
    target.apply_all(&plan.steps, &source);
    assert_eq!(lines(&target.plan(&source, options).unwrap()), [""; 0], "it does not end");
    lines(&plan)
}

#[test]
fn a_fresh_copy_of_everything() {
    let lines = steps("a=2@7 d/@8 d/e=0@9x d/empty/@6", "", &Options::default());
    assert_eq!(
        lines,
        [
            "make d/",
            "make d/empty/",
            "transfer a (missing, 100000 bytes)",
            "transfer d/e (missing, 0 bytes)",
            "set d/empty/ (1970-01-01T00:00:06Z)",
            "set d/ (1970-01-01T00:00:08Z)",
        ]
    );
}

#[test]
fn what_is_the_same_costs_nothing() {
    let tree = "a b=2@7x d/ d/c l>a";
    let options = Options { links: true, ..deleting() };
    assert_eq!(steps(tree, tree, &options), [""; 0]);
    let plan = Tree::of(tree).plan(&Tree::of(tree), &options).unwrap();
    assert_eq!(plan.summary, Summary { kept: 4, ..Summary::default() });
}

#[test]
fn each_reason_to_transfer() {
    let options = Options::default();
    assert_eq!(steps("a=1", "a=2", &options), ["transfer a (size, 200000 bytes)"]);
    assert_eq!(steps("a=1@6", "a=3@5", &options), ["transfer a (time, 200000 bytes)"]);
    assert_eq!(steps("a=1@6", "a=1@5", &options), ["set a (1970-01-01T00:00:06Z)"]);
    let checksum = Options { checksum: true, ..options.clone() };
    assert_eq!(steps("a=1", "a=3", &checksum), ["transfer a (digest, 200000 bytes)"]);
    assert_eq!(steps("a=1x", "a=1", &options), ["set a (+x)"]);
    assert_eq!(steps("a=1@6", "a=1@5x", &options), ["set a (1970-01-01T00:00:06Z, -x)"]);
}

#[test]
fn replaced_files_have_their_version_as_condition() {
    let (source, target) = (Tree::of("a=2 b=2"), Tree::of("a=1"));
    let plan = target.plan(&source, &Options::default()).unwrap();
    let conditions = plan.steps.iter().map(|step| match step {
        Step::Transfer { onto: Condition::File(seen), .. } => seen.etag.as_ref().map(|etag| etag.as_str().to_owned()),
        _ => None,
    });
    assert_eq!(conditions.collect::<Vec<_>>(), [Some("v1001".to_owned()), None]);
}

#[test]
fn deletes_from_the_deepest_on_and_after_everything() {
    let source = "keep new";
    let target = "keep old/a old/b/c old-x z";
    assert_eq!(steps(source, target, &Options::default()).len(), 1);
    let lines = steps(source, target, &deleting());
    assert_eq!(lines[0], "transfer new (missing, 200000 bytes)");
    assert_eq!(
        lines[1..],
        ["remove z", "remove old/b/c", "remove old/b/", "remove old/a", "remove old-x", "remove old/"]
    );
}

#[test]
fn a_renamed_file_is_copied_there() {
    let lines = steps("new/b=2 keep", "old/a=2 keep", &deleting());
    assert_eq!(
        lines,
        ["make new/", "copy old/a -> new/b", "remove old/a", "remove old/", "set new/ (1970-01-01T00:00:05Z)"]
    );
    // Without digests nothing is taken for the same.
    let (mut source, mut target) = (Tree::of("new=1"), Tree::of("old=1"));
    for tree in [&mut source, &mut target] {
        tree.tells = Tells { digests: 0, ..Tells::ALL };
    }
    let wanted = Undecided { source: vec![path("new")], target: vec![path("old")] };
    assert_eq!(undecided(&source.listing(), &target.listing(), &deleting()), wanted);
    let plan = plan(&source.listing(), &target.listing(), &deleting()).unwrap();
    assert_eq!(lines_of(&plan.steps), ["transfer new (missing, 200000 bytes)", "remove old"]);
    // Nor where the sizes tell that a listing lies; and nothing is gained for empty files.
    let mut lying = Tree::of("new=2").listing();
    let Some(Entry::File(file)) = lying.entries.get_mut(&path("new")) else { panic!("it is a file") };
    file.size += 1;
    let plan = super::super::plan(&lying, &Tree::of("old=2").listing(), &deleting()).unwrap();
    assert_eq!(lines_of(&plan.steps), ["transfer new (missing, 100001 bytes)", "remove old"]);
    assert_eq!(steps("a=0 b=0", "a=0", &deleting()), ["transfer b (missing, 0 bytes)"]);
    // Of two that were renamed each is copied once.
    let lines = steps("c=2 d=2", "a=2 b=2", &deleting());
    assert_eq!(lines, ["copy a -> c", "copy b -> d", "remove b", "remove a"]);
}

fn lines_of(steps: &[Step]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

#[test]
fn what_takes_the_place_of_another_kind_comes_last() {
    let options = deleting();
    assert_eq!(
        steps("a/b k", "a k z", &options),
        ["remove z", "remove a", "make a/", "transfer a/b (missing, 200000 bytes)", "set a/ (1970-01-01T00:00:05Z)"]
    );
    assert_eq!(steps("a k", "a/b/c k", &options)[..3], ["remove a/b/c", "remove a/b/", "remove a/"]);
    let links = Options { links: true, ..options };
    assert_eq!(steps("a>k k", "a k", &links), ["remove a", "link a -> k"]);
    assert_eq!(steps("a>k k", "a>z k", &links), ["link a -> k"]);
}

#[test]
fn another_kind_stays_without_delete() {
    for (source, target, wanted, there) in [
        ("a/b", "a", Kind::Directory, Kind::File),
        ("a", "a/b", Kind::File, Kind::Directory),
        ("a", "a/", Kind::File, Kind::Directory),
    ] {
        let plan = Tree::of(target).plan(&Tree::of(&format!("{source} z")), &Options::default()).unwrap();
        assert_eq!(lines(&plan), ["transfer z (missing, 200000 bytes)"]);
        let [problem] = &plan.problems[..] else { panic!("{:?}", plan.problems) };
        assert_eq!(problem.why, Obstacle::OtherKind { wanted, target: there });
    }
}

#[test]
fn links_take_no_part_unless_they_are_asked_for() {
    let (source, target) = (Tree::of("l>k k m>x"), Tree::of("k l m/n o>k"));
    let plan = target.plan(&source, &deleting()).unwrap();
    assert_eq!(lines(&plan), [""; 0]);
    let skipped = |name, why| Skipped { path: path(name), why };
    assert_eq!(plan.skipped, [skipped("l", LinkFault::NotAsked), skipped("m", LinkFault::NotAsked)]);
    let links = Options { links: true, ..deleting() };
    let (source, target) = (Tree::of("a>/etc b>../x c>k d/e>../k k f>.git"), Tree::of("k b"));
    let plan = target.plan(&source, &links).unwrap();
    assert_eq!(lines(&plan)[..3], ["make d/", "link c -> k", "link d/e -> ../k"]);
    // What the source has and does not carry is not what it lacks.
    assert!(!plan.steps.iter().any(Step::is_removal));
    let outside = [skipped("a", LinkFault::Outside), skipped("b", LinkFault::Outside)];
    assert_eq!(plan.skipped, [&outside[..], &[skipped("f", LinkFault::Hidden)]].concat());
}

#[test]
fn a_file_is_not_written_over_a_link() {
    let plan = Tree::of("a>k").plan(&Tree::of("a b"), &deleting()).unwrap();
    assert_eq!(lines(&plan), ["transfer b (missing, 200000 bytes)"]);
    let untouchable = Obstacle::Untouchable { wanted: Kind::File, target: Kind::Link };
    assert_eq!(plan.problems[0].why, untouchable);
    // Nor through one.
    let plan = Tree::of("a>k").plan(&Tree::of("a/x a/y b"), &deleting()).unwrap();
    assert_eq!((lines(&plan), plan.problems.len()), (vec!["transfer b (missing, 200000 bytes)".to_owned()], 1));
    assert_eq!(plan.summary.obstructed, 3);
}

#[test]
fn excluded_names_are_left_alone_on_both_sides() {
    let mut rules = FilterRules::default();
    rules.exclude("*.log").exclude("tmp/");
    let options = Options { filters: rules.compile().unwrap(), ..deleting() };
    let lines = steps("a b.log tmp/x", "c.log old/d.log old/e tmp/y a", &options);
    assert_eq!(lines, ["remove old/e"]);
    let plan = Tree::of("k").plan(&Tree::of("b.log k tmp/x"), &options).unwrap();
    assert_eq!(plan.summary.excluded, 3);
}

#[test]
fn with_includes_alone_directories_are_as_they_were() {
    let mut rules = FilterRules::default();
    rules.include("*.csv");
    let options = Options { filters: rules.compile().unwrap(), ..deleting() };
    let source = "a.csv b.txt d/@7 d/c.csv empty/";
    let target = "old/x.csv old/y.txt d/z.csv bare/w.csv";
    assert_eq!(
        steps(source, target, &options),
        [
            "transfer a.csv (missing, 200000 bytes)",
            "transfer d/c.csv (missing, 200000 bytes)",
            "remove old/x.csv",
            "remove d/z.csv",
            "remove bare/w.csv",
        ]
    );
}

#[test]
fn with_includes_alone_directories_that_are_not_listed_stay_too() {
    let mut rules = FilterRules::default();
    rules.include("*.csv");
    let options = Options { filters: rules.compile().unwrap(), ..deleting() };
    let mut target = Tree::of("a.csv old/x.csv").listing();
    target.entries.remove(&path("old"));
    let plan = plan(&Tree::of("a.csv b.txt d/c.txt").listing(), &target, &options).unwrap();
    assert_eq!(lines(&plan), ["remove old/x.csv"]);
    assert_eq!(plan.summary.excluded, 2);
}

#[test]
fn digests_that_would_decide_something() {
    let undecided = |source: &str, target: &str, options: &Options, known: (usize, usize)| {
        let (mut source, mut target) = (Tree::of(source), Tree::of(target));
        (source.tells.digests, target.tells.digests) = known;
        let Undecided { source, target } = undecided(&source.listing(), &target.listing(), options);
        [source, target].map(|paths| paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    let (plain, none) = (Options::default(), (0, 0));
    let checksum = Options { checksum: true, ..Options::default() };
    let size_only = Options { size_only: true, ..Options::default() };
    let tree = "same=1 later=1@9 longer=2 empty=0@9";
    let other = "same=1 later=1@5 longer=1 empty=0@5";
    assert_eq!(undecided(tree, other, &plain, none), ["later", "later"]);
    assert_eq!(undecided(tree, other, &plain, (1, 0)), ["", "later"]);
    assert_eq!(undecided(tree, other, &checksum, none), ["later same", "later same"]);
    assert_eq!(undecided(tree, other, &size_only, none), ["", ""]);
    let update = Options { update: true, ..checksum };
    assert_eq!(undecided("a=1@5 b=1@9", "a=1@9 b=1@5", &update, none), ["b", "b"]);
    // What may have been renamed: of the same size, and only on one side each.
    assert_eq!(undecided("new=1 more=2 k=1", "old=3 k=1", &plain, none), ["new", "old"]);
    assert_eq!(undecided("new=1", "k=1", &plain, none), ["new", "k"]);
    assert_eq!(undecided("new=1", "", &plain, none), ["", ""]);
}

#[test]
fn small_files_are_hashed_only_where_the_other_side_knows_digests() {
    let tree = |name: &str, digest: Option<&str>| {
        let mut listing = Tree::of(&format!("{name}=1")).listing();
        let Some(Entry::File(file)) = listing.entries.get_mut(&path(name)) else { panic!("it is a file") };
        (file.size, file.sha256) = (10, digest.map(|content| Digest::of(content.as_bytes())));
        listing
    };
    let wanted = |source, target| undecided(&source, &target, &Options::default());
    assert_eq!(wanted(tree("new", None), tree("old", None)), Undecided::default());
    let new = Undecided { source: vec![path("new")], target: vec![] };
    assert_eq!(wanted(tree("new", None), tree("old", Some("x"))), new);
    let old = Undecided { source: vec![], target: vec![path("old")] };
    assert_eq!(wanted(tree("new", Some("x")), tree("old", None)), old);
}

#[test]
fn hidden_names_are_left_alone() {
    let lines = steps("a .git/x d/.b", ".git/y old/.z old/c .p a d/", &deleting());
    assert_eq!(lines, ["remove old/c"]);
    let hidden = Options { hidden: true, ..deleting() };
    let lines = steps("a .git/x", ".git/y .p .a.v1.qfs-part a", &hidden);
    assert_eq!(lines, ["transfer .git/x (missing, 200000 bytes)", "set .git/ (1970-01-01T00:00:05Z)"]);
}

#[test]
fn update_leaves_newer_files_alone() {
    let options = Options { update: true, ..deleting() };
    let lines = steps("a=1@5 b=1@9 c", "a=2@7 b=2@7 c=1@6x", &options);
    assert_eq!(lines, ["transfer b (time, 200000 bytes)"].map(|line| line.replace("time", "size")));
}

#[test]
fn times_are_compared_as_coarse_as_asked_for() {
    let options = Options { time_tolerance: Duration::from_secs(1), ..Options::default() };
    assert_eq!(steps("a=1@5 d/@5", "a=1@6 d/@6", &options), [""; 0]);
    assert_eq!(steps("d/@5 a", "d/@7 a", &options), ["set d/ (1970-01-01T00:00:05Z)"]);
    let without = Options { directory_times: false, ..options };
    assert_eq!(steps("d/@5 d/a", "d/@7", &without), ["transfer d/a (missing, 200000 bytes)"]);
}

#[test]
fn directories_that_are_not_listed_are_made_all_the_same() {
    let mut source = Tree::of("a/b/c").listing();
    source.entries.retain(|_, entry| matches!(entry, Entry::File(_)));
    let plan = plan(&source, &Listing::default(), &Options::default()).unwrap();
    assert_eq!(lines(&plan), ["make a/", "make a/b/", "transfer a/b/c (missing, 200000 bytes)"]);
    let there = Tree::of("a/b/c").listing();
    assert_eq!(super::super::plan(&source, &there, &deleting()).unwrap().steps, []);
}

#[test]
fn a_listing_that_contradicts_itself_is_not_followed() {
    let mut source = Tree::of("a z").listing();
    source.entries.insert(path("a/b"), Tree::of("x").listing().entries[&path("x")].clone());
    let target = Tree::of("old").listing();
    let plan = plan(&source, &target, &deleting()).unwrap();
    assert_eq!(lines(&plan), ["transfer a (missing, 200000 bytes)", "transfer z (missing, 200000 bytes)"]);
    assert_eq!(plan.problems[0].why, Obstacle::BelowFile);
}

#[test]
fn lines_do_not_act_on_a_terminal() {
    let mut source = Tree::new();
    source.insert("a\u{1b}[2Jb", Thing::File { content: 1, second: 5, executable: false, version: 0 });
    source.insert("l", Thing::Link("x\u{202e}\ny".to_owned()));
    let plan = Tree::new().plan(&source, &Options { links: true, ..Options::default() }).unwrap();
    assert_eq!(lines(&plan), ["transfer a\\u{1b}[2Jb (missing, 200000 bytes)", "link l -> x\\u{202e}\\ny"]);
}

#[test]
fn times_that_a_side_does_not_tell_are_not_set() {
    let mut listing = Tree::of("d/a=2").listing();
    listing.entries.insert(path("d"), Entry::Directory(Directory { modified: None }));
    let plan = plan(&Tree::of("d/a=1").listing(), &listing, &Options::default()).unwrap();
    assert_eq!(lines(&plan), ["transfer d/a (size, 200000 bytes)"]);
}
