//! What a Rust team would write first: axum's WebSockets, and a broadcast channel for each team.
//!
//! `GET /follow/{team}` upgrades, `POST /publish/{team}` sends its body to everybody who follows
//! the team. A socket is a task that waits for its channel and for its client; what the channel
//! hands out is shared, not copied. Whoever falls [`BEHIND_MAX`] events behind is disconnected.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use tokio::net::TcpSocket;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};

/// Events that a slow socket may lag.
const BEHIND_MAX: usize = 1024;
/// Clients send next to nothing. The documentation of tungstenite names 4 KiB for many connections
/// that are read little; the default of 128 KiB is allocated for each.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Connections that may wait to be accepted; the default of 128 is little for a crowd.
const BACKLOG: u32 = 4096;
/// "Try again later" (RFC 6455's registry).
const TRY_AGAIN: u16 = 1013;

type Teams = Arc<RwLock<HashMap<String, Sender<Utf8Bytes>>>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "8000".into()).parse()?;
    let app = Router::new()
        .route("/follow/{team}", get(follow))
        .route("/publish/{team}", post(publish))
        .with_state(Teams::default());
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    let listener = socket.listen(BACKLOG)?;
    let listener = listener.tap_io(|socket| {
        // A socket that can't be told is slower, no more.
        let _ = socket.set_nodelay(true);
    });
    Ok(axum::serve(listener, app).await?)
}

async fn follow(
    upgrade: WebSocketUpgrade,
    Path(team): Path<String>,
    State(teams): State<Teams>,
) -> Response {
    let events = sender(&teams, team).subscribe();
    upgrade.read_buffer_size(READ_BUFFER_BYTES).on_upgrade(|socket| serve(socket, events))
}

async fn publish(Path(team): Path<String>, State(teams): State<Teams>, data: String) {
    // Nobody may be following, which is no error.
    let _ = sender(&teams, team).send(data.into());
}

fn sender(teams: &Teams, team: String) -> Sender<Utf8Bytes> {
    if let Some(sender) = teams.read().expect("nobody panics with the lock").get(&team) {
        return sender.clone();
    }
    let mut teams = teams.write().expect("nobody panics with the lock");
    teams.entry(team).or_insert_with(|| Sender::new(BEHIND_MAX)).clone()
}

async fn serve(mut socket: WebSocket, mut events: Receiver<Utf8Bytes>) {
    loop {
        let sent = tokio::select! {
            event = events.recv() => match event {
                Ok(data) => socket.send(Message::Text(data)).await,
                Err(RecvError::Closed) => return,
                Err(RecvError::Lagged(_)) => {
                    let reason = Utf8Bytes::from_static("too slow");
                    let close = CloseFrame { code: TRY_AGAIN, reason };
                    let _ = socket.send(Message::Close(Some(close))).await;
                    return;
                }
            },
            // Pings are answered below this.
            message = socket.recv() => match message {
                Some(Ok(_)) => Ok(()),
                Some(Err(_)) | None => return,
            },
        };
        if sent.is_err() {
            return;
        }
    }
}
