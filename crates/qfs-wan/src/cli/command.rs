//! Runs the command: its environment, its exit code, and signals meanwhile.

use qfs_wan::Wan;
use std::{ffi::OsString, io, os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
};

/// How long the command has to end after a signal, before it is killed. A second signal kills at once.
const GRACE: Duration = Duration::from_secs(5);

/// The signals that ask the program to end. They are caught from the creation of this value on, so that they no longer
/// end this process, which has namespaces to clean up.
pub(crate) struct EndSignals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl EndSignals {
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Runs `command` beside `wan` and returns its exit code, as a shell would: 128 + N when signal N ended it.
pub(crate) async fn run(command: &[OsString], wan: &Wan, signals: &mut EndSignals) -> io::Result<u8> {
    let (program, args) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut child = Command::new(program)
        .args(args)
        .env("WAN_A", wan.a().name())
        .env("WAN_B", wan.b().name())
        .env("WAN_A_IP", Wan::A_IP.to_string())
        .env("WAN_B_IP", Wan::B_IP.to_string())
        .spawn()?;
    tokio::select! {
        status = child.wait() => status.map(exit_code),
        () = signals.next() => end(&mut child, signals).await.map(exit_code),
    }
}

async fn end(child: &mut Child, signals: &mut EndSignals) -> io::Result<ExitStatus> {
    if let Some(pid) = child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?)) {
        // It may have ended already, which is fine.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    tokio::select! {
        status = child.wait() => return status,
        () = tokio::time::sleep(GRACE) => {}
        () = signals.next() => {}
    }
    child.kill().await?;
    child.wait().await
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_a_shells() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
    }
}
