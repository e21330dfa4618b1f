//! The files that are served in every conversation: their names, sizes and times are in `recorded/tree.txt`, their content follows
//! from name and size.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use qfs_core::model::Digest;

use crate::text::{quoted, unquoted};

/// The one large file, which is served only where a conversation is about it.
pub(crate) const LARGE: &str = "large";

/// What stands behind the name of a file to mean its second version.
pub(crate) const SECOND: &str = "@2";

/// Files whose content is younger than a tick of the kernel's clock are not settled: their digests are not remembered yet.
const CLOCK_TICK: Duration = Duration::from_millis(30);

/// A file that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) size: u64,
    /// RFC 3339, as the wire has it.
    pub(crate) modified: String,
    /// 64 hexadecimal digits.
    pub(crate) sha256: String,
}

/// The files of `recorded/tree.txt`, in the order in which they stand there.
pub(crate) fn entries() -> &'static [Entry] {
    static ENTRIES: OnceLock<Vec<Entry>> = OnceLock::new();
    ENTRIES.get_or_init(|| {
        let text = fs::read_to_string(recorded().join("tree.txt")).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(parse).collect()
    })
}

/// Where the recorded conversations are.
pub(crate) fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversations/recorded")
}

fn parse(line: &str) -> Entry {
    let fields: Vec<&str> = line.splitn(4, ' ').collect();
    let [size, modified, sha256, name] = fields[..] else { panic!("{line:?} is no file") };
    Entry { name: unquoted(name), size: size.parse().unwrap(), modified: modified.into(), sha256: sha256.into() }
}

/// The line of a file in `recorded/tree.txt`, and in what a client has saved.
pub(crate) fn line(entry: &Entry) -> String {
    format!("{} {} {} {}", entry.size, entry.modified, entry.sha256, quoted(&entry.name))
}

/// A file of the tree.
pub(crate) fn entry(name: &str) -> Option<&'static Entry> {
    entries().iter().find(|entry| entry.name == name)
}

/// The content of a version: `label` is the file's name, with [`SECOND`] behind it for the second one.
pub(crate) fn content(label: &str) -> Option<&'static [u8]> {
    static MADE: Mutex<BTreeMap<String, &'static [u8]>> = Mutex::new(BTreeMap::new());
    let size = entry(label.strip_suffix(SECOND).unwrap_or(label))?.size;
    let mut made = MADE.lock().unwrap();
    // A process needs a few of them, again and again, and keeps them to its end.
    let content = made.entry(label.to_owned()).or_insert_with(|| Vec::leak(make(label, size)));
    Some(content)
}

/// Bytes that depend on the label alone, by a generator that no dependency can change (xorshift64*).
pub(crate) fn make(label: &str, size: u64) -> Vec<u8> {
    let digest = Digest::of(label.as_bytes());
    let mut state = digest.as_bytes()[..8].iter().fold(1, |state, byte| state << 8 | u64::from(*byte)) | 1;
    let size = usize::try_from(size).unwrap();
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// SHA-256 of a version.
pub(crate) fn digest(label: &str) -> Option<String> {
    content(label).map(|content| Digest::of(content).to_string())
}

/// Writes the tree below `root`, with the large file or without it.
pub(crate) fn plant(root: &Path, large: bool) {
    for entry in entries().iter().filter(|entry| large || entry.name != LARGE) {
        assert_eq!(digest(&entry.name).as_deref(), Some(&*entry.sha256), "the content of {:?}", entry.name);
        write(root, &entry.name, content(&entry.name).unwrap(), &entry.modified);
    }
    std::thread::sleep(CLOCK_TICK);
}

/// Gives a file its second version: other content of the same size, in the same place, a second later.
pub(crate) fn change(root: &Path, name: &str) {
    let entry = entry(name).unwrap();
    let modified: jiff::Timestamp = entry.modified.parse().unwrap();
    let modified = (modified + Duration::from_secs(1)).to_string();
    write(root, name, content(&format!("{name}{SECOND}")).unwrap(), &modified);
    std::thread::sleep(CLOCK_TICK);
}

fn write(root: &Path, name: &str, content: &[u8], modified: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    let modified: jiff::Timestamp = modified.parse().unwrap();
    let times = FileTimes::new().set_modified(modified.into());
    File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

/// Everything below `directory`, hidden files included, in ascending order.
pub(crate) fn found_in(directory: &Path) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut stack = vec![directory.to_owned()];
    while let Some(at) = stack.pop() {
        for entry in at.read_dir().into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                stack.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            let modified = path.metadata().unwrap().modified().unwrap();
            found.push(Entry {
                name: path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned(),
                size: bytes.len() as u64,
                modified: jiff::Timestamp::try_from(modified).unwrap().to_string(),
                sha256: Digest::of(&bytes).to_string(),
            });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}
