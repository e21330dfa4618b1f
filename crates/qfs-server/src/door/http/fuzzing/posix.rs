//! Archives as POSIX.1-2001 has them (`pax`), read to the letter: whatever is not as it says is a panic.

/// The unit of an archive, in bytes.
const RECORD: usize = 512;

/// A file of an archive.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) modified: u64,
    pub(super) mode: u64,
}

/// Takes the next file off `archive`, its bytes into `content` as far as they are there; None at the end.
///
/// # Panics
/// When the archive is none.
pub(super) fn next(archive: &mut &[u8], content: &mut Vec<u8>) -> Option<Entry> {
    let mut said = Vec::new();
    loop {
        let header = take(archive, RECORD);
        if header.iter().all(|byte| *byte == 0) {
            return None;
        }
        assert_eq!(sum(header), octal(&header[148..156]), "the sum of the header");
        assert_eq!(&header[257..265], b"ustar\x0000");
        let size = octal(&header[124..136]);
        if header[156] == b'x' {
            assert!(said.is_empty(), "there is one record in front of a file");
            let length = usize::try_from(size).expect("it fits");
            said = records(take(archive, length));
            pad(archive, length);
            continue;
        }
        assert_eq!(header[156], b'0', "it is a file");
        let (name, before) = (text(&header[..100]), text(&header[345..500]));
        let name = if before.is_empty() { name } else { format!("{before}/{name}") };
        let mut entry = Entry { name, size, modified: octal(&header[136..148]), mode: octal(&header[100..108]) };
        for (key, value) in said {
            match key.as_str() {
                "path" => entry.name = value,
                "size" => entry.size = value.parse().expect("it is a number"),
                other => panic!("a record of {other}"),
            }
        }
        let there = archive.len().min(usize::try_from(entry.size).unwrap_or(usize::MAX));
        content.extend_from_slice(take(archive, there));
        if there as u64 == entry.size {
            pad(archive, there);
        }
        return Some(entry);
    }
}

fn take<'a>(archive: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = archive.split_at_checked(length).expect("the archive goes on");
    *archive = rest;
    taken
}

fn pad(archive: &mut &[u8], length: usize) {
    assert!(take(archive, length.next_multiple_of(RECORD) - length).iter().all(|byte| *byte == 0));
}

/// The sum of a header's bytes, its own field as spaces.
fn sum(header: &[u8]) -> u64 {
    let own = 148..156;
    header.iter().enumerate().map(|(at, byte)| u64::from(if own.contains(&at) { b' ' } else { *byte })).sum()
}

fn octal(field: &[u8]) -> u64 {
    let digits = std::str::from_utf8(field).expect("it is text").trim_matches(['\0', ' ']);
    u64::from_str_radix(digits, 8).expect("it is octal")
}

/// The text of a field, up to a zero where there is one.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8(field[..end].to_vec()).expect("it is UTF-8")
}

/// Records `LENGTH KEY=VALUE` and a line feed, where the length counts itself and alone says where one ends.
fn records(mut bytes: &[u8]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ').expect("it has a length");
        let length = text(&bytes[..space]).parse().expect("it is a number");
        let record = take(&mut bytes, length);
        let said = text(&record[space + 1..]);
        let (key, value) = said.strip_suffix('\n').and_then(|said| said.split_once('=')).expect("it is a record");
        found.push((key.to_owned(), value.to_owned()));
    }
    found
}
