//! `doctor`: what stands between this machine and a server.

use std::sync::Arc;

use qfs_client::insight::doctor::{Ending, Examination, Finding, ending, examine, findings};
use qfs_client::trust::known_servers::{Keeper, Newcomers};
use serde_json::{Value, json};

use crate::cli::connection::Context;
use crate::cli::exit::Exit;
use crate::cli::report::json;
use crate::cli::sanitize::inert;

/// Examines, and prints a line for each finding. It asks nobody, and trusts nobody new without `--accept-new`.
pub(crate) async fn run(context: &Context) -> Exit {
    let settings = &context.settings;
    let connect = &settings.connect;
    let newcomers = if settings.accept_new { Newcomers::Accept } else { Newcomers::Refuse };
    let trust = Arc::new(Keeper::new(settings.known_servers.clone(), newcomers));
    context.screen.notice(&format!("examining {}; this takes some seven seconds", connect.server));
    let examination = examine(connect, trust, &settings.save_dir).await;
    let found = findings(&examination);
    let text = if settings.json { machine(&examination, &found) } else { found.iter().map(line).collect() };
    // Nobody reading is no failure.
    let _ = context.screen.result(&text);
    match ending(&examination) {
        Ending::Reached => Exit::Done,
        Ending::Unreachable => Exit::Connection,
        Ending::Untrusted => Exit::Trust,
        Ending::Refused => Exit::Refused,
    }
}

fn line(finding: &Finding) -> String {
    let advice = finding.advice.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default();
    let text = format!("{:<8} {:<15} {}{advice}", finding.level.name(), finding.check, finding.what);
    format!("{}\n", inert(&text))
}

fn machine(examination: &Examination, found: &[Finding]) -> String {
    let findings: Vec<Value> = found
        .iter()
        .map(|finding| {
            json!({
                "check": finding.check,
                "level": finding.level.name(),
                "message": finding.what,
                "advice": finding.advice,
            })
        })
        .collect();
    let path = examination.path.as_ref();
    let measured = json!({
        "round_trip_seconds": path.map(|path| path.round_trip.as_secs_f64()),
        "packets_sent": path.map(|path| path.probes),
        "packets_lost": path.map(|path| path.lost),
        "payload_bytes": path.map(|path| path.payload),
        "send_buffer_bytes": path.and_then(|path| path.buffers).map(|buffers| buffers.send),
        "receive_buffer_bytes": path.and_then(|path| path.buffers).map(|buffers| buffers.receive),
        "packets_a_call": examination.segments,
        "down_bytes_per_second": examination.down.as_ref().ok().map(|rate| rate.per_second()),
        "up_bytes_per_second": examination.up.as_ref().ok().map(|rate| rate.per_second()),
        "disk_bytes_per_second": examination.disk.as_ref().ok().map(|disk| disk.rate.per_second()),
        "disk_free_bytes": examination.disk.as_ref().ok().map(|disk| disk.free),
    });
    let all = json!({"server": examination.server.to_string(), "findings": findings, "measured": measured});
    format!("{}\n", json::text(&all))
}
