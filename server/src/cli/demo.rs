//! `touchline demo`: the server with the demo's defaults, and a match day around it; with `--kafka`
//! a second node beside it, and three brokers below both.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use touchline_tuning::host;

use super::{Exit, Failure, Given};
use crate::config::{LoadRequest, load};
use crate::demo::brokers::Brokers;
use crate::demo::cast::Cast;
use crate::demo::second_node::{SecondNode, SecondNodeOptions};
use crate::demo::upstream::Upstream;
use crate::demo::world::World;
use crate::demo::{self, DemoArgs, Node, Target, make_secret, outages};
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
    // Dropped last: brokers outlive the nodes.
    let cluster =
        args.kafka.then(|| Cluster::start(given, &mut request, args.trouble)).transpose()?;
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
        brokers: cluster.as_ref().filter(|_| args.trouble).map(|it| Arc::clone(&it.brokers)),
    };
    let second = cluster.as_ref().map(|cluster| cluster.second.clone());
    let player = std::thread::Builder::new().name("demo".into()).spawn(move || {
        let played = play(&args, target, second, &appliance);
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

/// What stands below two nodes.
struct Cluster {
    second: SecondNodeOptions,
    brokers: outages::Shared,
}

impl Cluster {
    /// Starts the brokers, makes `request` that of the first of two nodes, and says how the second
    /// is started. With `trouble` nodes go on taking webhooks while brokers are away.
    fn start(given: &Given, request: &mut LoadRequest, trouble: bool) -> Result<Self, Failure> {
        let folder = load(request.clone())?.options.data_dir.join("kafka-demo");
        demo::status::say("Starting three brokers of Apache Kafka; that takes some ten seconds.");
        let brokers = Brokers::start(&folder.join("brokers"))?;
        // A log of before is gone, and with it whatever nodes knew of it.
        for node in ["a", "b"] {
            let own = folder.join(node);
            let _ = std::fs::remove_dir_all(&own);
            std::fs::create_dir_all(&own)
                .with_context(|| format!("make the folder {}", own.display()))?;
        }
        let own = [
            ("log.kind", "kafka".to_owned()),
            ("log.kafka.brokers", brokers.addresses()),
            ("log.kafka.spool", trouble.to_string()),
        ];
        request.demo.extend(own.map(|(path, text)| (path.to_owned(), text)));
        let second = second_options(given, &folder, &request.demo);
        for (path, text) in identity("a", &folder) {
            request.flags.push((path.to_owned(), text));
        }
        Ok(Self { second, brokers: Arc::new(Mutex::new(brokers)) })
    }
}

/// By flags, so that no file or variable gives both nodes one name or one folder.
fn identity(name: &str, folder: &Path) -> [(&'static str, String); 2] {
    let data_dir = folder.join(name).to_string_lossy().into_owned();
    [("node.name", name.to_owned()), ("node.data_dir", data_dir)]
}

fn second_options(given: &Given, folder: &Path, keys: &[(String, String)]) -> SecondNodeOptions {
    let mut arguments = Vec::new();
    if let Some(file) = &given.config {
        arguments.extend(["--config".to_owned(), file.to_string_lossy().into_owned()]);
    }
    let any =
        ["listen.stream", "listen.api", "listen.admin"].map(|key| (key, "127.0.0.1:0".into()));
    let own = identity("b", folder).into_iter().chain(any);
    let given = given.set.iter().map(|(path, text)| (path.as_str(), text.clone()));
    for (path, text) in given.chain(own) {
        arguments.extend(["--set".to_owned(), format!("{path}={text}")]);
    }
    SecondNodeOptions { arguments, keys: keys.to_vec(), log: folder.join("b.log") }
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

fn play(
    args: &DemoArgs,
    mut target: Target,
    second: Option<SecondNodeOptions>,
    appliance: &Arc<Appliance>,
) -> anyhow::Result<()> {
    let serves = || appliance.stage() == Stage::Serving;
    let second = match second.map(|options| SecondNode::start(&options, serves)).transpose() {
        // Told to end before it was there.
        Err(_) if !serves() => return Ok(()),
        second => second?,
    };
    if let Some(second) = &second {
        target.nodes.push(second.node());
        demo::status::say(&format!(
            "Nodes a and b share the brokers. The board of b: http://{}/",
            second.addresses().api
        ));
    }
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
