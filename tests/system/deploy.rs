//! The files that an operator deploys: what they name exists, they say what the documentation
//! promises, and the program takes the configuration they mount. scripts/test-swarm runs the stack.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use yaml_rust2::yaml::Hash;
use yaml_rust2::{Yaml, YamlLoader};

const PLACES: [&str; 5] = ["amsterdam", "bangalore", "new-york", "singapore", "toronto"];

/// What version 3.8 of the Compose schema knows of a service and `docker stack deploy` does not ignore
/// (docker/cli 20.10: schema and `UnsupportedProperties`), as far as we use it.
const SERVICE_KEYS: [&str; 15] = [
    "cap_drop",
    "command",
    "configs",
    "deploy",
    "environment",
    "healthcheck",
    "image",
    "logging",
    "networks",
    "ports",
    "read_only",
    "secrets",
    "stop_grace_period",
    "stop_signal",
    "volumes",
];
const DEPLOY_KEYS: [&str; 9] = [
    "endpoint_mode",
    "labels",
    "mode",
    "placement",
    "replicas",
    "resources",
    "restart_policy",
    "rollback_config",
    "update_config",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// A YAML file with its merge keys (`<<`) resolved, as Docker reads it.
fn load(path: &str) -> Yaml {
    let mut documents = YamlLoader::load_from_str(&read(path)).unwrap();
    assert_eq!(documents.len(), 1, "{path}");
    merged(documents.remove(0))
}

fn merged(value: Yaml) -> Yaml {
    match value {
        Yaml::Array(items) => Yaml::Array(items.into_iter().map(merged).collect()),
        Yaml::Hash(fields) => {
            let mut whole = Hash::new();
            let merge = Yaml::String("<<".to_owned());
            if let Some(below) = fields.get(&merge) {
                let Yaml::Hash(below) = merged(below.clone()) else { panic!("<< of no map: {below:?}") };
                whole.extend(below);
            }
            for (key, value) in fields.into_iter().filter(|(key, _)| *key != merge) {
                whole.replace(key, merged(value));
            }
            Yaml::Hash(whole)
        }
        other => other,
    }
}

fn keys(value: &Yaml) -> BTreeSet<&str> {
    value.as_hash().map(|fields| fields.keys().map(|key| key.as_str().unwrap()).collect()).unwrap_or_default()
}

fn texts(value: &Yaml) -> Vec<&str> {
    value.as_vec().map(|items| items.iter().map(|item| item.as_str().unwrap()).collect()).unwrap_or_default()
}

/// What a service's long entries (`secrets`, `configs`) name.
fn sources(service: &Yaml, what: &str) -> Vec<String> {
    let entries = service[what].as_vec().into_iter().flatten();
    entries.map(|entry| entry["source"].as_str().unwrap().to_owned()).collect()
}

fn services(stack: &Yaml) -> Vec<(&str, &Yaml)> {
    let services = stack["services"].as_hash().unwrap();
    services.iter().map(|(name, service)| (name.as_str().unwrap(), service)).collect()
}

#[test]
fn the_stack_has_a_central_and_a_node_in_each_of_five_places() {
    let stack = load("swarm-stack.yml");
    assert_eq!(stack["version"].as_str(), Some("3.8"), "engine 20.10 reads no other");
    let names: BTreeSet<&str> = keys(&stack["services"]);
    assert_eq!(names, PLACES.into_iter().chain(["central"]).collect());
    for (name, service) in services(&stack) {
        let (constraint, role, published) = if name == "central" {
            ("node.labels.closeby.role == central".to_owned(), "central", 8080)
        } else {
            assert_eq!(service["environment"]["CLOSEBY_PLACE"].as_str(), Some(name));
            (format!("node.labels.closeby.place == {name}"), "node", 8081)
        };
        let deploy = &service["deploy"];
        assert_eq!(texts(&deploy["placement"]["constraints"]), [constraint], "{name}");
        assert_eq!(deploy["placement"]["max_replicas_per_node"].as_i64(), Some(1), "{name}");
        assert_eq!((deploy["mode"].as_str(), deploy["replicas"].as_i64()), (Some("replicated"), Some(1)));
        assert_eq!(deploy["endpoint_mode"].as_str(), Some("dnsrr"), "{name}");
        assert_eq!(texts(&service["command"]), [role, "--config", &format!("/etc/closeby/{role}.toml")]);
        let ports = service["ports"].as_vec().unwrap();
        assert_eq!(ports.len(), 1, "{name}");
        assert_eq!(ports[0]["mode"].as_str(), Some("host"), "{name}: the routing mesh hides the address");
        assert_eq!(
            (ports[0]["target"].as_i64(), ports[0]["published"].as_i64()),
            (Some(8080), Some(published))
        );
        let public = service["environment"]["CLOSEBY_PUBLIC_URL"].as_str().unwrap();
        assert_eq!(public, format!("http://{{{{.Node.Hostname}}}}:{published}"));
    }
}

#[test]
fn prometheus_asks_the_services_where_they_listen() {
    let (stack, prometheus) = (load("swarm-stack.yml"), load("deploy/prometheus/prometheus.yml"));
    let jobs = prometheus["scrape_configs"].as_vec().unwrap().iter();
    let asked: BTreeSet<String> =
        jobs.flat_map(|job| texts(&job["static_configs"][0]["targets"])).map(str::to_owned).collect();
    // In the stack's network: the ports inside, not those that the machines publish.
    let listening = services(&stack)
        .into_iter()
        .map(|(name, service)| format!("{name}:{}", service["ports"][0]["target"].as_i64().unwrap()));
    assert_eq!(asked, listening.collect());
}

#[test]
fn an_update_of_the_stack_is_careful() {
    for (name, service) in services(&load("swarm-stack.yml")) {
        let deploy = &service["deploy"];
        for policy in ["update_config", "rollback_config"] {
            assert_eq!(deploy[policy]["parallelism"].as_i64(), Some(1), "{name}");
            assert_eq!(deploy[policy]["order"].as_str(), Some("stop-first"), "{name}: the disk and the port");
            assert!(deploy[policy]["monitor"].as_str().is_some(), "{name}");
        }
        assert_eq!(deploy["update_config"]["failure_action"].as_str(), Some("rollback"), "{name}");
        assert_eq!(deploy["restart_policy"]["condition"].as_str(), Some("any"), "{name}");
        for side in ["limits", "reservations"] {
            let resources = &deploy["resources"][side];
            assert!(resources["cpus"].as_str().is_some() && resources["memory"].as_str().is_some(), "{name}");
        }
        let grace = service["stop_grace_period"].as_str().unwrap().strip_suffix('s').unwrap();
        assert!(grace.parse::<u64>().unwrap() >= 30, "{name}: a clean shutdown takes up to 20 s");
        assert!(service["logging"]["options"]["max-size"].as_str().is_some(), "{name}");
        assert_eq!(service["read_only"].as_bool(), Some(true), "{name}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
    }
}

#[test]
fn what_the_stack_names_exists_and_nothing_is_left_over() {
    let stack = load("swarm-stack.yml");
    let mut used = [const { BTreeSet::new() }; 4];
    for (name, service) in services(&stack) {
        let unknown: Vec<_> = keys(service).into_iter().filter(|key| !SERVICE_KEYS.contains(key)).collect();
        assert!(unknown.is_empty(), "{name}: docker stack deploy does not know {unknown:?}");
        let unknown: Vec<_> =
            keys(&service["deploy"]).into_iter().filter(|key| !DEPLOY_KEYS.contains(key)).collect();
        assert!(unknown.is_empty(), "{name}: docker stack deploy does not know {unknown:?}");
        used[0].extend(sources(service, "configs"));
        let secrets = sources(service, "secrets");
        let expected: &[&str] =
            if name == "central" { &["signing-root", "join-secret"] } else { &["join-secret"] };
        assert_eq!(secrets, expected, "{name}: no node has the signing root");
        used[1].extend(secrets);
        let volumes = service["volumes"].as_vec().unwrap();
        let kept = volumes.iter().filter(|volume| volume["type"].as_str() == Some("volume"));
        let kept: Vec<_> = kept.map(|volume| volume["target"].as_str().unwrap()).collect();
        assert_eq!(kept, ["/data"], "{name}");
        used[2].extend(volumes.iter().filter_map(|volume| volume["source"].as_str().map(str::to_owned)));
        used[3].extend(texts(&service["networks"]).into_iter().map(str::to_owned));
    }
    for (kind, used) in ["configs", "secrets", "volumes", "networks"].into_iter().zip(&used) {
        let declared: BTreeSet<String> = keys(&stack[kind]).into_iter().map(str::to_owned).collect();
        assert_eq!(&declared, used, "{kind}");
    }
    for secret in ["signing-root", "join-secret"] {
        assert_eq!(stack["secrets"][secret]["external"].as_bool(), Some(true));
        assert_eq!(stack["secrets"][secret]["name"].as_str(), Some(format!("closeby-{secret}").as_str()));
    }
    for config in ["central", "node"] {
        let path = root().join(stack["configs"][config]["file"].as_str().unwrap());
        assert!(path.is_file(), "{}", path.display());
    }
}

/// Runs the program's own check with what a container would find.
fn check(role: &str, path: PathBuf, variables: &[(String, String)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_closeby"))
        .args(["config", "check", role, "--config"])
        .arg(path)
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap()
}

/// A configuration file whose secrets lie in a folder of the test's.
fn with_secrets(file: &str, folder: &Path) -> PathBuf {
    for secret in ["signing-root", "join-secret"] {
        std::fs::write(folder.join(secret), "0123456789abcdef0123456789abcdef\n").unwrap();
    }
    let text = read(file);
    assert!(text.contains("/run/secrets/"), "{file}");
    let path = folder.join(Path::new(file).file_name().unwrap());
    std::fs::write(&path, text.replace("/run/secrets", folder.to_str().unwrap())).unwrap();
    path
}

#[test]
fn the_program_takes_what_the_stack_mounts() {
    let folder = tempfile::tempdir().unwrap();
    let stack = load("swarm-stack.yml");
    for (name, service) in services(&stack) {
        let role = if name == "central" { "central" } else { "node" };
        let path = with_secrets(stack["configs"][role]["file"].as_str().unwrap(), folder.path());
        let mut variables = image_variables();
        let given = service["environment"].as_hash().unwrap().iter();
        variables.extend(given.map(|(name, value)| {
            // As Swarm does on the machine.
            let value = value.as_str().unwrap().replace("{{.Node.Hostname}}", "host-1");
            (name.as_str().unwrap().to_owned(), value)
        }));
        let checked = check(role, path.clone(), &variables);
        assert!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stderr));
        variables.push(("CLOSEBY_NO_SUCH_KEY".to_owned(), "1".to_owned()));
        assert_eq!(check(role, path, &variables).status.code(), Some(2), "{name}: it would find a mistake");
    }
}

/// What the image sets: `ENV NAME=value NAME=value`.
fn image_variables() -> Vec<(String, String)> {
    let dockerfile = read("Dockerfile");
    let line = dockerfile.lines().find_map(|line| line.strip_prefix("ENV ")).unwrap();
    line.split(' ')
        .map(|pair| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap())
        .collect()
}

#[test]
fn a_sixth_place_is_the_block_that_the_comment_shows() {
    let text = read("swarm-stack.yml");
    let (_, comment) = text.split_once("#   oslo:\n").unwrap();
    let lines = comment.lines().map_while(|line| line.strip_prefix("#   ")).collect::<Vec<_>>();
    let block = std::iter::once("  oslo:".to_owned()).chain(lines.iter().map(|line| format!("  {line}")));
    let block = block.collect::<Vec<_>>().join("\n");
    let whole = text.replace("\nnetworks:\n", &format!("\n{block}\n\nnetworks:\n"));
    let stack = merged(YamlLoader::load_from_str(&whole).unwrap().remove(0));
    let (oslo, toronto) = (&stack["services"]["oslo"], &stack["services"]["toronto"]);
    assert_eq!(keys(oslo), keys(toronto));
    assert_eq!(keys(&oslo["deploy"]), keys(&toronto["deploy"]));
    assert_eq!(texts(&oslo["deploy"]["placement"]["constraints"]), ["node.labels.closeby.place == oslo"]);

    let folder = tempfile::tempdir().unwrap();
    let mut variables = image_variables();
    for (name, value) in oslo["environment"].as_hash().unwrap() {
        let value = value.as_str().unwrap().replace("{{.Node.Hostname}}", "host-6");
        variables.push((name.as_str().unwrap().to_owned(), value));
    }
    let checked = check("node", with_secrets("deploy/swarm/node.toml", folder.path()), &variables);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn a_docker_client_reads_the_stack_without_a_warning() {
    // Newer clients check a file against the schema without an engine; scripts/test-swarm has it done by
    // one of 20.10.
    let asked = Command::new("docker")
        .args(["stack", "config", "--compose-file", "swarm-stack.yml"])
        .current_dir(root())
        .env_remove("CLOSEBY_IMAGE")
        .output();
    match asked {
        Ok(answer) if !String::from_utf8_lossy(&answer.stderr).contains("unknown") => {
            let said = String::from_utf8_lossy(&answer.stderr);
            assert!(answer.status.success() && said.is_empty(), "{said}");
        }
        _ => eprintln!("SKIPPED: no docker client here that knows `docker stack config`"),
    }
}

#[test]
fn one_machine_has_a_central_and_two_nodes() {
    let compose = load("deploy/compose.yml");
    assert_eq!(keys(&compose["services"]), ["amsterdam", "central", "new-york"].into());
    let folder = tempfile::tempdir().unwrap();
    for (name, service) in services(&compose) {
        let role = if name == "central" { "central" } else { "node" };
        assert_eq!(texts(&service["command"]), [role, "--config", &format!("/etc/closeby/{role}.toml")]);
        let secrets = texts(&service["secrets"]);
        assert_eq!(secrets.contains(&"signing-root"), name == "central", "{name}");
        let mount = format!("./swarm/{role}.toml:/etc/closeby/{role}.toml:ro");
        let volumes = texts(&service["volumes"]);
        assert!(volumes.contains(&mount.as_str()), "{name}: {volumes:?}");
        for volume in volumes.iter().filter(|volume| !volume.starts_with('.')) {
            assert!(keys(&compose["volumes"]).contains(volume.split(':').next().unwrap()), "{volume}");
        }
        let mut variables = image_variables();
        for (name, value) in service["environment"].as_hash().unwrap() {
            variables.push((name.as_str().unwrap().to_owned(), value.as_str().unwrap().to_owned()));
        }
        let checked =
            check(role, with_secrets(&format!("deploy/swarm/{role}.toml"), folder.path()), &variables);
        assert!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn systemd_takes_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let unit = read("deploy/closeby@.service");
    assert!(unit.contains("ExecStart=/usr/local/bin/closeby %i --config /etc/closeby/%i.toml"));
    // It looks for the program where the unit says.
    let unit = unit.replace("/usr/local/bin/closeby", env!("CARGO_BIN_EXE_closeby"));
    for role in ["central", "node"] {
        let path = folder.path().join(format!("closeby@{role}.service"));
        std::fs::write(&path, &unit).unwrap();
        match Command::new("systemd-analyze").arg("verify").arg(&path).output() {
            Ok(answer) => {
                let said = String::from_utf8_lossy(&answer.stderr);
                let ours: Vec<_> = said.lines().filter(|line| line.contains("closeby@")).collect();
                assert!(ours.is_empty(), "{ours:?}");
            }
            Err(error) => {
                panic!("systemd-analyze: {error}: scripts/test brings it (Debian's package systemd)")
            }
        }
    }
}
