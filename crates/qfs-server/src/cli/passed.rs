//! Sockets that a service manager has bound and passes on (`LISTEN_FDS`, sd_listen_fds(3)). Must not know what is served on them.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use listenfd::ListenFd;
use qfs_server::PassedSockets;
use tracing::info;

use super::failure::Failure;

/// As many may be passed: one for UDP, one for TCP.
const MOST: usize = 2;

const HINT: &str =
    "the .socket unit has one ListenDatagram= and one ListenStream=, both with the same address and port";

/// The sockets that were passed to this process, None without any. To be called once, while there is one thread: the variables are removed, so
/// that no program that this one starts takes the sockets for its own.
pub(crate) fn sockets() -> Result<Option<PassedSockets>, Failure> {
    let mut passed = ListenFd::from_env();
    if passed.len() == 0 {
        return Ok(None);
    }
    let refused = |why: String| Failure::refused(format!("cannot serve on the sockets that were passed: {why}"), HINT);
    if passed.len() > MOST {
        return Err(refused(format!("there are {}", passed.len())));
    }
    let (mut udp, mut tcp) = (Vec::new(), Vec::new());
    for index in 0..passed.len() {
        match passed.take_udp_socket(index) {
            Ok(socket) => udp.extend(socket),
            Err(_) => tcp.extend(passed.take_tcp_listener(index).map_err(|e| refused(e.to_string()))?),
        }
    }
    both(udp, tcp).map(Some).map_err(refused)
}

fn both(udp: Vec<UdpSocket>, tcp: Vec<TcpListener>) -> Result<PassedSockets, String> {
    if tcp.len() > 1 {
        return Err("there is no UDP socket among them".to_owned());
    }
    let tcp = tcp.into_iter().next();
    let mut udp = udp.into_iter();
    let (Some(udp), None) = (udp.next(), udp.next()) else {
        return Err("there has to be one UDP socket among them".to_owned());
    };
    let address = local(udp.local_addr())?;
    if let Some(other) = tcp.as_ref().map(|tcp| local(tcp.local_addr())).transpose()?
        && other.port() != address.port()
    {
        return Err(format!("UDP has port {}, and TCP port {}", address.port(), other.port()));
    }
    info!("serving on sockets of the service manager, {address}; --ip, --port and --endpoints do not count");
    Ok(PassedSockets { udp, tcp })
}

fn local(address: io::Result<SocketAddr>) -> Result<SocketAddr, String> {
    address.map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").unwrap()
    }

    fn tcp() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn one_of_each_kind_on_one_port() {
        assert!(both(vec![udp()], Vec::new()).is_ok_and(|passed| passed.tcp.is_none()));
        assert!(both(Vec::new(), vec![tcp()]).unwrap_err().contains("one UDP socket"));
        assert!(both(vec![udp(), udp()], Vec::new()).unwrap_err().contains("one UDP socket"));
        assert!(both(Vec::new(), vec![tcp(), tcp()]).unwrap_err().contains("no UDP socket"));
        // The kernel may give both the same number, but hardly.
        let (udp, tcp) = (udp(), tcp());
        let same = udp.local_addr().unwrap().port() == tcp.local_addr().unwrap().port();
        assert_eq!(both(vec![udp], vec![tcp]).is_ok(), same);
    }
}
