//! Malicious clients against the real server, down to the packet.
//!
//! After each of them an honest client is served, nothing has panicked, and the server's memory is what it was, more or less.

mod connections;
mod requests;
mod streams;

use qfs_core::wire::StatusCode;
use quinn::VarInt;

use crate::crowd::runtime;
use crate::raw::{ask, connect, soon, status};
use crate::tally::Tally;
use crate::victim::Victim;

fn victim() -> Victim {
    Victim::new(21, &[("small", b"x")], &[])
}

/// Promise: whatever is sent on a stream is answered with its status, and harms nobody.
///
/// Fails when: `announced_length` believes any length; `ByteRange::within` clips instead of refusing; a name is opened that
/// `RemotePath` refuses; a parser's error is `internal`.
#[test]
fn requests_that_are_none() {
    let victim = victim();
    let requests = requests::requests();
    let mut tally = Tally::new("malicious_requests", requests.len() as u64);
    runtime().block_on(async {
        for (name, bytes, expected) in requests {
            let connection = connect(victim.address()).await;
            assert_eq!(status(&connection, &bytes).await, expected, "{name}");
            // The connection itself is not to blame.
            assert_eq!(ask(&connection, br#"{"command":"get_files_list"}"#).await, StatusCode::OK, "after {name}");
            connection.close(VarInt::from_u32(0), b"");
            victim.is_well(name).await;
            tally.note("right status");
        }
    });
    tally.end("honest clients served, 0 panics");
}

/// Promise: whatever a connection does, others are served.
///
/// Fails when: uni streams or datagrams are let in (`tuning::common`); early data is accepted (`tls::server_config`); nothing
/// counts abandoned streams (`Abandoned`); a request has no deadline (`read_request`); what a client says at parting is
/// taken over (`transport::connection::lost`) and logged as it came (`Visit::end`).
#[test]
fn connections_that_misbehave() {
    let victim = victim();
    let mut tally = Tally::new("malicious_connections", 19);
    macro_rules! behaviours {
        ($($name:literal => $behaviour:expr;)*) => {
            runtime().block_on(async {
                $(
                    soon($behaviour(victim.address())).await;
                    victim.is_well($name).await;
                    tally.note("harmless");
                )*
            });
        };
    }
    behaviours! {
        "another protocol" => connections::another_protocol;
        "early data" => connections::early_data;
        "one-way streams and datagrams" => connections::what_is_not_offered;
        "more streams than allowed" => streams::more_streams_than_allowed;
        "streams opened and reset" => streams::open_and_reset;
        "an answer stopped before it begins" => streams::stop_at_once;
        "an answer stopped in the middle" => streams::stop_in_the_middle;
        "a request reset in the middle" => streams::reset_in_the_middle;
        "a request that never ends" => streams::endless_request;
        "a request byte by byte" => streams::trickle;
        "500 requests at once" => streams::a_burst;
        "a window that never opens" => connections::a_closed_window;
        "extreme transport parameters" => connections::extreme_parameters;
        "a close in the middle, with a reason that is a trap" => connections::close_with_a_trap;
        "clients that vanish" => connections::vanish;
        "connections opened and closed" => connections::connection_flood;
        "addresses that change" => connections::wander;
        "handshakes left half done" => connections::half_handshakes;
        "packets that are none" => connections::garbage;
    }
    tally.end("honest clients served, 0 panics");
}
