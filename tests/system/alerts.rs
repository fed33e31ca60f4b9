//! deploy/prometheus and deploy/grafana: they ask for what is there, and every alert says what to do.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use crate::metrics::families;
use crate::support::{Cluster, Options, content, location};

/// What Prometheus makes itself.
const OTHERS: [&str; 1] = ["up"];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn rules() -> Vec<Yaml> {
    let alerts = YamlLoader::load_from_str(&read("deploy/prometheus/alerts.yml")).unwrap().remove(0);
    let groups = alerts["groups"].as_vec().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_vec().unwrap().clone()).collect()
}

/// Every expression of the dashboard.
fn dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/closeby.json")).unwrap();
    let targets =
        dashboard["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array());
    targets.flatten().map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// The words of an expression that name a metric.
fn metrics(expr: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    // What is quoted is a label's value.
    let plain: String = expr.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    plain
        .split(|c: char| !is_name(c))
        .filter(|word| word.starts_with("closeby_") || word.starts_with("process_") || OTHERS.contains(word))
        .map(ToOwned::to_owned)
        .collect()
}

/// The `metric{label="value"` of an expression: metric, label and value of each exact one.
fn selected(expr: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for (before, rest) in expr.match_indices('{').map(|(at, _)| (&expr[..at], &expr[at + 1..])) {
        let metric = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
        let labels = rest.split('}').next().unwrap();
        for label in labels.split(',') {
            if let Some((name, value)) = label.split_once("=\"") {
                found.push((
                    metric.to_owned(),
                    name.trim().trim_end_matches('!').to_owned(),
                    value.trim_end_matches('"').to_owned(),
                ));
            }
        }
    }
    found
}

/// A central's and a node's whole scrape.
async fn scrapes() -> String {
    let cluster = Cluster::with(Options { places: vec!["toronto", "amsterdam"], ..Options::default() }).await;
    let object = cluster.store("one.bin", content(1, 10)).await;
    let link = location(&cluster.redirect(object["url"].as_str().unwrap()).await);
    let node = format!("{}/metrics", link.split("/b/").next().unwrap());
    let mut text = String::new();
    for url in [cluster.url("/metrics"), node] {
        text += &cluster.http.get(url).send().await.unwrap().text().await.unwrap();
    }
    cluster.stop().await;
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_dashboard_ask_for_what_is_there() {
    let text = scrapes().await;
    let known = families(&text);
    let alerts: Vec<String> = rules().iter().map(|rule| rule["expr"].as_str().unwrap().to_owned()).collect();
    assert!(alerts.len() >= 10 && dashboard().len() >= 20);
    let mut used = BTreeSet::new();
    for expr in alerts.iter().chain(&dashboard()) {
        let names = metrics(expr);
        assert!(!names.is_empty(), "{expr}");
        for name in names {
            let family = ["_bucket", "_count", "_sum"].into_iter().find_map(|end| name.strip_suffix(end));
            let family = family.filter(|family| known.contains(*family)).unwrap_or(&name);
            assert!(known.contains(family) || OTHERS.contains(&family), "{family}: {expr}");
            used.insert(family.to_owned());
        }
        for (metric, label, value) in selected(expr) {
            // Prometheus' own label, which prometheus.yml gives.
            if label == "job" {
                assert!(read("deploy/prometheus/prometheus.yml").contains(&format!("job_name: {value}\n")));
                continue;
            }
            let wanted = format!("{label}=\"{value}\"");
            let is_there = text.lines().any(|line| line.starts_with(&metric) && line.contains(&wanted));
            assert!(is_there, "{metric}{{{wanted}}}: {expr}");
        }
    }
    let documented = read("docs/operations.md");
    let untold: Vec<_> = known.iter().filter(|family| !documented.contains(&format!("`{family}`"))).collect();
    assert!(untold.is_empty(), "docs/operations.md does not say what these are: {untold:?}");
    assert!(used.len() > 30, "{used:?}");
}

#[test]
fn every_alert_says_what_to_do() {
    let documented = read("docs/operations.md");
    let tried = read("deploy/prometheus/alerts.test.yml");
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        for annotation in ["summary", "description"] {
            let text = rule["annotations"][annotation].as_str().unwrap();
            assert!(text.len() > 10, "{name}: {annotation}");
        }
        assert!(matches!(rule["labels"]["severity"].as_str(), Some("page" | "ticket")), "{name}");
        let runbook = format!("docs/operations.md#{}", name.to_ascii_lowercase());
        assert_eq!(rule["annotations"]["runbook"].as_str(), Some(&*runbook));
        let (_, section) =
            documented.split_once(&format!("\n#### {name}\n\n")).unwrap_or_else(|| panic!("{name}"));
        assert!(!section.starts_with('#'), "{name} has a heading and no text");
        assert!(tried.contains(&format!("alertname=\"{name}\"")), "{name} is tried nowhere");
        assert!(tried.contains(&format!("alertname: {name}}}")), "{name} is tried only where it is to fire");
    }
}

#[test]
fn promtool_finds_alerts_that_work() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    for arguments in [
        ["check", "rules", "alerts.yml"].as_slice(),
        &["check", "config", "--syntax-only", "prometheus.yml"],
        &["test", "rules", "alerts.test.yml"],
    ] {
        match Command::new("promtool").args(arguments).current_dir(&folder).output() {
            Ok(output) => assert!(
                output.status.success(),
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
            Err(error) => panic!("promtool: {error}: scripts/test brings it (Debian's package prometheus)"),
        }
    }
}
