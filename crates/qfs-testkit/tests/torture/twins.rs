//! Two clients write the same destination at once.

use crate::lab::{Lab, finish, noise, slow_link};
use crate::tally::{Tally, count, seed};

/// Promise: it ends with one intact file.
///
/// Fails when: the partial file is not locked (two writers in one file, and the record of one stands for the other's bytes);
/// the rename replaces without being told to and the loser reports another content.
#[test]
fn two_clients_with_one_destination() {
    let total = count("twins", 3);
    let content = noise(seed() ^ 9, 6 << 20);
    let small = noise(seed() ^ 10, 5000);
    let lab = Lab::serving(&[("large", &content), ("small", &small)]);
    let proxy = slow_link(lab.address(), 300_000_000);
    let mut tally = Tally::new("twins", total);
    for round in 0..total {
        lab.clear();
        let flags: &[&str] = if round % 2 == 0 { &["--overwrite"] } else { &[] };
        let args = [&["get", "large", "small", "--json"][..], flags].concat();
        let start = |_| lab.client(proxy.addr(), &args).spawn().unwrap();
        let children: Vec<_> = (0..2).map(start).collect();
        let codes: Vec<_> = children.into_iter().map(|child| finish(child).code.unwrap()).collect();
        // Without `--overwrite`, who comes second to a file is told that it exists, and keeps what it fetched for a run that may
        // replace it.
        let allowed = if flags.is_empty() { &[0, 7][..] } else { &[0] };
        assert!(codes.iter().all(|code| allowed.contains(code)), "{codes:?}");
        assert!(lab.saved_file("large").as_deref() == Some(&content[..]));
        assert!(lab.saved_file("small").as_deref() == Some(&small[..]));
        assert!(codes.contains(&7) || lab.partials().is_empty(), "{:?}", lab.partials());
        tally.note("one intact file");
    }
    tally.end("0 corrupt");
}
