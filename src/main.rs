//! The one binary: parse, dispatch.

use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use closeby::cli::{
    CentralArgs, Cli, Command, ConfigAction, ConfigArgs, ConfigRole, DemoArgs, LedgerArgs, LogFormat,
    NodeArgs, PutArgs, SecretAction, SecretArgs, ServerArg, TokenAction,
};
use closeby::config::{self, CentralConfig, CentralFlags, ConfigError, NodeConfig, TraceSettings};
use closeby::role::central::{Central, Links};
use closeby::role::client::{self, ClientError, Console, PutOptions, Question, Server};
use closeby::role::demo::{Demo, DemoOptions};
use closeby::role::node::Node;
use closeby::role::{tokens, upkeep};
use closeby::telemetry::{self, Exporter, TraceTarget};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What was recorded has so long to be sent at a stop.
const TRACES_WITHIN: Duration = Duration::from_secs(5);
/// It failed, or is unhealthy.
const FAILED: u8 = 1;
/// It was called, or configured, in a wrong way.
const MISUSED: u8 = 2;
/// It was stopped: what shells say of an interrupted command.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let usual = if cli.command.is_server() { "info,actix_server=warn" } else { "warn" };
    // An empty variable says as much as none.
    let level = cli.log.as_deref().filter(|level| !level.is_empty()).unwrap_or(usual);
    let format = match cli.log_format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    };
    if let Err(error) = telemetry::init(level, format) {
        return fail(MISUSED, &error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, &error),
    };
    let is_server = cli.command.is_server();
    let traces = match if is_server { runtime.block_on(send_traces()) } else { Ok(None) } {
        Ok(traces) => traces,
        Err(failure) => return exit(failure),
    };
    let outcome = runtime.block_on(run(cli.command));
    if let Some(traces) = traces {
        runtime.block_on(traces.close(TRACES_WITHIN));
    }
    if !is_server {
        // Who interrupts a command does not wait until it has read a large file to its end.
        runtime.shutdown_background();
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => exit(failure),
    }
}

fn exit(failure: Failure) -> ExitCode {
    match failure {
        Failure::Interrupted(error) => fail(INTERRUPTED, &error),
        Failure::Misused(error) => fail(MISUSED, &error),
        Failure::Failed(error) => fail(FAILED, &error),
    }
}

/// Begins to send traces, where the environment names a collector.
async fn send_traces() -> Result<Option<Exporter>, Failure> {
    let Some(TraceSettings { endpoint, headers, service, ratio }) = config::traces()? else {
        return Ok(None);
    };
    let headers = headers.into_iter().map(|(name, value)| (name, telemetry::Secret(value))).collect();
    let target = TraceTarget { endpoint, headers, service, ratio };
    Exporter::start(target).map(Some).map_err(failed)
}

/// What the exit status says.
enum Failure {
    Misused(ConfigError),
    Interrupted(String),
    Failed(String),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Misused(error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Interrupted(_) => Self::Interrupted(error.to_string()),
            error => Self::Failed(error.to_string()),
        }
    }
}

fn failed(error: impl Display) -> Failure {
    Failure::Failed(error.to_string())
}

fn fail(status: u8, error: &dyn Display) -> ExitCode {
    // Not a macro that panics: nobody may be listening any more.
    let _ = writeln!(std::io::stderr(), "closeby: {error}");
    ExitCode::from(status)
}

async fn run(command: Command) -> Result<(), Failure> {
    let console = Console::standard();
    match command {
        Command::Demo(args) => demo(args).await?,
        Command::Central(args) => {
            let central = Central::bind(central_config(args)?, Links::Fixed).map_err(failed)?;
            serve(|stop| central.run(stop)).await?;
        }
        Command::Node(args) => {
            let node = Node::bind(node_config(args)?).map_err(failed)?;
            serve(|stop| node.run(stop)).await?;
        }
        Command::Put(args) => put(&console, args).await?,
        Command::Backup(args) => upkeep::back_up(&args.data, &args.file).await.map_err(failed)?,
        Command::Restore(args) => upkeep::restore(&args.file, &args.data).await.map_err(failed)?,
        Command::Token(args) => token(args.action).await?,
        Command::Secret(args) => secret(&args, &console)?,
        Command::Get(args) => {
            let server = server(args.server)?;
            client::get(server, &console, &args.target, args.output.as_deref()).await?;
        }
        Command::Ls(args) => {
            let server = server(args.server)?;
            client::ls(server, &console, args.query.as_deref(), args.sort, args.limit, args.json).await?;
        }
        Command::Info(args) => {
            client::info(server(args.server)?, &console, &args.target, args.json).await?;
        }
        Command::Health(args) => {
            let question = if args.alive { Question::Alive } else { Question::Ready };
            let within = Duration::from_secs(args.timeout);
            client::health(server(args.server)?, &console, question, within).await?;
        }
        Command::Config(args) => configuration(args, &console)?,
    }
    Ok(())
}

async fn token(action: TokenAction) -> Result<(), Failure> {
    match action {
        TokenAction::New { at, scope, name, expires } => {
            tokens::new(&data_folder(at)?, scope, name, expires).await.map_err(failed)
        }
        TokenAction::List { at } => tokens::list(&data_folder(at)?).await.map_err(failed),
        TokenAction::Revoke { at, id } => tokens::revoke(&data_folder(at)?, id).await.map_err(failed),
    }
}

/// Where a central keeps its ledger.
fn data_folder(at: LedgerArgs) -> Result<PathBuf, Failure> {
    match at {
        LedgerArgs { data: Some(data), .. } => Ok(data),
        LedgerArgs { data: None, config } => {
            let flags = CentralFlags::default();
            Ok(CentralConfig::examine(config.as_deref(), config::environment()?, flags)?.data)
        }
    }
}

/// The server that a command asks.
fn server(args: ServerArg) -> Result<Server, Failure> {
    let token = config::client_token(args.token_file.as_deref())?;
    Ok(Server::new(args.server)?.with_token(token.as_ref()))
}

async fn put(console: &Console, args: PutArgs) -> Result<(), Failure> {
    let options = PutOptions {
        json: args.json,
        patience: Duration::from_secs(args.patience),
        state: config::state_folder(),
    };
    let server = server(args.server)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let stopped = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    Ok(client::put(&server, console, &args.files, &options, stopped).await?)
}

async fn demo(args: DemoArgs) -> Result<(), Failure> {
    let DemoArgs { port, listen, data, geoip } = args;
    let demo = Demo::bind(&DemoOptions { listen, port, data, geoip }).map_err(failed)?;
    // Somebody who reads only the logs is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{}", demo.greeting());
    serve(|stop| demo.run(stop)).await
}

/// Runs a role until it ends, or until it is told to stop and has done so in order. Told
/// twice, it ends at once.
async fn serve<E: Display, R: Future<Output = Result<(), E>>>(
    run: impl FnOnce(CancellationToken) -> R,
) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut running = pin!(run(stop.clone()));
    for _ in 0..2 {
        tokio::select! {
            ended = &mut running => return ended.map_err(failed),
            _ = interrupt.recv() => stop.cancel(),
            _ = terminate.recv() => stop.cancel(),
        }
    }
    Err(Failure::Failed("stopped without waiting for what was going on".to_owned()))
}

/// Checks or shows a configuration. Nothing is made.
fn configuration(args: ConfigArgs, console: &Console) -> Result<(), Failure> {
    let (role, is_check) = match args.action {
        ConfigAction::Check { role } => (role, true),
        ConfigAction::Show { role } => (role, false),
    };
    let shown = match role {
        ConfigRole::Central(args) => {
            let file = args.config.clone();
            CentralConfig::examine(file.as_deref(), config::environment()?, args.into())?.shown()
        }
        ConfigRole::Node(args) => node_config(args)?.shown(),
    };
    console.answer(if is_check { "this configuration can be used" } else { shown.trim_end() })?;
    Ok(())
}

/// Changes what is in a secret's file. The secret itself is never shown.
fn secret(args: &SecretArgs, console: &Console) -> Result<(), Failure> {
    let done = match &args.action {
        SecretAction::Rotate { file } => {
            config::rotate_secret(file).map_err(failed)?;
            format!("{} has a fresh secret, and the former one below it", file.display())
        }
        SecretAction::Retire { file } => {
            config::retire_secret(file).map_err(failed)?;
            format!("{} has no former secret any more", file.display())
        }
    };
    console.answer(&done)?;
    Ok(())
}

fn central_config(args: CentralArgs) -> Result<CentralConfig, ConfigError> {
    let file = args.config.clone();
    CentralConfig::load(file.as_deref(), config::environment()?, args.into())
}

fn node_config(args: NodeArgs) -> Result<NodeConfig, ConfigError> {
    let file = args.config.clone();
    NodeConfig::load(file.as_deref(), config::environment()?, args.into())
}
