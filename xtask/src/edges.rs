//! The allowed edges between our crates, as ARCHITECTURE.md states them.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::report;

/// Which of our crates each crate may depend on. The binary may use the daemon and the holder, because it starts them;
/// the testbed may use anything, and anything may use the testbed in tests.
const ALLOWED: &[(&str, &[&str])] = &[
    ("lockkeeper-core", &[]),
    ("lockkeeper-agents", &["lockkeeper-core"]),
    ("lockkeeper-holder", &[]),
    ("lockkeeper-store", &["lockkeeper-core"]),
    ("lockkeeper-api", &["lockkeeper-core"]),
    (
        "lockkeeper-daemon",
        &["lockkeeper-core", "lockkeeper-agents", "lockkeeper-holder", "lockkeeper-store", "lockkeeper-api"],
    ),
    ("lockkeeper", &["lockkeeper-api", "lockkeeper-daemon", "lockkeeper-holder"]),
];

/// Crates that must not be reachable from one of ours, with the reason.
const FORBIDDEN: &[(&str, &[&str])] = &[
    // The core waits for nothing and touches nothing; the holder is small.
    ("lockkeeper-core", &["tokio", "rusqlite", "rustix", "axum", "getrandom"]),
    ("lockkeeper-agents", &["tokio", "rusqlite", "rustix", "axum"]),
    ("lockkeeper-holder", &["tokio", "serde_json", "serde"]),
];

/// Checks them all.
pub(crate) fn run() -> Result<()> {
    let metadata = MetadataCommand::new().exec()?;
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let Some((_, allowed)) = ALLOWED.iter().find(|(crate_name, _)| *crate_name == name) else {
            if name != "lockkeeper-testbed" && name != "xtask" {
                wrong.push(format!("{name} is not in the table of allowed edges"));
            }
            continue;
        };
        seen.insert(name);
        for dependency in &package.dependencies {
            let ours = dependency.path.is_some();
            let in_tests = dependency.kind == DependencyKind::Development;
            if ours
                && !allowed.contains(&dependency.name.as_str())
                && !(in_tests && dependency.name == "lockkeeper-testbed")
            {
                wrong.push(format!("{name} must not depend on {}", dependency.name));
            }
        }
    }
    wrong.extend(
        ALLOWED.iter().filter(|(name, _)| !seen.contains(name)).map(|(name, _)| format!("{name} is gone")),
    );
    wrong.extend(reached(&metadata));
    if !wrong.is_empty() {
        bail!("edges:\n  {}", wrong.join("\n  "));
    }
    report::line("edges: every dependency between our crates is an allowed one");
    Ok(())
}

fn reached(metadata: &cargo_metadata::Metadata) -> Vec<String> {
    let Some(resolve) = &metadata.resolve else {
        return vec!["cargo did not resolve the dependencies".to_owned()];
    };
    let mut wrong = Vec::new();
    for (name, forbidden) in FORBIDDEN {
        let Some(start) =
            metadata.workspace_packages().into_iter().find(|package| package.name.as_str() == *name)
        else {
            continue;
        };
        let mut seen = BTreeSet::new();
        let mut todo = vec![&start.id];
        while let Some(id) = todo.pop() {
            let Some(node) = resolve.nodes.iter().find(|node| node.id == *id) else { continue };
            for dependency in &node.deps {
                let normal = dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
                if normal && seen.insert(&dependency.pkg) {
                    todo.push(&dependency.pkg);
                }
            }
        }
        for package in metadata.packages.iter().filter(|package| seen.contains(&package.id)) {
            if forbidden.contains(&package.name.as_str()) {
                wrong.push(format!("{name} must not reach {}", package.name));
            }
        }
    }
    wrong
}
