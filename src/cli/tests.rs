#![allow(clippy::unwrap_used)]
use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::*;

fn parse(arguments: &str) -> Result<Cli, ErrorKind> {
    let words = std::iter::once("closeby").chain(arguments.split_whitespace());
    Cli::try_parse_from(words).map_err(|error| error.kind())
}

#[test]
fn the_arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_help_has_an_example() {
    let mut command = Cli::command();
    command.build();
    let names: Vec<_> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    assert_eq!(names.len(), 14, "thirteen commands and help: {names:?}");
    for name in names.iter().filter(|name| *name != "help") {
        let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
        assert!(help.contains(&format!("Examples:\n  closeby {name}")), "{name}:\n{help}");
    }
    assert!(command.render_help().to_string().contains("Examples:\n  closeby"));
}

#[test]
fn the_server_stands_after_the_command() {
    let Command::Put(put) = parse("put a b --server http://x:1").unwrap().command else { panic!() };
    assert_eq!(put.server.server.as_str(), "http://x:1/");
    assert_eq!(put.files.len(), 2);
    assert!(parse("--server http://x put a").is_err());
    for server in ["x", "ftp://x", "http://x/y", "http://me@x"] {
        assert!(parse(&format!("ls --server {server}")).is_err(), "{server}");
    }
}

#[test]
fn wrong_usage_is_status_2() {
    for arguments in ["put", "get", "get nothing", "frobnicate", "ls --limit x", "demo --port 70000"] {
        let error = Cli::try_parse_from(std::iter::once("closeby").chain(arguments.split(' '))).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{arguments}");
    }
    assert_eq!(parse("--help").unwrap_err(), ErrorKind::DisplayHelp);
}

#[test]
fn flags_reach_the_configuration() {
    let text = "central --config c --listen l --public-url p --data d --geoip g --place x \
                --trusted-proxies 10.0.0.0/8,::1 --join-secret-file j --signing-root-file s";
    let Command::Central(args) = parse(text).unwrap().command else { panic!() };
    let flags = crate::config::CentralFlags::from(args);
    assert_eq!(flags.trusted_proxies, ["10.0.0.0/8", "::1"]);
    assert_eq!(flags.public_url.as_deref(), Some("p"));
    let Command::Demo(demo) = parse("demo --log debug --log-format json").unwrap().command else { panic!() };
    assert_eq!((demo.port, demo.listen.to_string().as_str()), (8080, "127.0.0.1"));
}
