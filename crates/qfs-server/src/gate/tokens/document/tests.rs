//! What is read, what is refused, what is found.

use proptest::prelude::*;

use super::*;

fn line(id: &str, secret: &str, rest: &str) -> String {
    let digest = Digest::of(secret.as_bytes());
    format!("{{\"id\":\"{id}\",\"sha256\":\"{digest}\",\"created\":\"2026-11-24T20:00:00Z\"{rest}}}\n")
}

fn token(text: &str) -> Token {
    text.parse().unwrap()
}

fn reason_of(text: &str) -> (usize, LineError) {
    match Document::parse(text.as_bytes()) {
        Err(FormatError::Line { line, reason }) => (line, reason),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn what_is_written_reads_back_byte_by_byte() {
    let all = r#","expires":"2026-12-31T00:00:00Z","scope":["photos","*.csv"],"name":"Ann\n é""#;
    let text = line("00000001", "a", "") + &line("0b5c1f9e", "b", all);
    let document = Document::parse(text.as_bytes()).unwrap();
    assert_eq!(document.to_string(), text);
    assert_eq!(Document::parse(text.trim_end().as_bytes()).unwrap(), document);
    assert_eq!(Document::parse(b"").unwrap(), Document::default());
    let second = document.find(&token("b")).unwrap();
    assert_eq!((second.id.to_string(), second.name.as_deref()), ("0b5c1f9e".to_owned(), Some("Ann\n é")));
    assert_eq!(second.scope.as_ref().unwrap().texts().collect::<Vec<_>>(), ["photos", "*.csv"]);
    assert!(document.find(&token("c")).is_none());
    assert!(!second.is_expired("2026-12-30T23:59:59Z".parse().unwrap()));
    assert!(second.is_expired("2026-12-31T00:00:00Z".parse().unwrap()));
}

// Each of these fails when the parser forgives it: a rule that is not understood would become a weaker one.
#[test]
fn a_rule_that_is_not_understood_is_no_rule() {
    for rest in [
        r#","scope":null"#,
        r#","scope":[]"#,
        r#","scope":"photos""#,
        r#","scope":["/etc"]"#,
        r#","scope":["a["]"#,
        r#","scopes":["photos"]"#,
        r#","Scope":["photos"]"#,
        r#","scope":["a"],"scope":["b"]"#,
        r#","expires":null"#,
        r#","expires":"tomorrow""#,
        r#","expires":1"#,
        r#","expire":"2026-12-31T00:00:00Z""#,
        r#","name":"""#,
        r#","name":7"#,
        "}",
        ",",
    ] {
        let text = line("00000001", "a", "") + &line("00000002", "b", rest);
        let (at, reason) = reason_of(&text);
        assert!(at == 2 && matches!(reason, LineError::NotARecord(_)), "{rest}: {reason:?}");
    }
    for id in ["", "0000000", "000000001", "0000000G", "0000000A", "../../.."] {
        assert!(matches!(reason_of(&line(id, "a", "")), (1, LineError::NotARecord(_))), "{id}");
    }
    for text in ["\n", "# comment\n", "[]\n", "null\n", " {}\n", "\0\n", "\u{feff}{}\n"] {
        assert_eq!(reason_of(text), (1, LineError::NotAnObject), "{text:?}");
    }
    assert_eq!(reason_of(&(line("00000001", "a", "") + "\n")), (2, LineError::NotAnObject));
    let no_digest = r#"{"id":"00000001","created":"2026-11-24T20:00:00Z"}"#;
    assert!(matches!(reason_of(no_digest), (1, LineError::NotARecord(_))));
}

#[test]
fn every_cut_of_a_line_is_refused() {
    let text = line("00000001", "a", r#","scope":["photos"]"#);
    for end in 1..text.len() - 1 {
        assert!(Document::parse(&text.as_bytes()[..end]).is_err(), "{end}");
    }
}

#[test]
fn two_rules_for_one_token_are_none() {
    let text = line("00000001", "a", "") + &line("00000002", "a", r#","scope":["x"]"#);
    assert_eq!(reason_of(&text), (2, LineError::SameToken(1)));
    let text = line("00000001", "a", "") + &line("00000001", "b", "");
    assert_eq!(reason_of(&text), (2, LineError::SameId(1)));
}

#[test]
fn bounds() {
    let most: String = (0..MAX_TOKENS).map(|n| line(&format!("{n:08x}"), &n.to_string(), "")).collect();
    assert_eq!(Document::parse(most.as_bytes()).unwrap().records().len(), MAX_TOKENS);
    let more = most + &line("ffffffff", "x", "");
    assert_eq!(Document::parse(more.as_bytes()), Err(FormatError::TooMany));
    assert_eq!(Document::parse(&vec![b'{'; MAX_FILE_BYTES + 1]), Err(FormatError::TooLarge));
    assert_eq!(reason_of(&"{".repeat(MAX_LINE_BYTES + 1)), (1, LineError::TooLong));
    let name = "x".repeat(MAX_NAME_BYTES + 1);
    assert!(matches!(
        reason_of(&line("00000001", "a", &format!(",\"name\":\"{name}\""))),
        (1, LineError::NotARecord(_))
    ));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(document) = Document::parse(&bytes) {
            prop_assert!(bytes.is_empty() || !document.records().is_empty());
        }
    }

    // Whatever a slip of the hand does to one byte, no token reaches more than it did: it is the same rule, or none is.
    #[test]
    fn one_wrong_byte_widens_nothing(at in 0usize..300, byte in any::<u8>()) {
        let rest = r#","expires":"2026-12-31T00:00:00Z","scope":["photos"],"name":"Ann""#;
        let mut bytes = line("00000001", "a", rest).into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(document) = Document::parse(&bytes) {
            for record in document.records() {
                prop_assert!(record.scope.is_some() && record.expires.is_some());
            }
        }
    }

    #[test]
    fn records_read_back(ids in proptest::collection::hash_set(any::<u32>(), 0..20), name in "\\PC{1,30}") {
        let mut document = Document::default();
        for id in ids {
            document.push(Record {
                id: TokenId::from_bytes(id.to_be_bytes()),
                sha256: Digest::of(&id.to_be_bytes()),
                created: Timestamp::UNIX_EPOCH,
                expires: (id % 2 == 0).then_some(Timestamp::UNIX_EPOCH),
                can: (id % 5 == 0).then_some(Rights::ALL),
                scope: (id % 3 == 0).then(|| Scope::parse(&["a".to_owned()]).unwrap()),
                name: Some(name.clone()),
            });
        }
        prop_assert_eq!(Document::parse(document.to_string().as_bytes()), Ok(document));
    }
}
