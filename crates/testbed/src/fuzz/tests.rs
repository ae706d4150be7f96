//! Replays the corpus.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use super::{TARGETS, broken};

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| broken(&format!("{}: {error}", dir.display())));
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

fn replay(target: &str) {
    let Some((_, run)) = TARGETS.iter().find(|(name, _)| *name == target) else {
        broken("there is no such target")
    };
    let files = files(&here().join("corpus").join(target));
    assert!(!files.is_empty(), "nothing is replayed");
    for file in files {
        let bytes = fs::read(&file).unwrap_or_default();
        assert!(!bytes.is_empty(), "{} cannot be read", file.display());
        let ran = catch_unwind(|| run(&bytes));
        assert!(ran.is_ok(), "a law is broken by {}", file.display());
    }
}

#[test]
fn no_input_of_the_corpus_breaks_a_law_of_the_framer() {
    replay("framer");
}

#[test]
fn no_input_of_the_corpus_breaks_a_law_of_the_journal() {
    replay("journal");
}

#[test]
fn no_input_of_the_corpus_breaks_a_law_of_the_wire() {
    replay("wire");
}

#[test]
fn no_input_of_the_corpus_breaks_a_law_of_the_bodies() {
    replay("bodies");
}

#[test]
fn no_input_of_the_corpus_breaks_a_law_of_the_rules() {
    replay("rules");
}

#[test]
fn no_input_of_the_corpus_breaks_a_law_of_the_frames() {
    replay("frames");
}

#[test]
fn each_target_is_run_by_the_fuzzer_too() {
    let targets = files(&here().join("../../fuzz/fuzz_targets"));
    let run: BTreeSet<_> = targets.iter().filter_map(|file| file.file_stem()?.to_str()).collect();
    assert_eq!(run, TARGETS.iter().map(|(name, _)| *name).collect());
}
