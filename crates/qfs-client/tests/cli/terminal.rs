//! CLI.md: what is different on a terminal: progress bars, colour, escaped names.

use std::process::Command;

use qfs_testkit::udp_proxy::UdpProxy;
use rustix::process::Signal;
use unicode_width::UnicodeWidthStr as _;

use crate::emulator::Emulator;
use crate::pty::Terminal;
use crate::support::{Lab, noise, slow_link, wait_until};

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

/// Names that are long, wide, or would act on the terminal if they were not escaped before they are measured.
const NAMES: [&str; 3] =
    ["a-report-with-a-rather-long-name.tar.gz", "x\x1b[2J\u{202e}\x1b[2J\x1b[2J.bin", "日本語のとても長い名前です.txt"];

/// Whether the last rows are a line for each of the names and one for the whole.
fn shows_bars(screen: &Emulator, width: usize) -> bool {
    let rows = screen.rows();
    let bars = rows.len().saturating_sub(NAMES.len() + 1);
    let [files @ .., whole] = &rows[bars..] else { return false };
    let names = ["a-", "x\\u", "日"];
    files.len() == NAMES.len()
        && whole.starts_with("0/3")
        && whole.ends_with(['%', 't'])
        && files.iter().zip(names).all(|(row, name)| row.trim_start().starts_with(name))
        && files.iter().all(|row| row.width() < width && row.ends_with(if width > 60 { 'B' } else { '%' }))
}

/// Fails when: a bar takes more than one line of the terminal, or its name is lost, at any of these widths; the width is that of
/// the start for ever; a name is measured before it is escaped, or by its characters.
#[test]
fn bars_fit_the_terminal_and_follow_its_size() {
    // Far more than comes while it is looked at, on a machine that is busy; then it is interrupted.
    let content = vec![7; 16 * LARGE];
    let lab = Lab::new(&NAMES.map(|name| (name, &content[..])));
    for width in [20, 34, 60, 120] {
        let proxy = slow_link(lab.server().address());
        let place = width.to_string();
        let mut command = get(&lab, &proxy, &["--parallel", "--save-dir", &place]);
        let terminal = Terminal::start_wide(&mut command, width);
        terminal.expect_screen("bars", |screen| shows_bars(screen, width.into()) && screen.rows().len() == 4);
        assert_eq!(terminal.look(Emulator::take_wrapped), [""; 0], "{width}");
        for width in [if width == 60 { 20 } else { 60 }, width] {
            terminal.resize(width);
            terminal.expect_screen("bars of the new width", |screen| shows_bars(screen, width.into()));
            // What was on its way when the width changed does not count.
            terminal.look(Emulator::take_wrapped);
            let drawn = terminal.text().len();
            wait_until("another drawing", || terminal.text().len() > drawn + 200);
            assert_eq!(terminal.look(Emulator::take_wrapped), [""; 0], "{width}");
        }
        terminal.signal(Signal::INT);
        assert_eq!(terminal.finish().0, Some(130));
    }
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
