//! What stops a plan before anything is done, and what keeps it from removing.

use super::model::{Tree, lines};
use crate::plan::sync::{
    BadName, MaxDelete, NameFault, Obstacle, Options, PlanError, Step, TargetNames, Withheld, plan,
};

fn deleting(most: &str) -> Options {
    Options { delete: true, max_delete: most.parse().unwrap(), ..Options::default() }
}

#[test]
fn nothing_is_removed_on_a_doubt() {
    let (source, target) = (Tree::of("a b/c"), Tree::of("a=2 old b"));
    for (at_source, at_target, why) in [
        (true, false, Withheld::SourceIncomplete),
        (false, true, Withheld::TargetIncomplete),
        (true, true, Withheld::SourceIncomplete),
    ] {
        let (mut from, mut onto) = (source.listing(), target.listing());
        (from.incomplete, onto.incomplete) = (at_source, at_target);
        let plan = plan(&from, &onto, &deleting("100%")).unwrap();
        assert_eq!(lines(&plan), ["transfer a (size, 200000 bytes)"]);
        assert_eq!(plan.withheld, Some(why));
        assert!(matches!(plan.problems[0].why, Obstacle::RemovalWithheld { .. }));
    }
    // A name that cannot be brought over is a doubt too: here a file is where a hidden one must stay.
    let plan = Tree::of("x/.h old").plan(&Tree::of("x"), &deleting("100%")).unwrap();
    assert_eq!((lines(&plan), plan.withheld), (vec![], Some(Withheld::Problems)));
}

#[test]
fn an_empty_source_is_a_mistake() {
    let refused = |source: &str, target: &str| Tree::of(target).plan(&Tree::of(source), &deleting("100%"));
    assert_eq!(refused("", "a"), Err(PlanError::EmptySource { removals: 1 }));
    assert_eq!(refused("", "d/"), Err(PlanError::EmptySource { removals: 1 }));
    assert_eq!(refused("d/ e/", "d/a"), Err(PlanError::EmptySource { removals: 1 }));
    assert_eq!(refused(".hidden l>x", "a"), Err(PlanError::EmptySource { removals: 1 }));
    assert!(refused("", "").is_ok() && refused("", ".hidden").is_ok() && refused("d/", "d/ e/").is_ok());
    let plan = Tree::of("a").plan(&Tree::of(""), &Options::default()).unwrap();
    assert_eq!(plan.steps, []);
    let mut cut = Tree::of("").listing();
    cut.incomplete = true;
    assert_eq!(super::super::plan(&cut, &Tree::of("a").listing(), &deleting("100%")).unwrap().steps, []);
}

#[test]
fn no_more_is_removed_than_may_be() {
    let removed = |source: &str, target: &str, most: &str| {
        let plan = Tree::of(target).plan(&Tree::of(source), &deleting(most));
        plan.map(|plan| plan.steps.iter().filter(|step| step.is_removal()).count())
    };
    let refused =
        |removals, held, most: &str| Err(PlanError::TooManyRemovals { removals, held, limit: most.parse().unwrap() });
    assert_eq!(removed("a b", "a b c d", "50%"), Ok(2));
    assert_eq!(removed("a", "a b c", "50%"), refused(2, 3, "50%"));
    assert_eq!(removed("a", "a b c", "66.7%"), Ok(2));
    // Empty directories are no content.
    assert_eq!(removed("a", "a b d/e/f/ g/", "50%"), Ok(5));
    assert_eq!(removed("a", "a d/e/f/", "4"), Ok(3));
    assert_eq!(removed("a", "a d/e/f/", "2"), refused(3, 4, "2"));
    assert_eq!(removed("a", "a b", "0"), refused(1, 2, "0"));
    assert_eq!(removed("a", "a b", "0%"), refused(1, 2, "0%"));
    assert_eq!(removed("a", "a", "0"), Ok(0));
    assert_eq!(removed("other=4", "b c", "50%"), refused(2, 2, "50%"));
    // Whatever was only renamed is there twice before anything goes.
    assert_eq!(removed("x=2 y=3", "a=2 b=3", "50%"), Ok(2));
    assert_eq!(removed("x=2 y=3", "a=2 b=3 c", "50%"), refused(3, 5, "50%"));
    // Equal contents do not make removals harmless.
    assert_eq!(removed("a=2", "a=2 b=2 c=2 d=2", "50%"), refused(3, 4, "50%"));
    // What takes the place of another kind counts.
    assert_eq!(removed("a/b", "a", "50%"), refused(1, 1, "50%"));
    assert_eq!(MaxDelete::default(), MaxDelete::Percent(50.0));
}

#[test]
fn names_that_are_one_on_the_target_are_found_first() {
    let target = TargetNames { folds_case: true, ..TargetNames::default() };
    let options = Options { target, ..deleting("100%") };
    let bad = |source: &str, onto: &str| match Tree::of(onto).plan(&Tree::of(source), &options) {
        Err(PlanError::Names(names)) => names.iter().map(ToString::to_string).collect(),
        other => vec![format!("{other:?}")],
    };
    assert_eq!(bad("a A b", ""), ["a: on the target it is the same name as A"]);
    assert_eq!(bad("a A", "a"), ["a: on the target it is the same name as A"]);
    assert_eq!(bad("D/x d/y d/X", ""), ["d: on the target it is the same name as D"]);
    assert_eq!(bad("d/x d/X", ""), ["d/x: on the target it is the same name as d/X"]);
    assert_eq!(bad("README", "readme"), ["README: on the target readme is there, which differs in case only"]);
    assert_eq!(bad("d/x", "D/x"), ["d: on the target D is there, which differs in case only"]);
    assert!(Tree::of("a b").plan(&Tree::of("a b"), &options).is_ok());
    assert!(Tree::of("a").plan(&Tree::of("a A"), &deleting("100%")).is_ok());
}

#[test]
fn names_that_the_target_cannot_carry_are_found_first() {
    let target = TargetNames { max_component_bytes: 5, max_path_bytes: 8, ..TargetNames::default() };
    let mut source = Tree::of("short abcdef d/abcde dd/abcdef").listing();
    source.unnameable = vec!["d/b\\c".to_owned(), ".h\\i".to_owned()];
    let onto = Tree::new().listing();
    let Err(PlanError::Names(names)) = plan(&source, &onto, &Options { target, ..Options::default() }) else {
        panic!("it was planned");
    };
    let bad = |name: &str, why| BadName { name: name.to_owned(), why };
    assert_eq!(
        names,
        [bad("d/b\\c", NameFault::Unnameable), bad("abcdef", NameFault::TooLong), bad("dd/abcdef", NameFault::TooLong)]
    );
    let error = PlanError::Names(names).to_string();
    assert_eq!(
        error,
        "3 names cannot be had on the target; the first is d/b\\\\c: no published file can have this name"
    );
    let mut rules = crate::plan::sync::FilterRules::default();
    let filters = rules.exclude("*\\\\*").exclude("*abcdef").compile().unwrap();
    assert!(plan(&source, &onto, &Options { target, filters, ..Options::default() }).is_ok());
    // What cannot be named on the target stays there, and so does the directory it lies in.
    let mut onto = Tree::of("old/a k").listing();
    onto.unnameable = vec!["old/b\\c".to_owned()];
    let plan = plan(&Tree::of("k").listing(), &onto, &deleting("100%")).unwrap();
    assert_eq!(lines(&plan), ["remove old/a"]);
    assert!(!plan.steps.iter().any(|step| matches!(step, Step::RemoveDirectory { .. })));
}
