//! What is asked of Azure, as a listener sees it, and what its answers mean.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use jiff::Timestamp;

use super::*;

/// An answer: a status, and what else stands in its head; None breaks the connection off.
type Told = Option<(u16, &'static str)>;

/// A container at a listener that gives these answers, and the heads of what it is asked, in small letters.
fn container(answers: Vec<Told>) -> (Box<dyn Cloud>, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (asked, heads) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let start = head.len();
                stream.read_line(&mut head).unwrap();
                let line = head[start..].to_lowercase();
                length = line.strip_prefix("content-length:").map_or(length, |text| text.trim().parse().unwrap());
            }
            stream.read_exact(&mut vec![0; length]).unwrap();
            asked.send(head.to_lowercase()).unwrap();
            if let Some((status, more)) = answer {
                write!(stream.get_mut(), "HTTP/1.1 {status} X\r\n{more}content-length: 0\r\nconnection: close\r\n\r\n")
                    .unwrap();
            }
        }
    });
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let options = [
        option("azure_storage_account_name", "me"),
        option("azure_storage_account_key", "a2V5"),
        option("azure_storage_endpoint", &endpoint),
        option("azure_allow_http", "true"),
    ];
    (connect(&Location::parse("az://box").unwrap().unwrap(), &options).unwrap(), heads)
}

fn wait<T>(job: Job<'_, T>) -> Result<T, CloudError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(job)
}

fn attributes() -> Attributes {
    Attributes { nonce: Some("n1".to_owned()), ..Attributes::fresh(Timestamp::UNIX_EPOCH, true) }
}

#[test]
fn every_change_carries_its_condition_and_what_stands_beside() {
    let (cloud, heads) = container(vec![Some((201, "etag: \"e\"\r\n")); 6]);
    let (attributes, tag) = (attributes(), Only::Tag("\"old\"".to_owned()));
    let asked = |all: &[&str]| {
        let head = heads.recv().unwrap();
        assert!(head.contains("authorization: sharedkey me:"), "{head}");
        all.iter().for_each(|part| assert!(head.contains(part), "{part} in {head}"));
    };
    let beside = ["x-ms-meta-qfs_version: n1", "x-ms-meta-qfs_executable: 1", "x-ms-meta-qfs_modified: 1970"];

    assert_eq!(wait(cloud.put("a b", Bytes::from_static(b"x"), &attributes, &Only::Absent)).unwrap().unwrap(), "\"e\"");
    asked(&["put /box/a%20b http", "if-none-match: *", beside[0], beside[1], beside[2]]);
    let old = Info { size: 1, tag: Some("\"old\"".to_owned()), changed: 0, attributes: None };
    wait(cloud.describe("a", &old, &attributes)).unwrap();
    asked(&["put /box/a?comp=metadata", "if-match: \"old\"", beside[0], beside[1], beside[2]]);
    wait(cloud.delete("a", Some("\"old\""))).unwrap();
    asked(&["delete /box/a http", "if-match: \"old\""]);
    let upload = wait(cloud.begin("a", &attributes)).unwrap();
    let block = wait(cloud.part("a", &upload, 3, Bytes::from_static(b"x"))).unwrap();
    asked(&[&format!("put /box/a?comp=block&blockid={block} ")]);
    assert_eq!((block.len(), &block[24..]), (32, "00000003"));
    for (only, header) in [(tag, "if-match: \"old\""), (Only::Absent, "if-none-match: *")] {
        wait(cloud.complete("a", &upload, std::slice::from_ref(&block), &attributes, &only)).unwrap();
        asked(&["put /box/a?comp=blocklist", header, beside[0], beside[1], beside[2]]);
    }
}

#[test]
fn an_answer_that_was_lost_is_not_taken_for_somebody_else() {
    let gone = Some((400, "x-ms-error-code: InvalidBlockList\r\n"));
    let there = |nonce| Some((200, nonce));
    let ours = "last-modified: Sat, 28 Nov 2026 00:00:00 GMT\r\netag: \"e\"\r\nx-ms-meta-qfs_version: n1\r\n";
    let theirs = "last-modified: Sat, 28 Nov 2026 00:00:00 GMT\r\netag: \"f\"\r\nx-ms-meta-qfs_version: n2\r\n";
    let complete = |answers, only| {
        let (cloud, _heads) = container(answers);
        wait(cloud.complete("a", "u", &["b".to_owned()], &attributes(), &only))
    };
    assert_eq!(complete(vec![None, gone, there(ours)], Only::Absent).unwrap().unwrap(), "\"e\"");
    assert!(matches!(complete(vec![None, gone, there(theirs)], Only::Absent), Err(CloudError::Precondition)));
    // Blocks that somebody else's upload has discarded: nothing of ours is lost where it may be replaced.
    assert!(matches!(complete(vec![gone], Only::Absent), Err(CloudError::Precondition)));
    assert!(matches!(complete(vec![gone], Only::Any), Err(CloudError::Unavailable(_))));
    let none = Some((404, "x-ms-error-code: BlobNotFound\r\n"));
    let (cloud, _heads) = container(vec![None, none, none]);
    wait(cloud.delete("a", Some("\"e\""))).unwrap();
    let (cloud, _heads) = container(vec![None, none]);
    wait(cloud.delete("a", None)).unwrap();
    let (cloud, _heads) = container(vec![none]);
    assert!(matches!(wait(cloud.delete("a", None)), Err(CloudError::Missing)));
    // The first attempt did nothing, and the object that it was for is another one since.
    let other = Some((412, "x-ms-error-code: ConditionNotMet\r\n"));
    let (cloud, _heads) = container(vec![Some((503, "")), other, there(theirs)]);
    assert!(matches!(wait(cloud.delete("a", Some("\"e\""))), Err(CloudError::Precondition)));
}

#[test]
fn a_range_is_refused_by_the_status_alone() {
    let get = |answer| {
        let (cloud, _heads) = container(vec![Some(answer)]);
        wait(cloud.get("x416", 0..5, None)).map(|(info, _)| info)
    };
    // The text of the error names the object.
    assert!(matches!(get((400, "")), Err(CloudError::Unavailable(_))));
    assert!(matches!(get((416, "x-ms-error-code: InvalidRange\r\n")), Err(CloudError::Range)));
}

#[test]
fn refusals_mean_what_azure_says_and_not_their_status_alone() {
    let failure = |status: u16, code: &str| classify(StatusCode::from_u16(status).unwrap(), code);
    for (status, code) in [(409, "BlobAlreadyExists"), (412, "ConditionNotMet"), (400, "InvalidBlockList"), (404, "")] {
        assert!(matches!(failure(status, code), Failure::Condition(_)), "{status} {code}");
    }
    for (status, code) in [(409, "PendingCopyOperation"), (503, "ServerBusy"), (500, "OperationTimedOut")] {
        assert!(matches!(failure(status, code), Failure::Passing(_)), "{status} {code}");
    }
    for (status, code) in [(412, "LeaseIdMissing"), (403, "AuthorizationFailure"), (400, "InvalidInput")] {
        assert!(matches!(failure(status, code), Failure::Final(_)), "{status} {code}");
    }
    assert!(matches!(failure(404, "ContainerNotFound"), Failure::Final(CloudError::NoBucket)));
}

#[test]
fn a_container_has_one_address() {
    let emulator = |named: Option<&str>| Where::Emulator(named.map(str::to_owned));
    for (place, address) in [
        (Where::Azure, "https://me.blob.core.windows.net/box"),
        (Where::Fabric, "https://me.blob.fabric.microsoft.com/box"),
        (Where::Endpoint("https://me.example.org/".to_owned()), "https://me.example.org/box"),
        (emulator(None), "http://127.0.0.1:10000/me/box"),
        (emulator(Some("http://127.0.0.1:9/")), "http://127.0.0.1:9/me/box"),
    ] {
        assert_eq!(place.address("me", "box"), address);
    }
}

#[test]
fn an_option_that_is_none_is_refused() {
    let location = Location::parse("az://box/a").unwrap().unwrap();
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut options = vec![option("azure_storage_account_name", "me"), option("azure_storage_account_key", "a2V5")];
    assert!(connect(&location, &options).is_ok());
    options.push(option("colour", "red"));
    assert!(matches!(connect(&location, &options), Err(SetupError::Setting(_))));
}

#[test]
fn a_list_of_blocks_is_a_document() {
    let list = block_list(&["00aa".to_owned(), "00bb".to_owned()]);
    let list = String::from_utf8(list.to_vec()).unwrap();
    assert!(list.ends_with("<Uncommitted>00aa</Uncommitted><Uncommitted>00bb</Uncommitted></BlockList>"), "{list}");
}
