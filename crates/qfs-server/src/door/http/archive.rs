//! `?tar`: a directory as one stream (POSIX.1-2001, pax), however large, in the memory of a block.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use jiff::Timestamp;
use qfs_core::body;
use qfs_core::model::{HashKind, RemotePath};
use qfs_core::store::{DirectoryMeta, Entry, ObjectMeta, StoreError, WriteStore};
use qfs_core::stream::ByteSink;

use super::ask::Ask;
use super::error::HttpError;
use super::reply::{self, Answer};
use super::rows::title;
use super::{target, walk};
use crate::deliveries::{Counting, Handed};
use crate::view::View;

/// Names that wait for their files to be sent, for each archive: at most 256 KiB.
const NAMES_AHEAD: usize = 64;

/// The unit of an archive, in bytes.
pub(super) const RECORD: u64 = 512;

/// Largest size that an entry's header has room for: 11 octal digits. What is larger stands in a record of its own.
const MAX_PLAIN_SIZE: u64 = 1 << 33;

pub(super) async fn answer<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    below: Option<&RemotePath>,
    reply: &mut R,
    handed: &mut Handed,
) -> Result<(), HttpError> {
    let from = below.cloned();
    // Not those of listings: an archive takes as long as its client, and whoever looks into a directory would wait for it.
    let permits = (walk::permit(ask, &ask.client.archives).await?, walk::permit(ask, &ask.service.archives).await?);
    let mut found = walk::spawn_with(permits, view, NAMES_AHEAD, move |view, finds| {
        view.tree_below(from.as_ref(), &mut |name, entry| match entry {
            Entry::File(_) => finds.push(Member::File(name.to_owned())),
            Entry::Directory(meta) => finds.push(Member::Directory(name.to_owned(), meta)),
            Entry::Link(_) => finds.go_on(),
        })
    })?;
    // Only now is it certain that there is such a directory.
    let mut next = found.recv().await.transpose()?;
    let name = title(below);
    let file_name = target::encoded_extended(&format!("{name}.tar"));
    let head = reply::head(StatusCode::OK)
        .header(CONTENT_TYPE, "application/x-tar")
        .header(CONTENT_DISPOSITION, format!("attachment; filename*=UTF-8''{file_name}"));
    reply.begin(head).await?;
    if reply.is_head_only() {
        return Ok(());
    }
    while let Some(member) = next {
        // The file before it is whole.
        handed.tell(ask.service.deliveries.as_ref(), true);
        match member {
            Member::File(name) => file(ask, view, below, &name, reply, handed).await?,
            Member::Directory(name, meta) => reply.send(directory_header(&inside(below, &name), &meta)?).await?,
        }
        next = found.recv().await.transpose()?;
    }
    // Two records of zeros end it.
    Ok(reply.send(zeros(2 * RECORD)).await?)
}

/// What an archive consists of, by its name below the directory that was asked for.
enum Member {
    File(String),
    Directory(String, DirectoryMeta),
}

/// The name in the archive: everything is below one directory, so that unpacking it makes no mess.
fn inside(below: Option<&RemotePath>, name: &str) -> String {
    below.map_or_else(|| name.to_owned(), |below| format!("{}/{name}", below.file_name()))
}

/// Sends one file. One that is gone by now, or cannot be read at all, is left out; one that changes while it is sent cuts the archive off,
/// because its length was announced.
async fn file<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    below: Option<&RemotePath>,
    name: &str,
    reply: &mut R,
    handed: &mut Handed,
) -> Result<(), HttpError> {
    let whole = below.map_or_else(|| name.to_owned(), |below| format!("{}/{name}", below.as_str()));
    let Ok(path) = RemotePath::parse(&whole) else { return Ok(()) };
    let (opened, room) = match view.open_within(&ask.client.share, path.clone(), HashKind::Sha256).await {
        Ok(opened) => opened,
        Err(StoreError::NotFound | StoreError::NotRegular) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let meta = opened.version.meta();
    let size = meta.size;
    reply.send(header(&inside(below, name), meta)?).await?;
    let mut counting = Counting::new(reply, handed.begin(path.as_str()));
    match opened.content {
        Some(content) => counting.send(room.attach(content)).await?,
        None => body::send_within(&mut counting, &opened.version, 0..size, &ask.client.share, Some(room)).await?,
    }
    Ok(reply.send(zeros(padding(size))).await?)
}

pub(super) fn padding(size: u64) -> u64 {
    size.next_multiple_of(RECORD) - size
}

pub(super) fn zeros(length: u64) -> Bytes {
    static ZEROS: [u8; 2 * RECORD as usize] = [0; 2 * RECORD as usize];
    Bytes::from_static(&ZEROS[..length.min(2 * RECORD) as usize])
}

/// The header of a file.
pub(super) fn header(name: &str, meta: &ObjectMeta) -> Result<Bytes, StoreError> {
    let mode = if meta.executable { 0o755 } else { 0o644 };
    extended_header(name, tar::EntryType::Regular, mode, meta.size, meta.modified)
}

/// The header of a directory, which is all there is of it.
pub(super) fn directory_header(name: &str, meta: &DirectoryMeta) -> Result<Bytes, StoreError> {
    extended_header(&format!("{name}/"), tar::EntryType::Directory, 0o755, 0, meta.modified)
}

/// A header, with a record in front of it where its name or size needs one.
fn extended_header(
    name: &str,
    kind: tar::EntryType,
    mode: u32,
    size: u64,
    modified: Timestamp,
) -> Result<Bytes, StoreError> {
    let mut bytes = BytesMut::new();
    let mut header = tar::Header::new_ustar();
    let fits = name.is_ascii() && header.set_path(name).is_ok();
    if !fits || size >= MAX_PLAIN_SIZE {
        // Some readers take a line feed in a name for the end of a record, so that no name stands in one without need.
        let mut records = if fits { String::new() } else { record("path", name) };
        if size >= MAX_PLAIN_SIZE {
            records += &record("size", &size.to_string());
        }
        let mut extended = tar::Header::new_ustar();
        extended.set_entry_type(tar::EntryType::XHeader);
        extended.set_path("pax").map_err(StoreError::Io)?;
        finish(&mut extended, records.len() as u64, 0, 0o644);
        bytes.extend_from_slice(extended.as_bytes());
        bytes.extend_from_slice(records.as_bytes());
        bytes.extend_from_slice(&zeros(padding(records.len() as u64)));
    }
    if !fits {
        // For programs that do not know such records.
        header.set_path("long-name").map_err(StoreError::Io)?;
    }
    header.set_entry_type(kind);
    finish(&mut header, size.min(MAX_PLAIN_SIZE - 1), u64::try_from(modified.as_second()).unwrap_or(0), mode);
    bytes.extend_from_slice(header.as_bytes());
    Ok(bytes.freeze())
}

fn finish(header: &mut tar::Header, size: u64, modified: u64, mode: u32) {
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(modified.min(MAX_PLAIN_SIZE - 1));
    header.set_cksum();
}

/// `LENGTH KEY=VALUE` and a line feed, where the length counts itself.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn meta(size: u64) -> ObjectMeta {
        ObjectMeta {
            size,
            modified: "2026-11-23T08:09:24Z".parse().unwrap(),
            etag: "v1".parse().unwrap(),
            unsettled: false,
            executable: false,
        }
    }

    #[test]
    fn a_record_counts_itself() {
        assert_eq!(record("path", "x"), "9 path=x\n");
        for length in 1..300 {
            let record = record("path", &"x".repeat(length));
            assert_eq!(record.split(' ').next().unwrap(), record.len().to_string());
        }
    }

    /// Fails when a name stands in a record without need, where programs that read records by lines take a part of it for another one.
    #[test]
    fn a_large_file_has_its_name_in_one_place() {
        let odd = header("a\n12 path=x/y\n", &meta(1 << 40)).unwrap();
        assert!(odd.len() == 3 * RECORD as usize && odd[RECORD as usize..].starts_with(b"22 size=1099511627776\n\0"));
        let mut archive = tar::Archive::new(&odd[..]);
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!((&*entry.path_bytes(), entry.size()), (&b"a\n12 path=x/y\n"[..], 1 << 40));
    }

    /// Fails when a script that is unpacked does not run.
    #[test]
    fn what_may_be_executed_stays_so() {
        for (executable, mode) in [(false, 0o644), (true, 0o755)] {
            let header = header("a", &ObjectMeta { executable, ..meta(0) }).unwrap();
            let mut archive = tar::Archive::new(&header[..]);
            assert_eq!(archive.entries().unwrap().next().unwrap().unwrap().header().mode().unwrap(), mode);
        }
    }

    /// Fails when another program cannot read a name or a size.
    #[test]
    fn what_is_written_is_read_by_another_program() {
        let long = format!("{}/é{}", "d".repeat(250), "f".repeat(250));
        let mut archive = Vec::new();
        for name in ["a.txt", "d/e.txt", &long] {
            archive.extend_from_slice(&header(name, &meta(5)).unwrap());
            archive.extend_from_slice(b"hello");
            archive.extend_from_slice(&zeros(padding(5)));
        }
        archive.extend_from_slice(&zeros(2 * RECORD));
        let mut names = Vec::new();
        for entry in tar::Archive::new(&archive[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            assert_eq!((content.as_str(), entry.header().mode().unwrap()), ("hello", 0o644));
            names.push(entry.path().unwrap().to_string_lossy().into_owned());
        }
        assert_eq!(names, ["a.txt", "d/e.txt", &long]);
        let large = header("x", &meta(1 << 40)).unwrap();
        let mut archive = tar::Archive::new(&large[..]);
        assert_eq!(archive.entries().unwrap().next().unwrap().unwrap().size(), 1 << 40);
    }
}
