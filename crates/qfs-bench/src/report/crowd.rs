//! The crowd's result: a table for people, and the file with the total download time.

use std::fmt::Write as _;

use super::units::{escape, mib, rate, seconds, size};
use crate::crowd::{ClientRow, Crowd, Status};

/// The table for people.
#[must_use]
pub fn text(crowd: &Crowd) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_text(&mut out, crowd);
    out
}

fn write_text(out: &mut String, crowd: &Crowd) -> std::fmt::Result {
    let ok = crowd.processes - crowd.failed - crowd.differing;
    writeln!(out, "file         {} ({})", escape(&crowd.file), size(crowd.size))?;
    writeln!(out, "sha256       {}", crowd.sha256.as_deref().unwrap_or("no copy"))?;
    writeln!(
        out,
        "processes    {}: {ok} verified, {} failed, {} differing   (seed {})",
        crowd.processes, crowd.failed, crowd.differing, crowd.seed
    )?;
    writeln!(out)?;
    writeln!(out, "process    seconds       MB/s      CPU s   peak MiB  result")?;
    for row in &crowd.clients {
        writeln!(
            out,
            "{:>7} {:>10.3} {:>10} {:>10.3} {:>10.1}  {}",
            row.process,
            row.seconds,
            row_rate(row),
            row.cpu_seconds,
            row.peak_memory_bytes as f64 / 1_048_576.0,
            result(row)
        )?;
    }
    writeln!(out)?;
    if let Some(spread) = &crowd.elapsed {
        writeln!(
            out,
            "each         min {}, median {}, p95 {}, max {}",
            seconds(spread.min),
            seconds(spread.median),
            seconds(spread.p95),
            seconds(spread.max)
        )?;
    }
    writeln!(
        out,
        "all          total download time: {}, {} at {} together",
        seconds(crowd.seconds),
        size(crowd.bytes),
        rate(crowd.bytes_per_second)
    )?;
    writeln!(out, "clients      CPU {:.2} s, peak memory {}", crowd.cpu_seconds, mib(crowd.peak_memory_bytes))?;
    if let Some(server) = crowd.server {
        writeln!(out, "server       CPU {:.2} s, peak memory {}", server.cpu_seconds, mib(server.peak_memory_bytes))?;
    }
    Ok(())
}

fn row_rate(row: &ClientRow) -> String {
    match row.size {
        Some(size) if row.status == Status::Ok && row.seconds > 0.0 => {
            format!("{:.1}", size as f64 / 1e6 / row.seconds)
        }
        _ => "-".to_owned(),
    }
}

fn result(row: &ClientRow) -> String {
    let word = word(row.status);
    row.error.as_deref().map_or_else(|| word.to_owned(), |error| format!("{word}: {}", escape(error)))
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Failed => "failed",
        Status::Differs => "differs",
    }
}

/// The file with the total download time.
///
/// Its first line is the total in seconds and nothing else; then, for each process, a line
/// `process N: SECONDS ok|failed|differs`.
#[must_use]
pub fn time_file(crowd: &Crowd) -> String {
    let mut out = format!("{:.6}\n", crowd.seconds);
    for row in &crowd.clients {
        let _ = writeln!(out, "process {}: {:.6} {}", row.process, row.seconds, word(row.status));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Spread;

    fn crowd() -> Crowd {
        let row = |process, status, error: Option<&str>| ClientRow {
            process,
            status,
            seconds: 0.5,
            cpu_seconds: 0.25,
            peak_memory_bytes: 8 << 20,
            size: Some(1_000_000),
            sha256: Some("aa".into()),
            error: error.map(str::to_owned),
        };
        Crowd {
            file: "a\u{1b}b".into(),
            size: 1_000_000,
            sha256: Some("aa".into()),
            seed: 7,
            processes: 2,
            failed: 1,
            differing: 0,
            verified: false,
            seconds: 0.75,
            elapsed: Spread::of(&[0.5, 0.5]),
            bytes: 1_000_000,
            bytes_per_second: 1_333_333.0,
            cpu_seconds: 0.5,
            peak_memory_bytes: 8 << 20,
            memory_floor_bytes: 0,
            server: None,
            clients: vec![row(1, Status::Ok, None), row(2, Status::Failed, Some("exit code 3: no"))],
        }
    }

    #[test]
    fn the_table_says_what_happened() {
        let text = text(&crowd());
        for part in [
            r"file         a\u{1b}b (1.0 MB)",
            "2: 1 verified, 1 failed, 0 differing   (seed 7)",
            "min 0.500 s, median 0.500 s, p95 0.500 s, max 0.500 s",
            "total download time: 0.750 s, 1.0 MB at 1.33 MB/s together",
            "failed: exit code 3: no",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn the_time_file_begins_with_the_number() {
        assert_eq!(time_file(&crowd()), "0.750000\nprocess 1: 0.500000 ok\nprocess 2: 0.500000 failed\n");
    }
}
