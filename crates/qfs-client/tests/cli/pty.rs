//! A program on a terminal: a pseudo-terminal whose other end the test holds.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::emulator::Emulator;
use crate::support::{wait, wait_until};

/// A program with all three standard streams on one terminal.
pub(crate) struct Terminal {
    child: Child,
    master: File,
    shown: Arc<Mutex<Shown>>,
    reader: std::thread::JoinHandle<()>,
}

/// What the program wrote, and what it looks like.
struct Shown {
    bytes: Vec<u8>,
    screen: Emulator,
}

const ROWS: u16 = 40;

impl Terminal {
    /// On a terminal of 100 columns.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_wide(command, 100)
    }

    pub(crate) fn start_wide(command: &mut Command, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let open = || {
            let flags = rustix::fs::OFlags::NOCTTY.bits().cast_signed();
            let path = std::ffi::OsStr::from_bytes(name.as_bytes());
            OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).unwrap()
        };
        let slave = open();
        tcsetwinsize(&slave, size(columns)).unwrap();
        let child = command
            .env("TERM", "xterm-256color")
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave)
            .spawn()
            .unwrap();
        // The command keeps its end of the terminal open until it is dropped or given other streams.
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let master = File::from(master);
        let shown = Arc::new(Mutex::new(Shown { bytes: Vec::new(), screen: Emulator::new(columns.into()) }));
        let (mut from, to) = (master.try_clone().unwrap(), Arc::clone(&shown));
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Reading fails when the last program has left the terminal.
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                let mut shown = to.lock().unwrap();
                shown.bytes.extend_from_slice(&buffer[..n]);
                shown.screen.feed(&buffer[..n]);
            }
        });
        Self { child, master, shown, reader }
    }

    /// What has been shown so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap().bytes).into_owned()
    }

    /// Looks at the screen.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&mut Emulator) -> T) -> T {
        at(&mut self.shown.lock().unwrap().screen)
    }

    /// Waits until the screen looks like that.
    pub(crate) fn expect_screen(&self, what: &str, is_so: impl Fn(&Emulator) -> bool) {
        wait_until(what, || self.look(|screen| is_so(screen)) || self.reader.is_finished());
        self.look(|screen| assert!(is_so(screen), "{what}: {:?}", screen.rows()));
    }

    /// Makes the terminal this wide and tells the program (SIGWINCH).
    pub(crate) fn resize(&self, columns: u16) {
        tcsetwinsize(&self.master, size(columns)).unwrap();
        self.shown.lock().unwrap().screen.resize(columns.into());
        self.signal(Signal::WINCH);
    }

    /// Waits until `text` is shown.
    pub(crate) fn expect(&self, text: &str) {
        wait_until(&format!("{text:?} on the terminal"), || self.text().contains(text) || self.reader.is_finished());
        assert!(self.text().contains(text), "{text:?} is not in {:?}", self.text());
    }

    /// Types a line.
    pub(crate) fn type_line(&mut self, line: &str) {
        self.master.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The exit code and everything that was shown.
    pub(crate) fn finish(mut self) -> (Option<i32>, String) {
        let code = wait(&mut self.child);
        self.reader.join().unwrap();
        (code, String::from_utf8_lossy(&self.shown.lock().unwrap().bytes).into_owned())
    }
}

fn size(columns: u16) -> Winsize {
    Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
