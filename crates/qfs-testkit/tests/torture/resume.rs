//! Any files on the server and anything of them at the client: a run fetches exactly what is missing.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use qfs_core::body::flush_bytes;
use qfs_core::model::{ETag, RemotePath};
use qfs_core::store::{StageSpec, Store as _, WriteStore as _};
use qfs_store::local::LocalStore;

use crate::lab::{Lab, noise};
use crate::tally::{Tally, count, seed};

/// Of how many files at once a run in parallel takes care.
const PARALLEL: usize = 4;
const PARALLEL_ARG: &str = "--parallel=4";

/// Files up to this many bytes are fetched in one piece and never continued.
fn small_bytes(parallel: bool) -> usize {
    flush_bytes(if parallel { PARALLEL } else { 2 })
}

/// What the client has of a file before it runs. Fractions are thousandths of its size.
#[derive(Debug, Clone, Copy)]
enum Here {
    Nothing,
    Same,
    SameAtAnotherTime,
    Differs { size_too: bool },
    Partial { thousandths: usize },
    DamagedPartial { thousandths: usize, at: usize },
    PartialOfAnotherVersion,
    PartialWithoutRecord { more: usize },
}

fn here() -> impl Strategy<Value = Here> {
    prop_oneof![
        1 => Just(Here::Nothing),
        1 => Just(Here::Same),
        1 => Just(Here::SameAtAnotherTime),
        1 => any::<bool>().prop_map(|size_too| Here::Differs { size_too }),
        5 => (0..=1000usize).prop_map(|thousandths| Here::Partial { thousandths }),
        1 => (1..=1000usize, 0..1000usize).prop_map(|(thousandths, at)| Here::DamagedPartial { thousandths, at }),
        1 => Just(Here::PartialOfAnotherVersion),
        1 => (0..100usize).prop_map(|more| Here::PartialWithoutRecord { more }),
    ]
}

fn size() -> impl Strategy<Value = usize> {
    let small = small_bytes(false);
    prop_oneof![Just(0), 1..5000usize, small - 2..small + 3, 4..3 * small]
}

/// Promise: the same command again continues what was cut off, skips what is complete, and believes nothing else.
///
/// Fails when: the frontier of a record is taken as 0 or as the file's size; the record of another version, or none, is
/// believed; a file whose size differs is taken for the same; what is there is replaced without `--overwrite`.
#[test]
fn whatever_is_here_exactly_what_is_missing_is_fetched() {
    let total = count("resumes", 12);
    let tally = RefCell::new(Tally::new("resumes", total));
    let (files, resumed) = (Cell::new(0), Cell::new(0));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed().to_le_bytes());
    let config = Config { cases: total as u32, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let case = (prop::collection::vec((size(), here()), 1..7), any::<bool>(), any::<bool>(), any::<bool>());
    let outcome = runner.run(&case, |(wanted, listed, overwrite, parallel)| {
        resumed.set(resumed.get() + one(&wanted, listed, overwrite, parallel)?);
        files.set(files.get() + wanted.len());
        tally.borrow_mut().note("exactly what was missing");
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    tally.into_inner().end(&format!("{} files, {} of them continued", files.get(), resumed.get()));
}

/// One run with these files; returns how many were continued.
fn one(files: &[(usize, Here)], listed: bool, overwrite: bool, parallel: bool) -> Result<usize, TestCaseError> {
    let mut lab = Lab::new();
    let contents: Vec<_> = files.iter().enumerate().map(|(n, (size, _))| noise(seed() ^ (n as u64), *size)).collect();
    let names: Vec<_> = (0..files.len()).map(|n| format!("d{}/{n}", n % 2)).collect();
    for (name, content) in names.iter().zip(&contents) {
        lab.publish(name, content);
    }
    lab.start();
    let published = LocalStore::open_root(&lab.root()).unwrap();
    for ((name, content), (_, here)) in names.iter().zip(&contents).zip(files) {
        let meta = published.object(&RemotePath::parse(name).unwrap()).unwrap().meta().clone();
        put_here(&lab, name, content, &meta.etag, meta.modified, *here);
    }
    let mut args = vec!["get", "--json"];
    args.extend(overwrite.then_some("--overwrite").into_iter().chain(parallel.then_some(PARALLEL_ARG)));
    if listed {
        args.push("--all")
    } else {
        args.extend(names.iter().map(String::as_str))
    }

    let done = lab.run(&args);
    let json = done.json();
    let mut missing = 0;
    let mut is_exact = true;
    let mut resumed = 0;
    for (n, (size, here)) in files.iter().enumerate() {
        let file = json["files"].as_array().unwrap().iter().find(|file| file["name"] == names[n].as_str()).unwrap();
        let (status, to_come) = expected(*size, *here, overwrite, small_bytes(parallel));
        prop_assert_eq!(&file["status"], status, "{}: {:?}", &names[n], &done);
        missing += to_come.unwrap_or(*size);
        is_exact &= to_come.is_some();
        resumed += usize::from(status == "resumed");
        let saved = lab.saved_file(&names[n]);
        if status == "failed" {
            prop_assert_eq!(&file["error"]["code"], "exists", "{:?}", &done);
            prop_assert!(
                saved == Some(other(&contents[n], matches!(here, Here::Differs { size_too: true }))),
                "replaced"
            );
        } else {
            prop_assert!(saved.as_ref() == Some(&contents[n]), "{} is wrong: {:?}", &names[n], &done);
        }
    }
    let received = json["bytes"].as_u64().unwrap();
    if is_exact {
        prop_assert_eq!(received, missing as u64, "{:?}", &done);
    } else {
        prop_assert!(received >= missing as u64, "{:?}", &done);
    }
    prop_assert_eq!(lab.partials(), Vec::<std::path::PathBuf>::new());
    // And again: nothing is missing any more, unless something was in the way.
    let again = lab.run(&["get", "--all", "--json"]);
    prop_assert_eq!(again.json()["bytes"].as_u64(), Some(0), "{:?}", &again);
    Ok(resumed)
}

/// What must come of a file, and how many bytes of it must come; None when damage shows only at the end, and all of it
/// is fetched again.
fn expected(size: usize, here: Here, overwrite: bool, small: usize) -> (&'static str, Option<usize>) {
    match here {
        Here::Same | Here::SameAtAnotherTime => ("unchanged", Some(0)),
        Here::Differs { .. } if !overwrite => ("failed", Some(0)),
        Here::Partial { thousandths } if size > small && size * thousandths / 1000 > 0 => {
            ("resumed", Some(size - size * thousandths / 1000))
        }
        // It is taken up, refuted by the digest, and fetched anew.
        Here::DamagedPartial { thousandths, .. } if size > small && size * thousandths / 1000 > 0 => {
            ("downloaded", None)
        }
        _ => ("downloaded", Some(size)),
    }
}

/// A content that is not the file's, of the same size or another one.
fn other(content: &[u8], size_too: bool) -> Vec<u8> {
    let mut other: Vec<_> = content.iter().map(|byte| !byte).collect();
    if size_too || other.is_empty() {
        other.push(b'x');
    }
    other
}

/// Makes what `here` says of the file.
fn put_here(lab: &Lab, name: &str, content: &[u8], etag: &ETag, modified: Timestamp, here: Here) {
    let path = lab.saved().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let whole = |content: &[u8], modified: Timestamp| {
        std::fs::write(&path, content).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified.into()).unwrap();
    };
    let later = modified + Duration::from_secs(77);
    let share = |thousandths: usize| content.len() * thousandths / 1000;
    match here {
        Here::Nothing => {}
        Here::Same => whole(content, modified),
        Here::SameAtAnotherTime => whole(content, later),
        Here::Differs { size_too } => whole(&other(content, size_too), later),
        Here::Partial { thousandths } => partial(lab, name, etag, content, share(thousandths)),
        Here::DamagedPartial { thousandths, at } => {
            let frontier = share(thousandths);
            let mut damaged = content.to_vec();
            if frontier > 0 {
                damaged[at * frontier / 1000] ^= 1;
            }
            partial(lab, name, etag, &damaged, frontier);
        }
        Here::PartialOfAnotherVersion => partial(lab, name, &"another".parse().unwrap(), content, content.len()),
        Here::PartialWithoutRecord { more } => {
            let name = format!(".{}.{etag}.qfs-part", path.file_name().unwrap().to_str().unwrap());
            std::fs::write(path.with_file_name(name), [content, &vec![b'q'; more]].concat()).unwrap();
        }
    }
}

/// A partial file as a killed client leaves it.
fn partial(lab: &Lab, name: &str, etag: &ETag, content: &[u8], frontier: usize) {
    let store = LocalStore::create_root(&lab.saved()).unwrap();
    let spec = StageSpec { size: Some(content.len() as u64), etag: etag.clone() };
    let stage = store.stage(&RemotePath::parse(name).unwrap(), &spec).unwrap();
    stage.write_at(0, &[Bytes::copy_from_slice(&content[..frontier])]).unwrap();
    stage.record_frontier(frontier as u64).unwrap();
}
