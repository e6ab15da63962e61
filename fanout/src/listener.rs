//! A shard's own listening socket.
//!
//! Every shard listens on the same address with SO_REUSEPORT, and the kernel spreads connections
//! over them. What is set here is inherited by each accepted connection, so accepting costs no
//! `setsockopt`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::options::SocketOptions;

/// Whether `address` is free. SO_REUSEPORT would let a second process of the same user share the
/// port in silence, so this asks without it.
///
/// # Errors
/// What `bind` says: `EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`.
pub(crate) fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = new_socket(address)?;
    socket.bind(&address.into())?;
    // Binding alone lets two sockets with SO_REUSEADDR share a port; listening doesn't.
    socket.listen(1)
}

/// A listener on `address` that shares its port with the other shards'.
///
/// # Errors
/// What the system says.
pub(crate) fn listen(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpListener> {
    let socket = new_socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(options.notsent_lowat_bytes)?;
    socket.set_tcp_user_timeout(Some(options.user_timeout))?;
    let keepalive = TcpKeepalive::new()
        .with_time(options.keepalive)
        .with_interval(Duration::from_secs(15))
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    Ok(socket.into())
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_a_port_and_strangers_are_told() {
        let any = "127.0.0.1:0".parse().unwrap();
        let options = SocketOptions::default();
        let first = listen(any, &options).unwrap();
        let address = first.local_addr().unwrap();
        let second = listen(address, &options).unwrap();
        assert_eq!(second.local_addr().unwrap(), address);
        assert_eq!(probe(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop((first, second));
        probe(address).unwrap();
    }

    #[test]
    fn connections_inherit_the_options() {
        let options =
            SocketOptions { send_buffer_bytes: Some(32 * 1024), ..SocketOptions::default() };
        let listener = listen("127.0.0.1:0".parse().unwrap(), &options).unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = Socket::from(listener.accept().unwrap().0);
        assert!(accepted.tcp_nodelay().unwrap() && accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), 16 * 1024);
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(Duration::from_secs(60)));
        assert_eq!(accepted.send_buffer_size().unwrap(), 64 * 1024, "the kernel doubles it");
    }
}
