//! CLI.md: what is different on a terminal: progress bars, colour, escaped names.

use std::process::Command;

use qfs_testkit::udp_proxy::UdpProxy;
use rustix::process::Signal;

use crate::pty::Terminal;
use crate::support::{Lab, noise, slow_link};

/// A second on the slow link.
const LARGE: usize = 5 << 20;

fn lab() -> (Lab, UdpProxy) {
    let content = noise(LARGE);
    let lab = Lab::new(&[("large one", &content), ("larger\x1b[2J", &content)]);
    let proxy = slow_link(lab.server().address());
    (lab, proxy)
}

fn get(lab: &Lab, proxy: &UdpProxy, args: &[&str]) -> Command {
    let mut command = lab.client(["get", "--all"]);
    command.env("QFS_PORT", proxy.addr().port().to_string()).args(args);
    command
}

#[test]
fn a_bar_for_each_running_file_and_one_for_the_whole() {
    let (lab, proxy) = lab();
    let terminal = Terminal::start(&mut get(&lab, &proxy, &["--parallel"]));
    terminal.expect("large one");
    terminal.expect("/2 files");
    terminal.expect("larger\\u{1b}[2J");
    terminal.expect("MiB/s");
    terminal.expect(" left");
    terminal.expect("10.00 MiB");
    let (code, text) = terminal.finish();
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("larger\x1b[2J"), "a name acted on the terminal");
    assert!(text.contains("total download time: "), "{text}");
    // The bars are cleared: after the total comes nothing.
    let last = text.trim_end().lines().last().unwrap();
    assert!(last.contains("total download time"), "{last:?}");
    assert_eq!(text.matches("  large one\r\n").count(), 1, "{text}");
}

#[test]
fn colour_unless_no_color() {
    let (lab, proxy) = lab();
    let is_coloured = |text: &str| text.contains("\x1b[3");
    let (_, text) = Terminal::start(&mut get(&lab, &proxy, &[])).finish();
    assert!(is_coloured(&text), "{text:?}");
    let (_, text) = Terminal::start(get(&lab, &proxy, &["--save-dir", "other"]).env("NO_COLOR", "1")).finish();
    assert!(text.contains("/2 files") && !is_coloured(&text), "{text:?}");
}

#[test]
fn no_bars_when_quiet_or_for_programs() {
    let (lab, proxy) = lab();
    for (flag, directory) in [("-q", "a"), ("--json", "b")] {
        let (code, text) = Terminal::start(&mut get(&lab, &proxy, &[flag, "--save-dir", directory])).finish();
        assert_eq!(code, Some(0));
        assert!(!text.contains("/2 files") && !text.contains('\x1b'), "{text:?}");
    }
}

#[test]
fn an_interrupt_clears_the_bars_and_says_how_to_continue() {
    let (lab, proxy) = lab();
    let terminal = Terminal::start(&mut get(&lab, &proxy, &[]));
    terminal.expect("/2 files");
    terminal.signal(Signal::INT);
    let (code, text) = terminal.finish();
    assert_eq!(code, Some(130));
    let lines: Vec<_> = text.trim_end().lines().collect();
    assert!(lines[lines.len() - 1].contains("run the same command again to continue"), "{text:?}");
    assert!(text.ends_with("\r\n"), "{text:?}");
}
