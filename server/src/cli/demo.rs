//! `touchline demo`: the server with the demo's defaults, and a match day around it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use touchline_tuning::host;

use super::{Exit, Failure, Given};
use crate::config::load;
use crate::demo::cast::Cast;
use crate::demo::upstream::Upstream;
use crate::demo::world::World;
use crate::demo::{self, DemoArgs, Node, Target, make_secret};
use crate::running::{Appliance, Order, Stage};
use crate::signals::Attendant;
use crate::{logging, wiring};

/// How soon the match day notices that the server is on its way down.
const LOOK: Duration = Duration::from_millis(50);

/// Plays until a signal ends it, within two seconds.
pub fn demo(given: &Given, args: DemoArgs) -> Result<Exit, Failure> {
    let (secret, world, cast) = (make_secret(), World::default(), Cast::of(&args)?);
    let upstream = Upstream::start(world.clone(), cast.venues, args.trouble)?;
    let mut request = given.request();
    request.demo = defaults(args.trouble);
    request.demo.extend(cast.sections(&secret, upstream.address()));
    let loaded = load(request)?;
    logging::init(&loaded.options.logging);
    let plan = wiring::plan(&loaded.options)?;
    demo::check_followers(args.followers, host::facts().nofile_hard, !plan.private_tables)?;
    let attendant = Attendant::new()?;
    let running = wiring::start(loaded)?;
    let appliance = running.appliance();
    say_if_plain(&appliance);
    let target = Target {
        nodes: vec![Node { api: appliance.addresses.api, stream: appliance.addresses.stream }],
        data_dir: appliance.data_dir(),
        secret,
        world,
    };
    let player = std::thread::Builder::new().name("demo".into()).spawn(move || {
        let played = play(&args, target, &appliance);
        // It ended by itself, or the server did: then this changes nothing.
        appliance.order(Order::Interrupt);
        played
    })?;
    attendant.attend(running);
    player.join().map_err(|_| anyhow!("the match day panicked; the log above says where"))??;
    Ok(Exit::Fine)
}

/// What the demo changes about the built-in defaults; a file, variables and flags still win.
fn defaults(trouble: bool) -> Vec<(String, String)> {
    let own = [
        ("node.data_dir", "data"),
        ("drain.grace_s", "0"),
        // The status line is what a person looks at; trouble still shows, unless it was asked for.
        ("logging.level", if trouble { "error" } else { "warn" }),
    ];
    own.map(|(path, text)| (path.to_owned(), text.to_owned())).into()
}

fn say_if_plain(appliance: &Appliance) {
    let is_plain = appliance.shards.first().is_some_and(|shard| shard.backend() == "epoll");
    // Whoever has chosen epoll isn't told that the host forbids the other.
    if is_plain && appliance.loaded.load().options.io == touchline_fanout::Backend::Auto {
        demo::status::say(
            "This host forbids io_uring: running on epoll, send and plain files, a little slower.",
        );
    }
}

fn play(args: &DemoArgs, target: Target, appliance: &Arc<Appliance>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("start the match day's runtime")?;
    let appliance = Arc::clone(appliance);
    let server_ends = async move {
        while appliance.stage() == Stage::Serving {
            tokio::time::sleep(LOOK).await;
        }
    };
    runtime.block_on(demo::run(args, target, server_ends))
}
