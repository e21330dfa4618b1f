//! Symbolic links that are followed: which are published, and what they never lead to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;

/// A root full of links, and what lies outside of it.
struct Field {
    place: TempDir,
}

impl Field {
    fn new() -> Self {
        let field = Self { place: tempfile::tempdir().unwrap() };
        let files = [
            "root/a/file",
            "root/a/sub/deep",
            "root/.secret",
            "root/.git/config",
            "out/file",
            "out/dir/x",
            "out/dir/.hidden",
            "more/y",
            "keys/server.key",
        ];
        for name in files {
            fs::create_dir_all(field.at(name).parent().unwrap()).unwrap();
            fs::write(field.at(name), name).unwrap();
        }
        field
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn link(&self, name: &str, target: impl AsRef<Path>) {
        symlink(target, self.at("root").join(name)).unwrap();
    }

    fn store(&self, follow: FollowLinks) -> LocalStore {
        LocalStore::open_root(&self.at("root")).unwrap().follow_links(follow)
    }

    /// Every kind of link there is.
    fn furnished() -> Self {
        let field = Self::new();
        field.link("rel", "a/file");
        field.link("dir", "a");
        field.link("chain", "rel");
        field.link("abs", field.at("root/a/file"));
        field.link("back", "../root/a/./sub/../file");
        field.link("a/sub/above", "../../a/file");
        field.link("out", field.at("out/file"));
        field.link("outrel", "../out/file");
        field.link("outdir", field.at("out/dir"));
        symlink(field.at("more"), field.at("out/dir/more")).unwrap();
        symlink("../../root/a/file", field.at("out/dir/home")).unwrap();
        field.link("self", ".");
        field.link("a/parent", "..");
        field.link("loop", "loop");
        field.link("ping", "pong");
        field.link("pong", "ping");
        field.link("nowhere", "none");
        field.link("through-file", "a/file/x");
        field.link("hid", ".secret");
        field.link("hid-dir", "a/../.git");
        field.link("hid-abs", field.at("root/.secret"));
        field.link("hid-back", "../root/.git/config");
        field.link("null", "/dev/null");
        field.link("fd", "/proc/self/fd/0");
        rustix::fs::mkfifoat(CWD, field.at("root/pipe"), Mode::from_raw_mode(0o644)).unwrap();
        field.link("to-pipe", "pipe");
        field
    }
}

fn read(store: &LocalStore, name: &str) -> Result<String, StoreError> {
    let (object, content) = store.open(&path(name), 1000)?;
    object.ensure_unchanged()?;
    Ok(String::from_utf8(content.to_vec()).unwrap())
}

const INSIDE: [(&str, &str); 10] = [
    ("a/file", "root/a/file"),
    ("a/sub/above", "root/a/file"),
    ("a/sub/deep", "root/a/sub/deep"),
    ("abs", "root/a/file"),
    ("back", "root/a/file"),
    ("chain", "root/a/file"),
    ("dir/file", "root/a/file"),
    ("dir/sub/above", "root/a/file"),
    ("dir/sub/deep", "root/a/sub/deep"),
    ("rel", "root/a/file"),
];

const OUTSIDE: [(&str, &str); 5] = [
    ("out", "out/file"),
    ("outdir/home", "root/a/file"),
    ("outdir/more/y", "more/y"),
    ("outdir/x", "out/dir/x"),
    ("outrel", "out/file"),
];

/// Fails when: a link is followed too far, or not at all; what is listed cannot be opened; or a hidden name is published by a link.
#[test]
fn each_mode_publishes_what_it_says() {
    let field = Field::furnished();
    let with_outside: BTreeMap<_, _> = INSIDE.into_iter().chain(OUTSIDE).collect();
    let modes: [(FollowLinks, BTreeMap<&str, &str>); 3] = [
        (FollowLinks::None, BTreeMap::from([INSIDE[0], INSIDE[2]])),
        (FollowLinks::Inside, BTreeMap::from(INSIDE)),
        (FollowLinks::Any, with_outside.clone()),
    ];
    for (follow, published) in modes {
        let store = field.store(follow);
        assert_eq!(listing(&store), published.keys().copied().collect::<Vec<_>>(), "{follow:?}");
        for (name, content) in &with_outside {
            match (read(&store, name), published.get(name)) {
                (Ok(found), Some(_)) => assert_eq!(found, *content, "{follow:?} {name}"),
                (Err(StoreError::NotFound), None) => {}
                (end, _) => panic!("{follow:?} {name}: {end:?}"),
            }
        }
        for name in [
            "hid",
            "hid-dir/config",
            "hid-abs",
            "hid-back",
            "loop",
            "ping",
            "nowhere",
            "through-file",
            "null",
            "fd",
            "to-pipe",
            "pipe",
            "dir",
            "outdir/.hidden",
            "dir/none",
            ".secret",
            "rel/x",
        ] {
            assert!(matches!(read(&store, name), Err(StoreError::NotFound)), "{follow:?} {name}");
        }
    }
    let all = field.store(FollowLinks::Inside).hidden(Hidden::Included);
    for name in ["hid", "hid-dir/config", "hid-abs", "hid-back", ".secret"] {
        assert!(read(&all, name).is_ok(), "{name}");
        assert!(listing(&all).contains(&name.to_owned()), "{name}");
    }
}

/// Fails when: the link's own metadata is served for the target's, or a change of the target is not noticed.
#[test]
fn a_version_is_that_of_what_the_link_ends_at() {
    let field = Field::furnished();
    let store = field.store(FollowLinks::Inside);
    settle();
    let direct = store.object(&path("a/file")).unwrap();
    let linked = store.object(&path("chain")).unwrap();
    assert_eq!(direct.meta(), linked.meta());
    let rows = &mut BTreeMap::new();
    store
        .list(&ListQuery::default(), &mut |path, entry| {
            rows.insert(path.as_str().to_owned(), entry);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((&rows["chain"], &rows["dir/file"]), (&rows["a/file"], &rows["a/file"]));
    fs::write(field.at("root/a/file"), "another").unwrap();
    assert!(matches!(linked.ensure_unchanged(), Err(StoreError::Changed)));
    // The link itself is nothing that a version depends on: what was opened stays.
    let linked = store.object(&path("chain")).unwrap();
    fs::remove_file(field.at("root/chain")).unwrap();
    field.link("chain", "a/sub/deep");
    linked.ensure_unchanged().unwrap();
    assert_ne!(store.object(&path("chain")).unwrap().meta().etag, linked.meta().etag);
}

/// Fails when: links of a kind are counted as another, or what is published is counted.
#[test]
fn what_is_left_out_is_counted_with_its_reason() {
    let field = Field::furnished();
    let tallies = |follow| {
        let survey = field.store(follow).survey_links().unwrap();
        assert!(survey.is_complete && survey.too_many.is_none());
        let counts: BTreeMap<_, _> = survey.left_out.into_iter().map(|(why, tally)| (why, tally.count)).collect();
        (counts, survey.outside)
    };
    let (none, outside) = tallies(FollowLinks::None);
    assert_eq!((none, outside.len()), (BTreeMap::from([(LeftOut::NotFollowed, 23)]), 0));
    let (inside, outside) = tallies(FollowLinks::Inside);
    let mut expected = BTreeMap::from([
        // out, outrel, outdir
        (LeftOut::Outside, 3),
        // nowhere, through-file
        (LeftOut::Nowhere, 2),
        // self, a/parent and dir/parent, loop, ping, pong
        (LeftOut::Circle, 6),
        // hid, hid-dir, hid-abs, hid-back
        (LeftOut::Hidden, 4),
        // null, to-pipe, and what descriptor 0 is, if it has a name
        (LeftOut::Special, 2),
    ]);
    let mut with_stdin = inside.clone();
    with_stdin.retain(|why, _| *why != LeftOut::Outside && *why != LeftOut::Special && *why != LeftOut::Nowhere);
    let total = |counts: &BTreeMap<LeftOut, u64>| counts.values().sum::<u64>();
    assert_eq!((total(&inside), outside.len()), (total(&expected) + 1, 0));
    expected.retain(|why, _| with_stdin.contains_key(why));
    assert_eq!(with_stdin, expected);
    let (any, outside) = tallies(FollowLinks::Any);
    assert!(!any.contains_key(&LeftOut::Outside));
    // out/file once, though two links end there; out/dir; more.
    let mut kinds: Vec<_> = outside.iter().map(|place| place.is_directory).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [false, true, true]);
}

/// Fails when: a listing goes on below a directory that it is already in, by whatever way it comes back.
#[test]
fn circles_end() {
    let field = Field::new();
    field.link("root", "/");
    field.link("a/root", field.at("root"));
    field.link("b", "a/sub");
    field.link("a/sub/a", "..");
    for follow in [FollowLinks::Inside, FollowLinks::Any] {
        let store = field.store(follow);
        // The machine's own root is not listed here: it is large, and no business of a test.
        let query = ListQuery { prefix: Some(path("a")), ..ListQuery::default() };
        let mut names = Vec::new();
        store
            .list(&query, &mut |path, _| {
                names.push(path.as_str().to_owned());
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(names, ["a/file", "a/sub/deep"], "{follow:?}");
        let query = ListQuery { prefix: Some(path("b")), ..ListQuery::default() };
        names.clear();
        store
            .list(&query, &mut |path, _| {
                names.push(path.as_str().to_owned());
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(names, ["b/a/file", "b/deep"], "{follow:?}");
        for prefix in ["a/root", "a/sub/a", "b/a/sub"] {
            let query = ListQuery { prefix: Some(path(prefix)), ..ListQuery::default() };
            let listed = store.list(&query, &mut |_, _| ControlFlow::Continue(()));
            assert!(matches!(listed, Err(StoreError::NotFound)), "{prefix}: {listed:?}");
        }
    }
}

/// Fails when: directories that are full of links to each other make a tree that grows with every level.
#[test]
fn links_upon_links_are_bounded() {
    let field = Field::new();
    for level in 0..11 {
        fs::create_dir(field.at(&format!("root/l{level}"))).unwrap();
        for name in ["x", "y"] {
            symlink(format!("../l{}", level + 1), field.at(&format!("root/l{level}/{name}"))).unwrap();
        }
    }
    fs::create_dir(field.at("root/l11")).unwrap();
    fs::write(field.at("root/l11/end"), "").unwrap();
    let store = field.store(FollowLinks::Inside);
    let names = listing(&store);
    assert!(names.contains(&"l9/x/y/end".to_owned()));
    assert!(names.len() < 600, "{}", names.len());
    assert!(names.iter().all(|name| name.matches(['x', 'y']).count() <= 8));
    let deep = format!("l0/{}end", "x/".repeat(11));
    assert!(read(&store, &deep).is_ok(), "opened by its name it is still there");
    let chain = vec!["d"; 60].join("/");
    fs::create_dir_all(field.at("root/chain")).unwrap();
    for n in 0..60 {
        symlink(format!("link{}", n + 1), field.at(&format!("root/chain/link{n}"))).unwrap();
    }
    fs::write(field.at("root/chain/link60"), chain).unwrap();
    assert!(matches!(read(&store, "chain/link0"), Err(StoreError::NotFound)));
    assert!(read(&store, "chain/link30").is_ok());
}

/// Fails when: a link reaches the server's own files, whichever way it takes and whatever is linked.
#[test]
fn no_link_leads_to_what_is_never_published() {
    let field = Field::new();
    field.link("keys", field.at("keys"));
    field.link("key", field.at("keys/server.key"));
    field.link("above", field.place.path());
    field.link("hard", field.at("other.key"));
    fs::write(field.at("other.key"), "other.key").unwrap();
    fs::hard_link(field.at("other.key"), field.at("out/dir/named")).unwrap();
    field.link("dir", field.at("out/dir"));
    let (keys, other) = (field.at("keys"), field.at("other.key"));
    let store = field.store(FollowLinks::Any).never_by_link(&[&keys, &other, &field.at("none")]);
    for name in ["keys/server.key", "key", "above/keys/server.key", "hard", "above/other.key", "dir/named"] {
        assert!(matches!(read(&store, name), Err(StoreError::NotFound)), "{name}");
    }
    let names = listing(&store);
    assert!(names.iter().all(|name| !name.contains("key") && !name.contains("named")), "{names:?}");
    assert!(names.contains(&"above/out/file".to_owned()));
    let survey = store.survey_links().unwrap();
    assert_eq!(survey.left_out[&LeftOut::Never].count, 4, "{survey:?}");
    // The root may lie in such a directory itself, and links come by it.
    field.link("back", field.at("root/a/file"));
    field.link("in-and-out", "../keys/../out/file");
    let store = field.store(FollowLinks::Any).never_by_link(&[field.place.path(), &keys]);
    assert_eq!(read(&store, "back").unwrap(), "root/a/file");
    assert!(matches!(read(&store, "in-and-out"), Err(StoreError::NotFound)));
    let store = field.store(FollowLinks::Any).never_by_link(&[&keys]);
    assert_eq!(read(&store, "in-and-out").unwrap(), "out/file");
}

/// Fails when: a link is judged first and followed afterwards, or by the kernel.
#[test]
fn a_link_that_changes_under_the_walk_never_leads_outside() {
    let field = Field::new();
    field.link("link", "a");
    field.link("evil", field.at("out"));
    field.link("file", "a/file");
    field.link("evil-file", field.at("out/file"));
    let store = field.store(FollowLinks::Inside);
    settle();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (mut opened, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = |one: &str, other: &str| {
                let (one, other) = (field.at("root").join(one), field.at("root").join(other));
                rustix::fs::renameat_with(CWD, &one, CWD, &other, rustix::fs::RenameFlags::EXCHANGE).unwrap();
            };
            while !stop.load(Ordering::Relaxed) {
                exchange("link", "evil");
                exchange("file", "evil-file");
                // A real directory in place of the link, too.
                exchange("a", "evil");
                exchange("a", "evil");
            }
        });
        let start = std::time::Instant::now();
        let goes_on = |both: bool| start.elapsed() < Duration::from_millis(if both { 400 } else { 20_000 });
        while goes_on(opened > 0 && refused > 0) {
            for name in ["link/file", "file", "evil/file", "evil-file"] {
                match read(&store, name) {
                    Ok(content) => {
                        assert_eq!(content, "root/a/file", "{name}");
                        opened += 1;
                    }
                    Err(StoreError::NotFound) => refused += 1,
                    Err(error) => panic!("{name}: {error}"),
                }
            }
            for name in listing(&store) {
                assert!(name.ends_with("file") || name.ends_with("sub/deep"), "{name}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Writing follows no link, whatever reading does.
#[test]
fn nothing_is_written_through_a_link_that_is_read() {
    let field = Field::furnished();
    for follow in [FollowLinks::Inside, FollowLinks::Any] {
        let store = field.store(follow);
        for name in ["dir/new", "outdir/new"] {
            assert!(matches!(store.put(&path(name), &bytes("x"), &keep()), Err(StoreError::NotRegular)), "{name}");
            assert!(matches!(store.stage(&path(name), &spec(1)), Err(StoreError::NotRegular)), "{name}");
            assert!(matches!(store.existing(&path(name)), Err(StoreError::NotRegular)), "{name}");
        }
        for name in ["dir/file", "outdir/x"] {
            let removed = store.remove(&path(name), &Condition::Any, false);
            assert!(matches!(removed, Err(StoreError::NotRegular)), "{name}");
        }
    }
    assert_eq!(names_in(&field.at("out/dir")), [".hidden", "home", "more", "x"]);
}
