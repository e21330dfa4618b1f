//! CLI.md, "no command: the interactive menu".

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::pty::Terminal;
use crate::support::{Done, Lab, finish, free_port, sums};

const FILES: &[(&str, &[u8])] = &[("a.txt", b"a"), ("sub/b b.txt", b"b")];

/// The menu with these lines piped into it.
fn menu(lab: &Lab, input: &str) -> Done {
    menu_in(lab, input, "client_env")
}

/// The same, with another place for the files.
fn menu_in(lab: &Lab, input: &str, place: &str) -> Done {
    let mut command = lab.client(["--save-dir", place]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    finish(child)
}

#[test]
fn the_menu_offers_list_download_and_exit() {
    let done = menu(&Lab::new(FILES), "3\n").ends_with(0);
    let lines: Vec<_> = done.out.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    for (number, word) in [("1", "list"), ("2", "download"), ("3", "exit")] {
        assert!(lines.iter().any(|line| line.starts_with(number) && line.contains(word)), "{lines:?}");
    }
    assert_eq!(done.err, "");
}

#[test]
fn one_lists() {
    let done = menu(&Lab::new(FILES), "1\n3\n").ends_with(0);
    assert!(done.out.contains("a.txt\n") && done.out.contains("  sub/b b.txt\n"), "{done:?}");
    assert!(done.out.contains("2 files, 2 bytes"), "{done:?}");
}

#[test]
fn two_downloads_names_separated_by_commas_with_checksums_and_the_total_time() {
    let lab = Lab::new(FILES);
    let done = menu(&lab, "2\n sub/b b.txt ,a.txt,\n3\n").ends_with(0);
    assert!(done.out.contains("separated by commas"), "{done:?}");
    for line in sums(FILES).lines() {
        assert!(done.out.lines().any(|shown| shown == line), "{done:?}");
    }
    assert!(done.out.contains("\ntotal download time: "), "{done:?}");
    assert_eq!((lab.saved("a.txt"), lab.saved("sub/b b.txt")), (b"a".to_vec(), b"b".to_vec()));
}

/// Fails when: a comma separates although a file with it in its name exists; quotes or a backslash do not protect it; a number
/// is no name; a file called like a number is not what is meant by it.
#[test]
fn two_takes_names_with_commas_and_numbers_of_the_list() {
    let files: &[(&str, &[u8])] =
        &[("2", b"two"), ("a", b"1"), ("a,b.csv", b"2"), ("b.csv", b"3"), ("c", b"4"), ("d,e/f", b"5"), ("{x}", b"6")];
    let lab = Lab::new(files);
    let cases: &[(&str, &[&str])] = &[
        ("a,b.csv", &["a,b.csv"]),
        ("a , b.csv", &["a", "b.csv"]),
        ("a,b.csv,c", &["a,b.csv", "c"]),
        ("a,c", &["a", "c"]),
        ("'a,b.csv', a", &["a,b.csv", "a"]),
        ("a\\,b.csv,a", &["a,b.csv", "a"]),
        ("d,e", &["d,e/f"]),
        ("3,5", &["a,b.csv", "c"]),
        ("2", &["2"]),
        ("'{x}',1", &["{x}", "2"]),
    ];
    for (n, (line, names)) in cases.iter().enumerate() {
        let done = menu_in(&lab, &format!("1\n2\n{line}\n3\n"), &format!("p{n}")).ends_with(0);
        let sums = done.out.lines().filter(|line| line.get(64..66) == Some("  ") && !line.starts_with(' '));
        let got: Vec<_> = sums.map(|line| &line[66..]).collect();
        assert_eq!(got, *names, "{line}: {done:?}");
        assert_eq!(done.err, "");
    }
    // Without a list nothing has a number.
    let done = menu_in(&lab, "2\n3\n3\n", "none").ends_with(0);
    assert!(done.err.contains("error: 3: no such file"), "{done:?}");
}

#[test]
fn one_shows_a_number_before_each_name() {
    let done = menu(&Lab::new(FILES), "1\n3\n").ends_with(0);
    for (number, name) in [("1", "a.txt"), ("2", "sub/b b.txt")] {
        let row = done.out.lines().find(|line| line.ends_with(name)).unwrap();
        assert_eq!(row.split_whitespace().next(), Some(number), "{row}");
    }
}

#[test]
fn two_downloads_directories() {
    let lab = Lab::new(FILES);
    for (input, place) in [("2\nsub\n3\n", "a"), ("2\nsub/,a.txt\n3\n", "b")] {
        let done = menu_in(&lab, input, place).ends_with(0);
        assert!(done.out.contains(&sums(&FILES[1..])) && done.err.is_empty(), "{done:?}");
        assert_eq!(std::fs::read(lab.home().join(place).join("sub/b b.txt")).unwrap(), b"b");
    }
    let done = menu_in(&lab, "2\nnope\n3\n", "c").ends_with(0);
    assert!(done.err.contains("error: nope: ") && !done.out.contains("total download time"), "{done:?}");
}

#[test]
fn the_end_of_input_exits_like_three() {
    let lab = Lab::new(FILES);
    for input in ["", "1\n", "2\n", "2\na.txt", "2\na.txt\n"] {
        menu(&lab, input).ends_with(0);
    }
    assert_eq!(lab.saved("a.txt"), b"a");
}

#[test]
fn a_bad_choice_or_a_failed_download_says_so_and_shows_the_menu_again() {
    let lab = Lab::new(FILES);
    let done = menu(&lab, "7\n2\nnope\n2\n\n2\na[\n2\na.txt\n3\n").ends_with(0);
    for error in ["error: no such choice: 7", "error: nope: ", "error: no name was given", "error: the pattern"] {
        assert!(done.err.contains(error), "{error}: {done:?}");
    }
    assert_eq!(done.out.matches("3) exit").count(), 6, "{done:?}");
    assert_eq!(lab.saved("a.txt"), b"a");
}

#[test]
fn without_a_server_it_says_so_and_goes_on() {
    let lab = Lab::without_server(&[]);
    let mut command = lab.bare();
    command.env("QFS_PORT", free_port().to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"1\n1\n3\n").unwrap();
    let done = finish(child).ends_with(0);
    assert_eq!(done.err.matches("error: cannot connect").count(), 2, "{done:?}");
}

/// A menu that is talked to step by step.
pub(crate) struct Dialogue {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Dialogue {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout }
    }

    /// Says a line and returns what is answered up to the next menu.
    pub(crate) fn say(&mut self, line: &str) -> String {
        writeln!(self.stdin, "{line}").unwrap();
        let mut heard = String::new();
        while !heard.ends_with("3) exit\n") {
            assert_ne!(self.stdout.read_line(&mut heard).unwrap(), 0, "it ended: {heard}");
        }
        heard
    }

    /// Leaves the menu; returns what it said on stderr.
    pub(crate) fn leave(mut self) -> String {
        writeln!(self.stdin, "3").unwrap();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

#[test]
fn a_connection_that_was_lost_is_made_anew() {
    let mut lab = Lab::new(FILES);
    let port = lab.server().address().port();
    let mut dialogue = Dialogue::start(lab.client([""; 0]));
    // What is heard first is the menu itself.
    dialogue.say("1");
    lab.stop_server();
    lab.publish("new", b"new");
    lab.start_server("127.0.0.1", port);
    let mut heard = dialogue.say("1");
    heard.push_str(&dialogue.say("1"));
    assert!(heard.contains("  new\n"), "{heard}");
    writeln!(dialogue.stdin, "3").unwrap();
    let mut rest = String::new();
    dialogue.stdout.read_to_string(&mut rest).unwrap();
    assert!(dialogue.child.wait().unwrap().success());
}

#[test]
fn on_a_terminal_too() {
    let lab = Lab::new(FILES);
    let mut terminal = Terminal::start(&mut lab.client([""; 0]));
    terminal.expect("choice: ");
    terminal.type_line("2");
    terminal.expect("separated by commas ");
    terminal.type_line("a.txt");
    terminal.expect("total download time: ");
    terminal.type_line("3");
    let (code, text) = terminal.finish();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(lab.saved("a.txt"), b"a");
}

#[test]
fn an_interrupt_leaves_it_at_once() {
    let lab = Lab::new(FILES);
    let terminal = Terminal::start(&mut lab.client([""; 0]));
    terminal.expect("choice: ");
    terminal.signal(rustix::process::Signal::INT);
    assert_eq!(terminal.finish().0, Some(130));
}
