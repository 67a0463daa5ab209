//! The address that clients connect to.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// Most connections that wait in the system's queue until they are accepted, if it allows so many (`net.core.somaxconn`, 4,096 on
/// Linux). One beyond is dropped, and its client tries again a second later: with the 128 that are usual a burst of clients
/// would see that.
const BACKLOG: u32 = 4_096;

/// Listens on `address`.
///
/// # Errors
/// What the system says: the address is in use, is not of this machine, or may not be used.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A process that starts again need not wait for its predecessor's connections to be forgotten.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, Ipv6Addr, TcpStream},
        time::Duration,
    };

    use super::*;

    #[tokio::test]
    async fn a_burst_waits_in_the_queue() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        // Nobody accepts them. A client that is dropped hears nothing for a second.
        let burst: Result<Vec<_>, _> = (0..300)
            .map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(900)))
            .collect();
        assert_eq!(burst.map(|burst| burst.len()).map_err(|error| error.to_string()), Ok(300));
    }

    #[tokio::test]
    async fn an_address_in_use_is_refused_and_one_that_was_left_is_not() {
        let first = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = first.local_addr().unwrap();
        assert_eq!(listen(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let client = TcpStream::connect(address).unwrap();
        // We end the connection first, so it is we who remember it.
        drop(first.accept().await.unwrap());
        drop((first, client));
        listen(address).unwrap();
    }

    #[tokio::test]
    async fn both_versions_of_the_protocol_will_do() {
        match listen((Ipv6Addr::LOCALHOST, 0).into()) {
            Ok(listener) => {
                TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            }
            // A machine without IPv6 says so.
            Err(error) => assert_ne!(error.kind(), io::ErrorKind::InvalidInput, "{error}"),
        }
    }
}
