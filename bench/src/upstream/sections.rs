//! The sections of Touchline's configuration that connect it with our sources.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::trouble::ROGUE;
use crate::schedule::{Stream, team_name};
use crate::setup::Setup;
use crate::target::SECRET;

/// For what `setup` wants, served at `address`.
pub fn sections(setup: &Setup, address: SocketAddr) -> String {
    let sources = &setup.sources;
    let mut text: String = (0..sources.sensors).map(|n| sensor(n, address)).collect();
    if setup.schedule(0).streams().contains(&Stream::Social) {
        text += &stream("posts", setup.crowd.teams, address);
        text += "value = \"/d\"\nposts_per_s_max = 10000\nrewind = \"since_id\"\n";
    }
    if sources.crowd_posts_per_s > 0.0 {
        text += &stream("crowd", setup.crowd.teams, address);
        let stall_s = if sources.trouble { 2 } else { 30 };
        let kept = sources.crowd_kept_per_s;
        text += &format!("posts_per_s_max = {kept}\nstall_s = {stall_s}\n");
    }
    if sources.trouble {
        let secret = STANDARD.encode(SECRET);
        text += &format!("[sources.broadcast.{ROGUE}]\nsecrets = [\"whsec_{secret}\"]\n");
    }
    text
}

fn sensor(n: u32, address: SocketAddr) -> String {
    format!(
        "[sources.sensor.s{n:03}]\nurl = \"http://{address}/sensors/{n}\"\nitems = \"/readings\"\n\
         team = \"/team\"\ntype = \"value\"\nkey = \"v\"\nsequence = \"/n\"\nvalue = \"/v\"\n"
    )
}

fn stream(name: &str, teams: u32, address: SocketAddr) -> String {
    let term = |team: u32| format!("\"{0}: {0}\"", team_name(team));
    let terms: Vec<String> = (0..teams).map(term).collect();
    format!(
        "[sources.social.{name}]\nurl = \"http://{address}/{name}\"\nid = \"/id\"\n\
         text = \"/text\"\nterms = [{}]\n",
        terms.join(", ")
    )
}
