//! What holds for any two trees and any options.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::model::{Tells, Thing, Tree};
use crate::plan::sync::{
    FilterRules, Filters, LinkFault, MaxDelete, Options, Plan, PlanError, Step, TargetNames, Withheld, plan,
};
use qfs_core::model::RemotePath;

const PARTS: [&str; 12] =
    ["a", "b", "a-", "c d", "x.log", "build", "é\n", "-rf", ".hidden", ".a.v1.qfs-part", "\u{202e}z", "ß"];
const TEXTS: [&str; 8] = ["a", "../b", "/etc", "a/../b", "../../x", ".hidden", "build/../../y", "b/./a"];

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(select(&PARTS[..]), 1..4).prop_map(|parts| parts.join("/"))
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        6 => (0..6u8, 0..3i64, any::<bool>())
            .prop_map(|(content, second, executable)| Thing::File { content, second, executable, version: 0 }),
        2 => (0..3i64).prop_map(|second| Thing::Directory { second }),
        1 => select(&TEXTS[..]).prop_map(|text| Thing::Link(text.to_owned())),
    ]
}

fn tells() -> impl Strategy<Value = Tells> {
    (prop::bool::weighted(0.8), prop::bool::weighted(0.8), prop::bool::weighted(0.8), 0..4usize)
        .prop_map(|(executable, directory_times, etags, digests)| Tells { executable, directory_times, etags, digests })
}

/// Two trees that have much in common.
fn trees() -> impl Strategy<Value = (Tree, Tree)> {
    let several = |most| prop::collection::vec((name(), thing()), 0..most);
    (several(14), several(6), several(8), tells(), tells()).prop_map(|(both, source, target, a, b)| {
        let tree = |own: Vec<(String, Thing)>, tells| {
            let mut tree = Tree::new();
            for (name, thing) in own.into_iter().chain(both.clone()) {
                tree.insert(&name, thing);
            }
            tree.tells = tells;
            tree
        };
        (tree(source, a), tree(target, b))
    })
}

fn filters(number: usize) -> Filters {
    let mut rules = FilterRules::default();
    let rules = match number {
        0 => &mut rules,
        1 => rules.exclude("*.log").exclude("build/"),
        2 => rules.file("f", "b\n!/a/b\n"),
        _ => rules.include("a"),
    };
    rules.compile().unwrap()
}

fn options() -> impl Strategy<Value = Options> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    let more = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.3), 0..4usize);
    let most = prop_oneof![Just(100.0), Just(50.0), Just(20.0)].prop_map(MaxDelete::Percent);
    let most = prop_oneof![most, (0..6u64).prop_map(MaxDelete::Count)];
    (flags, more, most).prop_map(
        |((delete, links, checksum, size_only, update), (executable, times, hidden, rules), max_delete)| Options {
            delete,
            max_delete,
            checksum,
            size_only,
            update,
            links,
            executable,
            directory_times: times,
            hidden,
            filters: filters(rules),
            ..Options::default()
        },
    )
}

/// Whether rules exclude the name; written anew, for the four sets of rules.
fn is_excluded(name: &str, is_directory: bool, rules: &str) -> bool {
    let parts: Vec<_> = name.split('/').collect();
    let any = |matches: &dyn Fn(&[&str], bool) -> bool| {
        (1..=parts.len()).any(|n| matches(&parts[..n], n < parts.len() || is_directory))
    };
    match rules {
        "" => false,
        "exclude" => any(&|parts, directory| {
            let last = parts[parts.len() - 1];
            last.ends_with(".log") || (last == "build" && directory)
        }),
        "file" => any(&|parts, _| parts[parts.len() - 1] == "b" && parts != ["a", "b"]),
        _ => !any(&|parts, _| parts[parts.len() - 1] == "a"),
    }
}

fn rules(options: &Options) -> &'static str {
    let shown = format!("{:?}", options.filters);
    let kinds = [("only_includes: true", "include"), ("build/", "exclude"), ("/a/b", "file")];
    kinds.into_iter().find(|(sign, _)| shown.contains(sign)).map_or("", |(_, kind)| kind)
}

fn is_hidden(path: &RemotePath, options: &Options) -> bool {
    let part_hides = |part: &str| part.starts_with('.') && (!options.hidden || part.ends_with(".qfs-part"));
    path.components().any(part_hides)
}

/// Whether a name of `tree` takes part, for this test: a link only if its text shows at a glance that it ends inside.
fn takes_part(path: &RemotePath, tree: &Tree, options: &Options) -> bool {
    let thing = &tree.things[path];
    let is_directory = matches!(thing, Thing::Directory { .. });
    let is_inside = match thing {
        Thing::Link(text) => {
            let depth = path.components().count() - 1;
            options.links
                && match text.as_str() {
                    "a" => true,
                    "../b" => depth >= 1,
                    "../../x" => depth >= 2,
                    ".hidden" => options.hidden,
                    _ => false,
                }
        }
        _ => true,
    };
    is_inside && !is_hidden(path, options) && !is_excluded(path.as_str(), is_directory, rules(options))
}

/// Checks that `target` is as `source` is, as far as `options` ask for it.
fn check_alike(source: &Tree, target: &Tree, before: &Tree, options: &Options) {
    for (path, thing) in &source.things {
        if !takes_part(path, source, options) {
            continue;
        }
        let there = target.things.get(path);
        match (thing, there) {
            (
                &Thing::File { content, second, executable, .. },
                Some(&Thing::File { content: other, second: time, executable: bit, .. }),
            ) => {
                if options.update && time > second {
                    assert_eq!(before.things.get(path), there, "{path} was newer");
                    continue;
                }
                let by_size = options.size_only && !options.checksum;
                let is_same = content == other || super::model::size(content) == super::model::size(other);
                // Where only times are compared, contents may differ behind equal times; where digests are known they may not.
                let untouched =
                    matches!(before.things.get(path), Some(Thing::File { content, .. }) if *content == other);
                let trusts = !options.checksum && untouched && (by_size || time == second);
                assert!(content == other || (trusts && is_same), "{path} differs");
                assert!(time == second || (by_size && untouched_time(before, path, time)), "{path} has another time");
                let tells = options.executable && source.tells.executable && target.tells.executable;
                assert!(!tells || executable == bit, "{path} has another bit");
            }
            (Thing::Directory { second }, Some(Thing::Directory { second: time })) => {
                let tells = source.tells.directory_times && target.tells.directory_times && options.directory_times;
                assert!(!tells || second == time, "{path} has another time");
            }
            (Thing::Link(text), Some(Thing::Link(other))) => assert_eq!(text, other),
            (thing, there) => panic!("{path}: {thing:?} is {there:?}"),
        }
    }
}

fn untouched_time(before: &Tree, path: &RemotePath, time: i64) -> bool {
    matches!(before.things.get(path), Some(Thing::File { second, .. }) if *second == time)
}

/// Checks that of `before` is left what was not to be touched; and with `delete` nothing else.
fn check_extras(source: &Tree, target: &Tree, before: &Tree, options: &Options, plan: &Plan) {
    let removes = options.delete && plan.withheld.is_none();
    for (path, thing) in &before.things {
        if source.things.contains_key(path) && takes_part(path, source, options) {
            continue;
        }
        let same = |there: Option<&Thing>| match (thing, there) {
            (Thing::Directory { .. }, Some(Thing::Directory { .. })) => true,
            (thing, there) => Some(thing) == there,
        };
        let stays = same(target.things.get(path));
        let untouchable = path.is_hidden() || !takes_part(path, before, options) || source.things.contains_key(path);
        if untouchable || !removes {
            assert!(stays, "{path} was not to be touched");
        } else {
            let inside = format!("{}/", path.as_str());
            let holds = target.things.keys().any(|other| other.as_str().starts_with(&inside));
            let below_skipped = path.as_str().match_indices('/').any(|(end, _)| {
                let above = super::model::path(&path.as_str()[..end]);
                source.things.get(&above).is_some_and(|_| !takes_part(&above, source, options))
            });
            assert!(!stays || holds || below_skipped, "{path} was to be removed");
        }
    }
    for path in target.things.keys() {
        let is_known = before.things.contains_key(path) || source.things.contains_key(path);
        assert!(is_known, "{path} came from nowhere");
    }
}

fn check_steps(plan: &Plan, source: &Tree, target: &Tree, options: &Options) {
    let mut removed: Vec<&RemotePath> = Vec::new();
    for step in &plan.steps {
        let path = step.path();
        let waited =
            removed.iter().any(|gone| *gone == path || path.as_str().starts_with(&format!("{}/", gone.as_str())));
        if step.is_removal() {
            assert!(options.delete && !path.is_hidden(), "{step}");
            assert!(takes_part(path, target, options), "{step}");
            removed.push(path);
        } else {
            assert!(
                removed.is_empty() || waited || matches!(step, Step::SetDirectoryTime { .. }),
                "{step} after a removal"
            );
            let leads_somewhere = matches!(step, Step::MakeDirectory { .. });
            assert!(leads_somewhere || takes_part(path, source, options), "{step}");
        }
        if let Step::CopyOnTarget { from, .. } = step {
            assert!(takes_part(from, target, options), "{step}");
        }
        assert!(!step.to_string().contains(char::is_control), "{step}");
    }
    assert!(plan.skipped.iter().all(|skipped| options.links != (skipped.why == LinkFault::NotAsked)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Any target becomes like any source, and stays so; what takes no part is left alone; removals come last.
    #[test]
    fn a_plan_leads_to_the_source((source, before) in trees(), options in options()) {
        let Ok(plan) = before.plan(&source, &options) else { return Ok(()) };
        check_steps(&plan, &source, &before, &options);
        let mut target = before.clone();
        target.apply_all(&plan.steps, &source);
        if plan.problems.is_empty() {
            check_alike(&source, &target, &before, &options);
        }
        check_extras(&source, &target, &before, &options, &plan);
        let again = target.plan(&source, &options).unwrap();
        prop_assert_eq!(&again.steps, &[]);
        prop_assert_eq!(again.problems, plan.problems);
    }

    /// Interrupted anywhere, the same command again finishes; and it is not refused then where it was not at first.
    #[test]
    fn any_first_steps_lead_to_the_same_end((source, before) in trees(), options in options(), stop in any::<Index>()) {
        let Ok(plan) = before.plan(&source, &options) else { return Ok(()) };
        let (mut whole, mut target) = (before.clone(), before.clone());
        whole.apply_all(&plan.steps, &source);
        target.apply_all(&plan.steps[..stop.index(plan.steps.len() + 1)], &source);
        let rest = target.plan(&source, &options).unwrap();
        target.apply_all(&rest.steps, &source);
        prop_assert_eq!(&target.plan(&source, &options).unwrap().steps, &[]);
        prop_assert_eq!(bare(&target), bare(&whole));
    }

    /// What was pulled is not pushed.
    #[test]
    fn pull_then_push_changes_nothing((source, before) in trees(), options in options()) {
        let all = MaxDelete::Percent(100.0);
        let options = Options { update: false, hidden: false, delete: true, max_delete: all, ..options };
        let Ok(plan) = before.plan(&source, &options) else { return Ok(()) };
        let mut target = before.clone();
        target.apply_all(&plan.steps, &source);
        if !plan.problems.is_empty() {
            return Ok(());
        }
        let back = source.plan(&target, &options).unwrap();
        // Directories that only stay because of what takes no part in them are as good as any other.
        let kept = |step: &Step| matches!(step, Step::MakeDirectory { path } | Step::SetDirectoryTime { path, .. } if !source.has(path.as_str()));
        let steps: Vec<_> = back.steps.iter().filter(|step| !kept(step)).collect();
        let only_times = steps.iter().all(|step| matches!(step, Step::SetDirectoryTime { .. }));
        prop_assert!(steps.is_empty() || (steps.len() < back.steps.len() && only_times), "{:?}", steps);
    }

    /// In doubt nothing is removed.
    #[test]
    fn an_incomplete_listing_removes_nothing((source, target) in trees(), options in options(), which in 1..4u8) {
        let options = Options { delete: true, ..options };
        let (mut from, mut onto) = (source.listing(), target.listing());
        (from.incomplete, onto.incomplete) = (which & 1 > 0, which & 2 > 0);
        let plan = plan(&from, &onto, &options).unwrap();
        prop_assert!(!plan.steps.iter().any(Step::is_removal));
        let reason = if which & 1 > 0 { Withheld::SourceIncomplete } else { Withheld::TargetIncomplete };
        prop_assert_eq!(plan.withheld, Some(reason));
    }

    /// No plan writes two names that are one on the target.
    #[test]
    fn case_collisions_are_found(
        names in prop::collection::btree_set("[aA](/[bB]){0,2}|[éÉ]|ß|SS|ss", 0..5),
        there in prop::collection::btree_set("[aA](/[bB]){0,2}|[éÉ]|ß|SS|ss", 0..3),
    ) {
        let tree = |names: &std::collections::BTreeSet<String>| {
            let mut tree = Tree::new();
            for name in names {
                tree.insert(name, Thing::Directory { second: 0 });
            }
            tree
        };
        let (source, target) = (tree(&names), tree(&there));
        let same = |a: &RemotePath, b: &RemotePath| {
            let plain = |path: &RemotePath| path.as_str().to_lowercase().replace('ß', "ss");
            a != b && plain(a) == plain(b)
        };
        let wanted: Vec<_> = source.things.keys().collect();
        let collide = wanted.iter().any(|a| wanted.iter().chain(&target.things.keys().collect::<Vec<_>>()).any(|b| same(a, b)));
        let options = Options { target: TargetNames { folds_case: true, ..TargetNames::default() }, ..Options::default() };
        let planned = target.plan(&source, &options);
        prop_assert_eq!(matches!(planned, Err(PlanError::Names(_))), collide, "{:?}", planned);
        prop_assert!(target.plan(&source, &Options::default()).is_ok());
    }
}

/// What is in a tree, without what happened to directories that nothing is planned for, and without versions.
fn bare(tree: &Tree) -> Vec<(RemotePath, Thing)> {
    let bare = |thing: &Thing| match thing {
        Thing::File { content, second, executable, .. } => {
            Thing::File { content: *content, second: *second, executable: *executable, version: 0 }
        }
        Thing::Directory { .. } => Thing::Directory { second: 0 },
        Thing::Link(text) => Thing::Link(text.clone()),
    };
    tree.things.iter().map(|(path, thing)| (path.clone(), bare(thing))).collect()
}

#[test]
fn the_test_knows_its_own_rules() {
    for (number, kind) in [(0, ""), (1, "exclude"), (2, "file"), (3, "include")] {
        assert_eq!(rules(&Options { filters: filters(number), ..Options::default() }), kind);
    }
    assert!(is_excluded("a/x.log", false, "exclude") && !is_excluded("build", false, "exclude"));
    assert!(is_excluded("b/c", false, "file") && !is_excluded("a/b", false, "file"));
    assert!(is_excluded("b", true, "include") && !is_excluded("b/a/c", false, "include"));
}
