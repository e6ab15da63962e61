//! Serves a router on a port: with a limit on connections, deadlines, and an end that lets requests
//! finish.
//!
//! A connection beyond the limit waits in the kernel's backlog until another ends. A head that
//! doesn't arrive, a body that isn't read and an answer that isn't taken each end their connection
//! after a while; none holds up another.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use touchline_core::limits::REQUEST_HEADERS_MAX;

use crate::limits::{HEAD_TIMEOUT, REQUEST_BUFFER_BYTES, REQUEST_TIMEOUT};

/// Connections that wait for us in the kernel.
const BACKLOG: i32 = 1_024;

/// When to stop: `None` while serving, then how long requests under way may take.
pub type StopSignal = watch::Receiver<Option<Duration>>;

/// Binds `address`. Accepted sockets inherit its options.
pub fn bind(address: SocketAddr) -> std::io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(REQUEST_TIMEOUT))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves until told to stop; then takes no more, and returns once all is answered or the time is
/// up.
pub async fn serve(
    listener: StdListener,
    router: Router,
    connections_max: usize,
    mut stop: StopSignal,
) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let permits = Arc::new(Semaphore::new(connections_max));
    let stopping = stop.clone();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &permits) => accepted,
            () = told(&mut stop) => break,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // No descriptor or no memory: others' ends will free some.
                tracing::warn!(%error, "a connection could not be accepted; trying on");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        tokio::spawn(carry(stream, permit, router.clone(), stopping.clone()));
    }
    drop(listener);
    let patience = stop.borrow().unwrap_or_default();
    let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
    // What isn't answered by then is cut off with the runtime.
    let _ = tokio::time::timeout(patience, permits.acquire_many(all)).await;
    Ok(())
}

/// Returns once the signal says stop, or is gone.
async fn told(stop: &mut StopSignal) {
    drop(stop.wait_for(Option::is_some).await);
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

/// One connection from its first request to its last.
async fn carry(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    router: Router,
    mut stop: StopSignal,
) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(REQUEST_HEADERS_MAX)
        .max_buf_size(REQUEST_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // A client's own mistakes and resets end here; they are its business.
        _ = connection.as_mut() => {}
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
    drop(permit);
}
