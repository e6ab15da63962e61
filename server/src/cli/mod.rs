//! Commands, flags and exit codes.
//!
//! Flags, help, completions and the man page come from the types below. A flag of configuration is
//! a key with another spelling; `--set section.key=value` reaches every key. Commands print to
//! standard output, errors and the log go to standard error; whoever closes the pipe early ends a
//! command in peace.

mod config;
mod demo;
mod dlq;
#[cfg(test)]
mod documented;
mod log;
mod log_kafka;
mod migrate_log;
mod records;
mod screen;
mod serve;
mod source;
mod tail;
mod tail_kafka;
mod tune;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::config::{ConfigError, LoadRequest, Loaded, load};
use crate::wiring::StartError;
use crate::{config as configuration, metrics};
use touchline_ingest::kafka;

/// What the process says with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Fine = 0,
    /// It didn't, for no reason below.
    Failed = 1,
    /// The command line can't be understood.
    Usage = 2,
    /// The configuration is at fault.
    Config = 3,
    /// The host can't do what is asked.
    Host = 4,
}

/// Live sports events to everyone who follows a team.
#[derive(Debug, Parser)]
#[command(name = "touchline", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    given: Given,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Exit codes: 0 fine, 1 failed, 2 usage, 3 configuration, 4 host not fit.";

/// Where the configuration comes from.
#[derive(Clone, Debug, Default, Args)]
pub struct Given {
    /// Configuration file [default: /etc/touchline/touchline.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set a key of the configuration, e.g. `--set node.shards=2`; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = parse_set)]
    set: Vec<(String, String)>,
    /// Data folder: `node.data_dir`
    #[arg(long, global = true, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Address of the stream port: `listen.stream`
    #[arg(long, global = true, value_name = "ADDRESS")]
    stream: Option<String>,
    /// Address of the API port: `listen.api`
    #[arg(long, global = true, value_name = "ADDRESS")]
    api: Option<String>,
    /// Address of the admin port: `listen.admin`
    #[arg(long, global = true, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Least serious lines of the log: `logging.level`
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::ServeArgs),
    /// Play a match day: the server, a partner that sends it, followers, and the live board
    Demo(crate::demo::DemoArgs),
    /// Say whether the configuration is good
    CheckConfig,
    /// Print the configuration in force, each value with where it came from
    PrintConfig {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print events as they come, read from the journal's files or from Kafka
    Tail(tail::TailArgs),
    /// Look into the log, or move a journal into Kafka
    Log {
        #[command(subcommand)]
        command: log::LogCommand,
    },
    /// Check a source
    Source {
        #[command(subcommand)]
        command: source::SourceCommand,
    },
    /// Look through dead letters, and have them tried again
    Dlq {
        #[command(subcommand)]
        command: dlq::DlqCommand,
    },
    /// Judge the host, and make it ready
    Tune {
        #[command(subcommand)]
        command: tune::TuneCommand,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
    /// Print the version
    Version,
    /// Print a generated page of the documentation
    #[command(hide = true)]
    Reference {
        /// Which page
        page: Page,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Page {
    Config,
    Metrics,
    Tuning,
}

/// Why a command ended badly.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Configuration.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// No start.
    #[error("{0}")]
    Start(#[from] StartError),
    /// A log in Kafka.
    #[error("{0}")]
    Kafka(#[from] kafka::ImportError),
    /// Anything else: a sentence.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Start(StartError::Plan(_) | StartError::Source(_)) => {
                Exit::Config
            }
            Self::Start(StartError::Host(_) | StartError::Fanout(_)) => Exit::Host,
            Self::Start(StartError::Journal(error)) => match error {
                touchline_store::journal::OpenError::Options(_) => Exit::Config,
                touchline_store::journal::OpenError::Backend(_) => Exit::Host,
                _ => Exit::Failed,
            },
            Self::Start(StartError::Kafka(error)) => kafka_exit(error),
            Self::Kafka(kafka::ImportError::Open(error)) => kafka_exit(error),
            Self::Start(_) | Self::Kafka(_) | Self::Other(_) => Exit::Failed,
        }
    }
}

fn kafka_exit(error: &kafka::OpenError) -> Exit {
    match error {
        kafka::OpenError::Options(_)
        | kafka::OpenError::Misfit(_)
        | kafka::OpenError::Client(_)
        | kafka::OpenError::Denied { .. } => Exit::Config,
        _ => Exit::Failed,
    }
}

impl From<kafka::OpenError> for Failure {
    fn from(error: kafka::OpenError) -> Self {
        Self::Kafka(error.into())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Other(error.into())
    }
}

/// The whole of the binary.
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os()) as u8)
}

/// Runs the command that `arguments` (the program's name first) ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; they go to standard output.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Fine };
        }
    };
    match dispatch(cli) {
        Ok(exit) => exit,
        Err(failure) => {
            match &failure {
                Failure::Config(ConfigError(problems)) => {
                    problems.iter().for_each(|problem| eprintln!("touchline: {problem}"));
                }
                other => eprintln!("touchline: {other}"),
            }
            failure.exit()
        }
    }
}

fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    let Cli { given, command } = cli;
    match command {
        Command::Serve(args) => serve::serve(&given, &args),
        Command::Demo(args) => demo::demo(&given, args),
        Command::CheckConfig => config::check(&given),
        Command::PrintConfig { json } => config::print(&given, json),
        Command::Tail(args) => tail::tail(&given, &args),
        Command::Log { command } => log::log(&given, command),
        Command::Source { command } => source::source(&given, &command),
        Command::Dlq { command } => dlq::dlq(&given, command),
        Command::Tune { command } => tune::tune(&given, command),
        Command::Completions { shell } => {
            let mut page = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "touchline", &mut page);
            say(&page)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            say(&page)
        }
        Command::Version => say(format!("touchline {}\n", crate::VERSION).as_bytes()),
        Command::Reference { page: Page::Config } => {
            say(configuration::reference::markdown().as_bytes())
        }
        Command::Reference { page: Page::Metrics } => say(metrics::table::markdown().as_bytes()),
        Command::Reference { page: Page::Tuning } => {
            say(touchline_tuning::explain::markdown().as_bytes())
        }
    }
}

/// Writes `text` to standard output.
fn say(text: &[u8]) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    in_peace(out.write_all(text).and_then(|()| out.flush()))?;
    Ok(Exit::Fine)
}

/// A reader that has seen enough (`| head`) is no failure. `false`: nobody reads any more.
fn in_peace(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

fn parse_set(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, e.g. node.shards=2")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl Given {
    /// What to load, by these flags and the environment.
    fn request(&self) -> LoadRequest {
        let mut request = LoadRequest::from_environment();
        request.file.clone_from(&self.config);
        request.flags.clone_from(&self.set);
        let data_dir = self.data_dir.as_ref().map(|folder| folder.to_string_lossy().into_owned());
        let own = [
            ("node.data_dir", &data_dir),
            ("listen.stream", &self.stream),
            ("listen.api", &self.api),
            ("listen.admin", &self.admin),
            ("logging.level", &self.log_level),
        ];
        for (path, text) in own {
            request.flags.extend(text.as_ref().map(|text| (path.to_owned(), text.clone())));
        }
        request
    }

    fn load(&self) -> Result<Loaded, Failure> {
        Ok(load(self.request())?)
    }

    /// The same as if one more key had been set.
    fn load_with(&self, key: &str, value: &str) -> Result<Loaded, Failure> {
        let mut request = self.request();
        request.flags.push((key.to_owned(), value.to_owned()));
        Ok(load(request)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_flag_is_a_key_with_another_spelling() {
        let cli = Cli::try_parse_from([
            "touchline",
            "serve",
            "--set",
            "node.shards=2",
            "--stream",
            "127.0.0.1:0",
        ])
        .unwrap();
        let flags = cli.given.request().flags;
        assert!(flags.contains(&("node.shards".into(), "2".into())));
        assert!(flags.contains(&("listen.stream".into(), "127.0.0.1:0".into())));
        assert!(Cli::try_parse_from(["touchline", "serve", "--set", "node.shards"]).is_err());
    }
}
