//! What a directory holds, found out without any of the code under test.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use qfs_core::model::Digest;

/// Everything below `root` by name: content, time and bit of files, time of directories, text of links. Partial files too.
pub(crate) fn census(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut stack = vec![root.to_path_buf()];
    while let Some(directory) = stack.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            let time = format!("{}.{:09}", meta.mtime(), meta.mtime_nsec());
            let what = if meta.is_symlink() {
                format!("link {}", std::fs::read_link(&path).unwrap().display())
            } else if meta.is_dir() {
                stack.push(path.clone());
                format!("directory {time}")
            } else {
                let bit = if meta.mode() & 0o100 == 0 { "-" } else { "x" };
                format!("file {} {bit} {time} {}", meta.len(), Digest::of(&std::fs::read(&path).unwrap()))
            };
            found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), what);
        }
    }
    found
}
