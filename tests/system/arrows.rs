//! Who may call whom, from the `use crate::` lines.

use std::path::{Path, PathBuf};

/// A module and the modules that it may use. `domain` and `wire` may be used by all.
const ARROWS: [(&str, &[&str]); 17] = [
    ("api", &["service", "metrics", "trace"]),
    ("blobs", &["trace"]),
    ("cli", &["role", "config", "telemetry"]),
    ("cluster", &["tickets", "tasks", "trace"]),
    ("config", &["tickets", "geo"]),
    ("domain", &[]),
    ("geo", &[]),
    ("ledger", &["trace"]),
    ("metrics", &[]),
    ("placement", &[]),
    (
        "role",
        &[
            "api",
            "web",
            "service",
            "config",
            "cluster",
            "ledger",
            "blobs",
            "geo",
            "tickets",
            "tasks",
            "telemetry",
            "metrics",
        ],
    ),
    ("service", &["ledger", "blobs", "cluster", "placement", "geo", "tickets", "metrics", "trace"]),
    ("tasks", &["trace"]),
    ("telemetry", &["trace"]),
    ("tickets", &[]),
    ("trace", &[]),
    ("web", &["api", "service"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a file's `crate::…` paths begin with.
fn used(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("crate::").skip(1))
        .flat_map(|rest| {
            // `use crate::{api, web as pages};` names several.
            let names =
                rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap_or_default());
            let several = rest.starts_with('{');
            names
                .split(',')
                .take(if several { usize::MAX } else { 1 })
                .map(|name| {
                    name.trim()
                        .chars()
                        .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                        .collect::<String>()
                })
                .collect::<Vec<_>>()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 50, "the sources were found");
    let mut wrong = Vec::new();
    for path in files {
        let relative = path.strip_prefix(&src).unwrap();
        let module = relative.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        // Tests set up what lies below a module, too.
        let is_test = relative.components().any(|part| {
            let part = part.as_os_str().to_string_lossy();
            matches!(&*part, "tests" | "tests.rs" | "testing.rs") || part.ends_with("_tests.rs")
        });
        if is_test || matches!(module.as_str(), "lib" | "main" | "wire") {
            continue;
        }
        let (_, allowed) = ARROWS
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("{module} has no line in ARROWS: say what it may use"));
        for name in used(&std::fs::read_to_string(&path).unwrap()) {
            let is_fine =
                name == module || name == "domain" || name == "wire" || allowed.contains(&name.as_str());
            if !is_fine {
                wrong.push(format!("{} uses {name}", relative.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn adapters_do_not_import_each_other() {
    let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    let mut files = Vec::new();
    sources(&api, &mut files);
    sources(&api.parent().unwrap().join("web"), &mut files);
    for path in files {
        let own = path
            .strip_prefix(&api)
            .map(|path| path.components().next().unwrap().as_os_str().to_string_lossy().into_owned())
            .unwrap_or_default();
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines() {
            if let Some(rest) = line.split("crate::api::").nth(1) {
                let other: String = rest.chars().take_while(|c| c.is_ascii_lowercase()).collect();
                assert!(other == "common" || other == own, "{}: {line}", path.display());
            }
        }
    }
}
