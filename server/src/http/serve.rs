//! Serves a router on a port: with a limit on connections, deadlines, and an end that lets requests
//! finish.
//!
//! A connection beyond the limit waits in the kernel's backlog until another ends. A head that
//! doesn't arrive, a body that isn't read and an answer that isn't taken each end their connection
//! after a while; none holds up another.

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use touchline_core::limits::REQUEST_HEADERS_MAX;
use touchline_core::proxy::ClientAddress;
use tower::ServiceExt as _;

use super::framing::{Seen, Watched};
use super::problem_text;
use super::proxied::Gate;
use crate::limits::{
    HEAD_TIMEOUT, LINGER_BYTES_MAX, LINGER_TIMEOUT, REQUEST_BUFFER_BYTES, REQUEST_TIMEOUT,
};

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
    gate: Arc<Gate>,
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
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // No descriptor or no memory: others' ends will free some.
                tracing::warn!(%error, "a connection could not be accepted; trying on");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (gate, router, stop) = (Arc::clone(&gate), router.clone(), stopping.clone());
        tokio::spawn(async move {
            let mut stream = stream;
            if let Some(client) = gate.pass(&mut stream, peer).await {
                carry(stream, client, router, stop).await;
            } else {
                let _ = tokio::time::timeout(LINGER_TIMEOUT, end(stream, false)).await;
            }
            drop(permit);
        });
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
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

/// One connection from its first request to its last.
async fn carry(stream: TcpStream, client: ClientAddress, router: Router, mut stop: StopSignal) {
    let seen = Arc::new(Seen::default());
    let told_seen = Arc::clone(&seen);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&told_seen));
        request.extensions_mut().insert(client);
        Box::pin(router.clone().oneshot(request))
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(REQUEST_HEADERS_MAX)
        .max_buf_size(REQUEST_BUFFER_BYTES)
        .serve_connection(TokioIo::new(Watched::new(stream, Arc::clone(&seen))), service);
    let ended = tokio::select! {
        ended = poll_fn(|context| connection.poll_without_shutdown(context)) => ended,
        () = told(&mut stop) => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|context| connection.poll_without_shutdown(context)).await
        }
    };
    // Other mistakes of a client's, and resets, have been answered by hyper or have nobody left to
    // answer.
    let is_late = ended.is_err_and(|error| error.is_timeout()) && seen.is_in_head();
    let stream = connection.into_parts().io.into_inner().into_inner();
    let _ = tokio::time::timeout(LINGER_TIMEOUT, end(stream, is_late)).await;
}

/// Closes our side, and waits for the client to close its own: a close with bytes unread is a
/// reset, which can overtake the answer.
async fn end(mut stream: TcpStream, is_late: bool) -> std::io::Result<()> {
    if is_late {
        stream.write_all(late_head().as_bytes()).await?;
    }
    stream.shutdown().await?;
    let mut scratch = [0; 4 * 1024];
    let mut left = LINGER_BYTES_MAX;
    while left > 0 {
        match stream.read(&mut scratch).await? {
            0 => break,
            count => left = left.saturating_sub(count),
        }
    }
    Ok(())
}

/// What hyper has no answer for (FAULTS 6).
fn late_head() -> String {
    let detail = format!("The request's head was not whole within {HEAD_TIMEOUT:?}.");
    let body = problem_text(StatusCode::REQUEST_TIMEOUT, "head_timeout", &detail);
    format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
