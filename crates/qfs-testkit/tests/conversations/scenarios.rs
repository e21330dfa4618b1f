//! What is recorded: the tree that is served, and what clients ask for.

use crate::format::{End, Event, Then, framed};
use crate::tree::LARGE;

/// Sizes and names of the files that are served; names that have tripped programs up are below `odd`.
pub(crate) fn files() -> Vec<(String, u64)> {
    let mut files: Vec<(String, u64)> = [
        ("empty", 0),
        ("one", 1),
        (".hidden", 5),
        ("sub/a b", 3),
        ("sub/deep/er/file", 100),
        // What `download_many` delivers at most, and one byte more; and what is read in more than one piece.
        ("sizes/262144", 262_144),
        ("sizes/262145", 262_145),
        ("sizes/1000000", 1_000_000),
        // More than two stripes.
        (LARGE, (33 << 20) + 12_345),
    ]
    .map(|(name, size)| (name.to_owned(), size))
    .into();
    files.extend((0..30).map(|number| (format!("small/{number:02}"), 50 + 100 * number)));
    let odd = [
        "with space",
        " leading and trailing ",
        "été/日本語.txt",
        "emoji 🦀",
        "-rf",
        "--help",
        "~",
        "$HOME",
        "a;b&c|d",
        "quote'\"s",
        "star*?[x]",
        "new\nline",
        "tab\there",
        "C:colon",
        "percent%20%2e%2e",
        "...",
        "dots../x",
        "#hash",
        "CON",
        "trailing.",
        "\u{202e}reversed",
        "\u{1b}[31mred",
    ];
    // The server shows no hidden ones.
    let visible = odd.iter().filter(|name| !name.starts_with('.')).enumerate();
    files.extend(visible.map(|(number, name)| (format!("odd/{name}"), number as u64 * 10)));
    files
}

/// One conversation to be recorded.
#[derive(Default)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) large: bool,
    pub(crate) server: &'static [&'static str],
    pub(crate) tokens: &'static [(&'static str, &'static [&'static str])],
    /// Whether the server announces another key.
    pub(crate) rotates: bool,
    pub(crate) parts: Vec<Plan>,
}

/// One part of it.
pub(crate) enum Plan {
    Run { args: &'static [&'static str], known: bool, shown: Option<&'static str>, event: Option<Event> },
    Raw { event: Option<Event>, requests: Vec<Raw>, closes: bool },
}

/// The same, and then the server closes the connection, perhaps before the last answer is heard.
fn ask_too_much(requests: &[&str]) -> Plan {
    match ask(requests) {
        Plan::Raw { event, requests, .. } => Plan::Raw { event, requests, closes: true },
        run @ Plan::Run { .. } => run,
    }
}

/// Bytes sent by hand on a stream of its own.
pub(crate) struct Raw {
    /// `TOKEN:NAME` stands for the token of that name, `ETAG` for the version that the answer before it had.
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: End,
}

const fn run(args: &'static [&'static str]) -> Plan {
    Plan::Run { args, known: false, shown: None, event: None }
}

fn run_with(args: &'static [&'static str], then: Then) -> Plan {
    Plan::Run { args, known: false, shown: None, event: Some(event(then)) }
}

fn run_as(args: &'static [&'static str], shown: &'static str) -> Plan {
    Plan::Run { args, known: false, shown: Some(shown), event: None }
}

const fn known(args: &'static [&'static str]) -> Plan {
    Plan::Run { args, known: true, shown: None, event: None }
}

fn event(then: Then) -> Event {
    Event { file: LARGE.to_owned(), after: 8 << 20, then }
}

/// Well-formed requests, in frames.
fn ask(requests: &[&str]) -> Plan {
    let requests = requests.iter().map(|json| whole(framed(json.as_bytes()))).collect();
    Plan::Raw { event: None, requests, closes: false }
}

fn whole(bytes: Vec<u8>) -> Raw {
    Raw { bytes, end: End::Fin }
}

fn open(bytes: Vec<u8>) -> Raw {
    Raw { bytes, end: End::Open }
}

/// All of them. Their names are those of the tests and of the files.
pub(crate) fn all() -> Vec<Scenario> {
    [clients(), losses(), tokens(), by_hand()].into_iter().flatten().collect()
}

/// What a client asks for when all goes well.
fn clients() -> Vec<Scenario> {
    let of = |name, about, parts| Scenario { name, about, parts, ..Scenario::default() };
    vec![
        of("list", "Everything is listed, odd names among it.", vec![run(&["list"]), run(&["list", "--json"])]),
        of("get_one", "One file.", vec![run(&["get", "one"])]),
        of(
            "get_in_order",
            "Several files one after another, the next ones under way; an empty one, and one larger than a piece.",
            vec![run(&["get", "sizes/1000000", "empty", "one", "sub/a b", "sizes/262145"])],
        ),
        of(
            "get_parallel",
            "Several files at once, large and small.",
            vec![run(&["get", "--parallel=4", "sizes/1000000", "sizes/262145", "sizes/262144", "one", "empty"])],
        ),
        of(
            "get_pattern",
            "Small files that a pattern means: the client lists, and asks for them with download_many.",
            vec![run(&["get", "small/*"])],
        ),
        of(
            "get_all",
            "All that is listed, odd names among it, in batches and singly, at once.",
            vec![run(&["get", "--all", "--parallel"])],
        ),
        of(
            "get_unchanged",
            "What is there already is compared by its digest and kept; of what is listed, by its size and time.",
            vec![
                run(&["get", "one", "sizes/262145"]),
                run(&["get", "one", "sizes/262145", "--checksum"]),
                run(&["get", "one", "sizes/262145"]),
                run(&["get", "sizes/*5", "--checksum"]),
            ],
        ),
        of(
            "get_missing",
            "Names that are not there or are hidden, beside one that is there.",
            vec![run(&["get", "nope", "one", ".hidden"])],
        ),
        Scenario {
            name: "known_server",
            about: "A client that has the server on record asks for its next key; there is none.",
            parts: vec![known(&["get", "one"]), known(&["list", "sub"])],
            ..Scenario::default()
        },
        Scenario {
            name: "next_key",
            about: "A client that has the server on record asks for its next key, and puts it on record.",
            rotates: true,
            parts: vec![known(&["get", "one"])],
            ..Scenario::default()
        },
    ]
}

/// What a client does when something goes wrong, and in stripes.
fn losses() -> Vec<Scenario> {
    let of = |name, about, parts| Scenario { name, about, large: true, parts, ..Scenario::default() };
    vec![
        of(
            "resume_in_run",
            "The connection goes in the middle of a file; the client connects anew and asks for the rest of that version.",
            vec![run_with(&["get", "large"], Then::Lose)],
        ),
        of(
            "resume_next_run",
            "The connection goes for good; the next run asks for the rest of that version.",
            vec![run_with(&["get", "large", "--retry-timeout", "1s"], Then::LoseForGood), run(&["get", "large"])],
        ),
        of(
            "changed",
            "The file changes while it is served; the client begins again with the new version.",
            vec![run_with(&["get", "large"], Then::Change)],
        ),
        of(
            "striped",
            "A large file in stripes over two connections.",
            vec![run(&["get", "large", "--connections", "2"])],
        ),
    ]
}

fn tokens() -> Vec<Scenario> {
    let of = |name, about, parts| Scenario {
        name,
        about,
        server: &["--auth", "tokens"],
        tokens: &[("ann", &[]), ("bob", &["--scope", "sub"])],
        parts,
        ..Scenario::default()
    };
    vec![
        of(
            "tokens",
            "With a token that reaches everything, with one that reaches a directory, and with none.",
            vec![
                run_as(&["get", "one"], "ann"),
                run_as(&["list"], "bob"),
                run_as(&["get", "one", "sub/a b"], "bob"),
                run_as(&["get", "*/deep/**"], "bob"),
                run(&["list"]),
                run(&["get", "one"]),
            ],
        ),
        of(
            "tokens_by_hand",
            "Requests with, without and with malformed tokens; who shows none again and again is turned out.",
            vec![
                ask(&[
                    r#"{"command":"get_files_list","token":"TOKEN:bob"}"#,
                    r#"{"command":"download","filename":"sub/a b","token":"TOKEN:bob"}"#,
                    r#"{"command":"download","filename":"one","token":"TOKEN:bob"}"#,
                    r#"{"command":"download_many","files":["one","sub/a b"],"token":"TOKEN:bob"}"#,
                    r#"{"command":"get_identity","token":"TOKEN:bob"}"#,
                    r#"{"command":"no_such_command","token":"TOKEN:bob"}"#,
                    r#"{"command":"download","filename":"one"}"#,
                    r#"{"command":"download","filename":"one","token":null}"#,
                    r#"{"command":"download","filename":"one","token":"qfs_wrong"}"#,
                    r#"{"command":"get_identity"}"#,
                    r#"{"command":"no_such_command"}"#,
                    r#"{"command":"download","filename":"one","token":"no token"}"#,
                    r#"{"command":"download","filename":"one","token":1}"#,
                    r#"{"command":"download","filename":"one","token":""}"#,
                ]),
                ask_too_much(&[r#"{"command":"get_files_list"}"#; 17]),
            ],
        ),
    ]
}

/// What the recorded client does not send.
fn by_hand() -> Vec<Scenario> {
    let of = |name, about, parts| Scenario { name, about, parts, ..Scenario::default() };
    let many = |count: usize| format!(r#"{{"command":"download_many","files":[{}]}}"#, vec!["\"\""; count].join(","));
    vec![
        ranges(),
        of(
            "not_found",
            "One answer to all that is not published.",
            vec![ask(&[
                r#"{"command":"download","filename":"nope"}"#,
                r#"{"command":"download","filename":"sub"}"#,
                r#"{"command":"download","filename":"sub/"}"#,
                r#"{"command":"download","filename":"/etc/passwd"}"#,
                r#"{"command":"download","filename":"../root/one"}"#,
                r#"{"command":"download","filename":"sub/../one"}"#,
                r#"{"command":"download","filename":".hidden"}"#,
                r#"{"command":"download","filename":""}"#,
                r#"{"command":"download","filename":"a\u0000b"}"#,
                r#"{"command":"download","filename":"a\\b"}"#,
                r#"{"command":"download","filename":"one/more"}"#,
            ])],
        ),
        of(
            "many",
            "Small files on one stream: there, missing, too large, twice, empty; and lists of names that are none.",
            vec![ask(&[
                r#"{"command":"download_many","files":["sub/a b","nope","sizes/262144","sizes/262145","empty","one","one","../x"],"priority":-3}"#,
                r#"{"command":"download_many","files":["odd/\u202ereversed","odd/new\nline","odd/emoji \ud83e\udd80"]}"#,
                r#"{"command":"download_many","files":[]}"#,
                r#"{"command":"download_many","files":"one"}"#,
                r#"{"command":"download_many","files":["one",1]}"#,
                r#"{"command":"download_many"}"#,
                &many(1001),
            ])],
        ),
        of(
            "identity",
            "The server's key, and that no other is planned.",
            vec![ask(&[r#"{"command":"get_identity"}"#, r#"{"command":"get_identity","later":true}"#])],
        ),
        Scenario {
            name: "identity_next",
            about: "The server's key, and the one it is going to have.",
            rotates: true,
            parts: vec![ask(&[r#"{"command":"get_identity"}"#])],
            ..Scenario::default()
        },
        maps(),
        malformed(),
        Scenario {
            name: "changed_by_hand",
            about: "The file changes while it is served: the stream is reset with `changed`, and the old etag is good no more.",
            large: true,
            parts: vec![Plan::Raw {
                event: Some(event(Then::Change)),
                closes: false,
                requests: [
                    r#"{"command":"download","filename":"large","range":{"start":0,"end":0}}"#,
                    r#"{"command":"download","filename":"large"}"#,
                    r#"{"command":"download","filename":"large","range":{"start":0,"end":4},"if_match":"ETAG"}"#,
                    r#"{"command":"download","filename":"large","range":{"start":34614000}}"#,
                ]
                .map(|json| whole(framed(json.as_bytes())))
                .into(),
            }],
            ..Scenario::default()
        },
    ]
}

/// Parts of files, and conditions on their version.
fn ranges() -> Scenario {
    Scenario {
        name: "ranges",
        about: "Every kind of range, of one version and of another; the digest is known from the second answer on.",
        parts: vec![ask(&[
            r#"{"command":"download","filename":"sizes/262145"}"#,
            r#"{"command":"download","filename":"sizes/262145"}"#,
            r#"{"command":"download","filename":"sizes/262145","range":{"start":0,"end":0}}"#,
            r#"{"command":"download","filename":"sizes/262145","range":{"start":1}}"#,
            r#"{"command":"download","filename":"sizes/262145","range":{"start":262144,"end":262145},"if_match":"ETAG"}"#,
            r#"{"command":"download","filename":"sizes/262145","range":{"start":262145},"if_match":"ETAG"}"#,
            r#"{"command":"download","filename":"sizes/262145","range":{"start":262145,"end":262145}}"#,
            r#"{"command":"download","filename":"sizes/262145","range":{"start":262146}}"#,
            r#"{"command":"download","filename":"sizes/262145","range":{"start":0,"end":262146}}"#,
            r#"{"command":"download","filename":"sizes/262145","range":{"start":2,"end":1}}"#,
            r#"{"command":"download","filename":"sizes/262145","range":null,"if_match":null,"priority":null}"#,
            r#"{"command":"download","filename":"sizes/262145","if_match":"another"}"#,
            r#"{"command":"download","filename":"sizes/262145","range":{"start":262146},"if_match":"another"}"#,
            r#"{"command":"download","filename":"nope","range":{"start":2,"end":1},"if_match":"another"}"#,
            r#"{"command":"download","filename":"empty"}"#,
            r#"{"command":"download","filename":"empty","range":{"start":0}}"#,
            r#"{"command":"download","filename":"empty","range":{"start":0,"end":1}}"#,
            r#"{"command":"download","filename":"sub/a b","priority":-2147483648}"#,
            r#"{"command":"get_files_list"}"#,
        ])],
        ..Scenario::default()
    }
}

/// Chunk maps, and many parts of a file in one answer.
fn maps() -> Scenario {
    let many =
        |count: usize| (0..count).map(|n| format!("[{},{}]", 200 * n, 200 * n + 100)).collect::<Vec<_>>().join(",");
    let ranges = |ranges: &str| {
        format!(r#"{{"command":"download_ranges","filename":"sizes/262145","if_match":"ETAG","ranges":[{ranges}]}}"#)
    };
    Scenario {
        name: "maps",
        about: "What files consist of, and several of their parts in one answer; what is no range, and too many of them.",
        parts: vec![ask(&[
            r#"{"command":"chunk_map","filename":"empty"}"#,
            r#"{"command":"chunk_map","filename":"one"}"#,
            r#"{"command":"chunk_map","filename":"one","if_match":"another","priority":3}"#,
            r#"{"command":"chunk_map","filename":"nope"}"#,
            r#"{"command":"chunk_map","filename":"../one"}"#,
            r#"{"command":"chunk_map"}"#,
            r#"{"command":"chunk_map","filename":"sizes/262145"}"#,
            r#"{"command":"chunk_map","filename":"sizes/262145","if_match":"ETAG"}"#,
            r#"{"command":"download","filename":"sizes/262145","range":{"start":0,"end":0}}"#,
            &ranges("[0,4],[5,262145]"),
            &ranges("[0,262145]"),
            &ranges("[262144,262145]"),
            &ranges(&many(1024)),
            &ranges(&many(1025)),
            &ranges("[0,4],[5,262146]"),
            r#"{"command":"download","filename":"sizes/262145","range":{"start":0,"end":0}}"#,
            &ranges(""),
            &ranges("[5,6],[0,4]"),
            &ranges("[0,4],[4,6]"),
            &ranges("[4,4]"),
            r#"{"command":"download_ranges","filename":"sizes/262145","if_match":"another","ranges":[[0,1]]}"#,
            r#"{"command":"download_ranges","filename":"sizes/262145","ranges":[[0,1]]}"#,
            r#"{"command":"download_ranges","filename":"nope","if_match":"another","ranges":[[0,1]]}"#,
        ])],
        ..Scenario::default()
    }
}

/// What is no request, and what is more than one.
fn malformed() -> Scenario {
    // With its length, the longest message that there may be.
    let longest = format!(r#"{{"command":"no_such_command","later":"{}"}}"#, "x".repeat(65_536 - 40));
    assert_eq!(longest.len(), 65_536);
    let deep = format!(r#"{{"command":"get_files_list","later":{}{}}}"#, "[".repeat(16), "]".repeat(16));
    Scenario {
        name: "malformed",
        about: "Frames and requests that are none, commands that there are not, and fields that nobody knows.",
        parts: vec![Plan::Raw {
            event: None,
            closes: false,
            requests: vec![
                whole(Vec::new()),
                whole(vec![0, 0]),
                whole(vec![0, 0, 0, 9, b'{']),
                whole(vec![0, 0, 0, 0]),
                open(vec![0, 0, 0, 0]),
                open(vec![0, 1, 0, 1]),
                open(b"GET / HTTP/1.1\r\n\r\n".to_vec()),
                whole(framed(longest.as_bytes())),
                whole([&[0, 1, 0, 1], &b"{\"command\":\"get_files_list\""[..]].concat()),
                whole(framed(deep.as_bytes())),
                whole(framed(b"\xff\xfe")),
                whole(framed(b"{\"command\":\"get_files_list\"")),
                whole(framed(b"[]")),
                whole(framed(b"{}")),
                whole(framed(br#"{"command":7}"#)),
                whole(framed(br#"{"command":"no_such_command"}"#)),
                whole(framed(br#"{"command":"GET_FILES_LIST"}"#)),
                whole(framed(br#"{"command":"download"}"#)),
                whole(framed(br#"{"command":"download","filename":7}"#)),
                whole(framed(br#"{"command":"download","filename":"one","range":[0,1]}"#)),
                whole(framed(br#"{"command":"download","filename":"one","range":{"start":-1}}"#)),
                whole(framed(br#"{"command":"download","filename":"one","range":{"end":1}}"#)),
                whole(framed(br#"{"command":"download","filename":"one","if_match":"../x"}"#)),
                whole(framed(br#"{"command":"download","filename":"one","priority":2147483648}"#)),
                whole(framed(br#"{"later":[{}],"command":"download","filename":"one","and":null}"#)),
                // Bytes behind the request are ignored, and the end of the request is not waited for.
                whole([framed(br#"{"command":"download","filename":"one"}"#), b"more".to_vec()].concat()),
                open(framed(br#"{"command":"download","filename":"one"}"#)),
            ],
        }],
        ..Scenario::default()
    }
}
