//! CLI.md, `put`: what is given to it that is no plain file, or not there.

use std::os::unix::fs::symlink;

use crate::support::{Lab, sums};

/// A server at which anything may be done.
fn writable(files: &[(&str, &[u8])]) -> Lab {
    let mut lab = Lab::without_server(files);
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write,delete"]);
    lab
}

fn write(lab: &Lab, name: &str, content: &[u8]) {
    let path = lab.home().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Fails when: a file that is not there keeps the others back, or its failure is not the run's.
#[test]
fn what_is_not_there_does_not_stop_the_others() {
    let lab = writable(&[]);
    write(&lab, "a", b"1");
    write(&lab, "b", b"2");
    let done = lab.run(["put", "a", "nosuch", "b"]).ends_with(7).complains("nosuch: No such file", "name files");
    assert_eq!(done.out, sums(&[("a", b"1"), ("b", b"2")]));
    let json = lab.run(["put", "--json", "nosuch"]).ends_with(7).json();
    assert_eq!((&json["files"][0]["name"], &json["files"][0]["path"]), (&"nosuch".into(), &"nosuch".into()));
    assert_eq!(json["files"][0]["error"]["code"], "local");
}

/// Fails when: a link that was named is not followed, what is no file is called missing, or a link in a directory goes without a word.
#[test]
fn links_and_pipes_are_called_what_they_are() {
    let lab = writable(&[]);
    write(&lab, "real/file", b"text");
    write(&lab, "d/f", b"f");
    symlink("real/file", lab.home().join("link")).unwrap();
    symlink("f", lab.home().join("d/one")).unwrap();
    symlink("f", lab.home().join("d/two")).unwrap();
    let pipe = lab.home().join("d/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    assert_eq!(lab.run(["put", "link"]).ends_with(0).out, sums(&[("link", b"text")]));
    for name in ["d/pipe", "/dev/null"] {
        lab.run(["put", name]).ends_with(7).complains("it is not a regular file", "put - --as NAME");
    }
    let done = lab.run(["put", "d"]).ends_with(0);
    assert_eq!(done.out, sums(&[("d/f", b"f")]));
    assert!(done.err.contains("note: left out: d/one and 1 more: each a symbolic link\n"), "{done:?}");
    assert!(done.err.contains("note: left out: d/pipe: neither file"), "{done:?}");
}

/// Fails when: the path that JSON tells is not that of the file.
#[test]
fn json_tells_where_a_renamed_file_lies() {
    let lab = writable(&[]);
    write(&lab, "c.txt", b"c");
    write(&lab, "d/e", b"e");
    for (args, path) in
        [(["put", "c.txt", "--as", "other", "--json"], "c.txt"), (["put", "d", "--as", "o", "--json"], "d/e")]
    {
        assert_eq!(lab.run(args).ends_with(0).json()["files"][0]["path"], path);
    }
}
