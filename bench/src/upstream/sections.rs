//! The sections of Touchline's configuration that connect it with our sources.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::trouble::ROGUE;
use crate::schedule::{Stream, team_name};
use crate::setup::Setup;
use crate::target::SECRET;

/// The crowd's streams, each with its kind and scheme. One that is well is listened to as lines
/// alone.
const KINDS: [(&str, &str, &str); 3] = [
    ("crowd", "lines", "http"),
    ("crowd-events", "events", "http"),
    ("crowd-messages", "websocket", "ws"),
];

/// For what `setup` wants, served at `address`.
pub fn sections(setup: &Setup, address: SocketAddr) -> String {
    let sources = &setup.sources;
    let mut text: String = (0..sources.sensors).map(|n| sensor(n, address)).collect();
    if setup.schedule(0).streams().contains(&Stream::Social) {
        text += &stream("posts", "http", setup.crowd.teams, address);
        text += "value = \"/d\"\nposts_per_s_max = 10000\nrewind = \"since_id\"\n";
    }
    if sources.crowd_posts_per_s > 0.0 {
        let kinds = &KINDS[..if sources.trouble { KINDS.len() } else { 1 }];
        let stall_s = if sources.trouble { 2 } else { 30 };
        let kept = sources.crowd_kept_per_s;
        for (name, kind, scheme) in kinds {
            text += &stream(name, scheme, setup.crowd.teams, address);
            text += &format!("kind = \"{kind}\"\nposts_per_s_max = {kept}\nstall_s = {stall_s}\n");
        }
    }
    if sources.trouble {
        let secret = STANDARD.encode(SECRET);
        text += &format!("[sources.broadcast.{ROGUE}]\nsecrets = [\"whsec_{secret}\"]\n");
        text += &format!("[sources.broadcast.asked]\npoll_url = \"http://{address}/results\"\n");
        text += "poll_interval_s = 1\n";
    }
    text
}

fn sensor(n: u32, address: SocketAddr) -> String {
    format!(
        "[sources.sensor.s{n:03}]\nurl = \"http://{address}/sensors/{n}\"\nitems = \"/readings\"\n\
         team = \"/team\"\ntype = \"value\"\nkey = \"v\"\nsequence = \"/n\"\nvalue = \"/v\"\n"
    )
}

fn stream(name: &str, scheme: &str, teams: u32, address: SocketAddr) -> String {
    let term = |team: u32| format!("\"{0}: {0}\"", team_name(team));
    let terms: Vec<String> = (0..teams).map(term).collect();
    format!(
        "[sources.social.{name}]\nurl = \"{scheme}://{address}/{name}\"\nid = \"/id\"\n\
         text = \"/text\"\nterms = [{}]\n",
        terms.join(", ")
    )
}
