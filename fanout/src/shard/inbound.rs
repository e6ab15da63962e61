//! What clients send: bytes in, steps of a session out.
//!
//! A readable socket is read into the one buffer that all sockets share, and what was read is
//! handled on the spot: an idle session holds no buffer, and one that has sent half a frame holds
//! that half (in its parser). Whatever a client can cause runs within [`Shard::guarded`].

use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use touchline_core::log::LogBounds;
use touchline_core::protocol::answer::{self, Hello, HelloLimits};
use touchline_core::protocol::request::{parse_message, parse_query};
use touchline_core::protocol::{ClientMessage, ErrorCode, RequestError};
use touchline_core::time::Monotonic;
use touchline_core::ws::handshake::Progress;
use touchline_core::ws::refusal::healthz_response;
use touchline_core::ws::{
    CloseCode, Event, Parser, Refusal, Request, echo_close_frame, pong_frame,
};

use super::Shard;
use super::conn::{Half, Input, Stage};
use super::scratch;
use crate::hub::SessionId;
use crate::limits::{INBOUND_BYTES_MAX, SOFT_ERRORS_MAX};

/// What a read came to.
enum Got {
    Bytes(usize),
    /// The socket is empty.
    Nothing,
    /// The peer has sent all it will, or is gone.
    End,
}

impl Shard {
    /// Reads what the socket of `id` has, a turn's share at most. Edge-triggered: what is left
    /// unread is remembered.
    pub(super) fn read(&mut self, id: SessionId, is_ended: bool) {
        let mut buffer = std::mem::take(&mut self.scratch);
        let mut taken = 0;
        loop {
            if taken >= INBOUND_BYTES_MAX {
                self.unread.push(id);
                break;
            }
            match self.receive_into(id, &mut buffer) {
                Got::Bytes(count) => {
                    taken += count;
                    self.guarded(id, |shard| shard.take_input(id, &mut buffer[..count]));
                    // A short read has emptied the socket; an end that came with it shows in the
                    // next one.
                    if count < buffer.len() && !is_ended {
                        break;
                    }
                }
                Got::Nothing => break,
                Got::End => {
                    self.lose(id);
                    break;
                }
            }
        }
        self.scratch = if buffer.is_empty() { scratch() } else { buffer };
    }

    fn receive_into(&mut self, id: SessionId, buffer: &mut [u8]) -> Got {
        let Some(conn) = self.conns.get(id) else { return Got::Nothing };
        let read = || recv(conn.socket.as_fd(), &mut buffer[..], RecvFlags::DONTWAIT);
        match rustix::io::retry_on_intr(read) {
            Ok((_, 0)) => Got::End,
            Ok((_, count)) => Got::Bytes(count),
            Err(Errno::AGAIN) => Got::Nothing,
            Err(_) => Got::End,
        }
    }

    /// Runs a step that a client has caused. A panic in it ends that session and nothing else: the
    /// hub changes a session by whole steps, and what it may have left half done goes with the
    /// session.
    pub(super) fn guarded(&mut self, id: SessionId, step: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| step(self))).is_err() {
            self.stats.session_panics.increment();
            self.end(id, CloseCode::Internal, "internal error");
        }
    }

    pub(super) fn take_input(&mut self, id: SessionId, bytes: &mut [u8]) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.is_pinged = false;
        match std::mem::replace(&mut conn.input, Input::Ignored) {
            Input::Ignored => {}
            Input::Proxy(header) => self.take_proxy_header(id, header, bytes),
            Input::Frames(parser) => self.take_frames(id, parser, None, bytes),
            Input::Half(half) => self.take_frames(id, half.parser, Some(half.until), bytes),
            Input::Handshake(mut handshake) => {
                match handshake.feed(bytes, &self.rules.sessions.origins) {
                    Progress::NeedMore => conn.input = Input::Handshake(handshake),
                    Progress::Upgrade { request, taken } => {
                        self.upgrade(id, &request);
                        self.take_frames(id, Parser::default(), None, &mut bytes[taken..]);
                    }
                    Progress::Healthz if self.is_retired => {
                        let retry_after_s = self.rules.sessions.retry_after_s;
                        self.respond(id, Refusal::Draining.response(retry_after_s));
                    }
                    Progress::Healthz => self.respond(id, healthz_response()),
                    Progress::Refuse(refusal) => self.refuse(id, refusal),
                }
            }
        }
    }

    /// Answers a request that doesn't become a session.
    pub(super) fn refuse(&mut self, id: SessionId, refusal: Refusal) {
        self.stats.refused[refusal.index()].increment();
        self.respond(id, refusal.response(self.rules.sessions.retry_after_s));
    }

    fn upgrade(&mut self, id: SessionId, request: &Request) {
        #[cfg(any(test, feature = "testing"))]
        self.options.faults.at_handshake(&request.query);
        let heartbeat = self.rules.sessions.heartbeat;
        // Heartbeats of sessions that connect together are spread over half their interval.
        let spread = heartbeat / 2 / 1024 * (id.index.wrapping_mul(0x9e37_79b9) >> 22);
        let deadline = self.session_now() + heartbeat / 2 + spread;
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.stage = Stage::Open;
        conn.deadline = deadline;
        self.wheel.set(id.index, deadline);
        self.stats.opened.increment();
        self.tell(id, request.response().into());
        #[cfg(any(test, feature = "testing"))]
        if self.options.faults.echo {
            return;
        }
        let hello = self.hello(id);
        self.tell(id, hello);
        match parse_query(&request.query) {
            Ok(None) => {}
            Ok(Some(subscribe)) => {
                let message = ClientMessage::Subscribe(subscribe);
                if let Err(error) = self.carry_out(id, message) {
                    self.refuse_query(id, &error);
                }
            }
            Err(error) => self.refuse_query(id, &error),
        }
    }

    fn refuse_query(&mut self, id: SessionId, error: &RequestError) {
        self.stats.soft_errors.increment();
        self.tell(id, answer::error(error.id, error.code, &error.message, 0));
        self.end(id, CloseCode::BadRequest, error.code.as_str());
    }

    fn hello(&self, id: SessionId) -> Bytes {
        let rules = &self.rules;
        let limits = HelloLimits {
            teams: rules.hub.teams_max,
            message_bytes: rules.sessions.frames.message_bytes_max,
            messages_per_s: rules.sessions.messages_per_s,
        };
        answer::hello(&Hello {
            session: &self.name_of(id),
            node: &self.options.node,
            heartbeat_s: rules.sessions.heartbeat.as_secs(),
            limits: &limits,
            state: self.status.as_ref().map(|(state, _)| &**state),
        })
    }

    /// Names a session in `hello` and `/sessions/slow`: unique on this node while the process
    /// lives.
    pub(super) fn name_of(&self, id: SessionId) -> String {
        format!("{:x}-{:x}-{:x}", self.number, id.index, id.generation)
    }

    /// `until`: when the message that `parser` has begun must be complete.
    fn take_frames(
        &mut self,
        id: SessionId,
        mut parser: Parser,
        mut until: Option<Monotonic>,
        mut bytes: &mut [u8],
    ) {
        let rules = std::sync::Arc::clone(&self.rules);
        loop {
            if parser.is_at_rest() {
                until = None;
            }
            match parser.next(&mut bytes, &rules.sessions.frames) {
                Ok(Some(event)) => self.take_event(id, event),
                Ok(None) => break,
                Err(violation) => {
                    let reason = violation.to_string();
                    self.end(id, violation.close_code(), &reason);
                    break;
                }
            }
        }
        self.keep_parser(id, parser, until);
    }

    /// Keeps `parser` for what comes next, also while the session is being closed: its Close is
    /// still awaited. After a violation the parser hears nothing more.
    fn keep_parser(&mut self, id: SessionId, parser: Parser, until: Option<Monotonic>) {
        let latest = self.session_now() + self.rules.sessions.message_max;
        let Some(conn) = self.conns.get_mut(id).filter(|conn| !conn.close_is_seen) else { return };
        if parser.is_at_rest() {
            conn.input = Input::Frames(parser);
            return;
        }
        conn.input = Input::Half(Box::new(Half { parser, until: until.unwrap_or(latest) }));
        let due = conn.due();
        // The timer of a blocked session fires within a second anyway, and then sees this too.
        if until.is_none() && !self.hub.is_blocked(id) {
            self.wheel.set(id.index, due);
        }
    }

    fn take_event(&mut self, id: SessionId, event: Event<'_>) {
        let Some(conn) = self.conns.get(id) else { return };
        if let Event::Close { code, .. } = event {
            return self.see_close(id, code);
        }
        if conn.stage != Stage::Open {
            return;
        }
        #[cfg(any(test, feature = "testing"))]
        if self.options.faults.echo {
            return crate::testing::echo(&event).into_iter().for_each(|frame| self.tell(id, frame));
        }
        if let Err(wait) = self.take_token(id) {
            return self.refuse_message(id, too_many(wait), wait);
        }
        match event {
            Event::Text(text) => self.take_message(id, text.as_bytes()),
            Event::Binary(_) => self.end(id, CloseCode::Unsupported, "messages are text"),
            Event::Ping(payload) => self.hub.push_pong(id, pong_frame(&payload)),
            Event::Pong(_) | Event::Close { .. } => {}
        }
    }

    fn take_token(&mut self, id: SessionId) -> Result<(), Duration> {
        let sessions = &self.rules.sessions;
        let period = Duration::from_secs(1) / sessions.messages_per_s.max(1);
        match self.conns.get_mut(id) {
            Some(conn) => conn.messages.take(self.now, period, sessions.messages_burst),
            None => Ok(()),
        }
    }

    fn take_message(&mut self, id: SessionId, text: &[u8]) {
        #[cfg(any(test, feature = "testing"))]
        self.options.faults.at_message(text);
        let done = parse_message(text).and_then(|message| self.carry_out(id, message));
        if let Err(error) = done {
            self.refuse_message(id, error, Duration::ZERO);
        }
    }

    fn carry_out(&mut self, id: SessionId, message: ClientMessage) -> Result<(), RequestError> {
        let bounds = self.log.bounds();
        match self.put_off_if_ahead(id, message, &bounds) {
            Some(message) => self.hub.handle_message(id, message, &bounds, self.session_now()),
            None => Ok(()),
        }
    }

    /// Carries out a message that has waited; its error is told as that of any message.
    pub(super) fn carry_out_now(
        &mut self,
        id: SessionId,
        message: ClientMessage,
        bounds: &LogBounds,
    ) {
        let done = self.hub.handle_message(id, message, bounds, self.session_now());
        if let Err(error) = done {
            self.refuse_message(id, error, Duration::ZERO);
        }
    }

    /// A fault that a session may commit a few times (FAULTS 25).
    fn refuse_message(&mut self, id: SessionId, error: RequestError, wait: Duration) {
        self.stats.soft_errors.increment();
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.soft_errors = conn.soft_errors.saturating_add(1);
        if conn.soft_errors > SOFT_ERRORS_MAX {
            return self.end(id, CloseCode::Policy, error.code.as_str());
        }
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.tell(id, answer::error(error.id, error.code, &error.message, wait_ms));
    }

    /// Queues a frame or an answer; who lets too many pile up is closed.
    pub(super) fn tell(&mut self, id: SessionId, frame: Bytes) {
        if self.hub.push_control(id, frame).is_err() {
            self.end(id, CloseCode::Policy, "answers are read slower than they are asked for");
        }
    }

    fn see_close(&mut self, id: SessionId, code: Option<u16>) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.close_is_seen = true;
        if conn.stage == Stage::Closing {
            return self.finish_if_done(id);
        }
        conn.code = match code {
            None => CloseCode::NoStatus,
            Some(number) => CloseCode::from_number(number).unwrap_or(CloseCode::Normal),
        };
        self.begin_close(id, echo_close_frame(code));
    }
}

fn too_many(wait: Duration) -> RequestError {
    RequestError {
        id: None,
        code: ErrorCode::TooManyMessages,
        message: format!("slow down: the next one in {} ms", wait.as_millis()),
    }
}
