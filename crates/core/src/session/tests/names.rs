//! Names and labels.

use std::collections::{BTreeMap, BTreeSet};

use super::world::*;
use crate::limits;
use crate::session::*;

fn rename(name: Option<&str>) -> Command {
    Command::Describe {
        name: name.map_or(Rename::Clear, |name| Rename::To(name.parse().unwrap())),
        set: BTreeMap::new(),
        remove: BTreeSet::new(),
    }
}

fn label(set: &[(&str, &str)], remove: &[&str]) -> Command {
    Command::Describe {
        name: Rename::Keep,
        set: set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        remove: remove.iter().map(|k| (*k).to_owned()).collect::<BTreeSet<_>>(),
    }
}

#[test]
fn o18_a_name_that_a_living_session_has_is_refused() {
    let mut w = World::idle();
    w.env.name_taken = true;
    let refused = w.refused(rename(Some("other")));
    assert_eq!(refused, Rejection::NameTaken { name: "other".to_owned() });
    assert_eq!((refused.code(), refused.is_bad_input()), ("name_taken", false));
    let env = w.env.clone();
    assert!(matches!(
        create(new_session(Lifetime::Kept, None), "ann", &env),
        Err(Rejection::NameTaken { .. })
    ));
}

#[test]
fn o18_reopening_under_a_taken_name_is_refused() {
    let mut w = World::suspended();
    w.stop();
    w.env.name_taken = true;
    let taken = Rejection::NameTaken { name: "fix-tests".to_owned() };
    assert_eq!(w.refused(Command::Resume), taken);
    assert_eq!(w.refused(Command::Prompt(new_prompt("x", crate::prompt::Class::Normal))), taken);
    w.env.name_taken = false;
    w.asks(rename(None));
    w.resume();
    assert_eq!(w.status(), Status::Starting);
}

#[test]
fn a_rename_to_the_same_name_is_nothing() {
    let mut w = World::idle();
    w.asks(rename(Some("fix-tests")));
    assert_eq!(w.kinds(), NOTHING);
    w.asks(rename(Some("other")));
    assert_eq!(
        (w.kinds(), w.state.profile.name.as_ref().map(ToString::to_string)),
        (vec!["session.renamed"], Some("other".to_owned()))
    );
    w.asks(rename(None));
    assert_eq!(w.state.profile.name, None);
}

#[test]
fn o27_labels_are_set_and_removed_up_to_a_limit() {
    let mut w = World::idle();
    w.asks(label(&[("a", "1"), ("b", "2")], &[]));
    w.asks(label(&[("a", "1")], &["c"]));
    assert_eq!(w.kinds(), NOTHING, "nothing changed");
    w.asks(label(&[("a", "3")], &["b"]));
    assert_eq!(w.state.profile.labels, BTreeMap::from([("a".to_owned(), "3".to_owned())]));
    let many: Vec<String> = (0..limits::LABELS).map(|n| format!("l{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "")).collect();
    assert_eq!(w.refused(label(&many, &[])), Rejection::TooManyLabels { limit: limits::LABELS });
    w.asks(label(&many, &["a"]));
}

#[test]
fn o46_a_name_and_labels_are_changed_together_or_not_at_all() {
    let mut w = World::idle();
    let both = |labels: usize| Command::Describe {
        name: Rename::To("other".parse().unwrap()),
        set: (0..labels).map(|n| (format!("l{n}"), String::new())).collect(),
        remove: BTreeSet::new(),
    };
    assert_eq!(w.refused(both(limits::LABELS + 1)), Rejection::TooManyLabels { limit: limits::LABELS });
    w.env.name_taken = true;
    assert_eq!(w.refused(both(1)), Rejection::NameTaken { name: "other".to_owned() });
    w.env.name_taken = false;
    w.asks(both(1));
    assert_eq!(w.kinds(), ["session.renamed", "session.labelled"]);
}

#[test]
fn o46_what_every_list_shows_has_a_limit() {
    let long = "x".repeat(limits::VALUE_BYTES + 1);
    let refused = |new: NewSession| create(new, "ann", &World::suspended().env).unwrap_err().code();
    let new = || new_session(Lifetime::Kept, None);
    for bad in [
        NewSession { environment: Some(long.clone()), ..new() },
        NewSession { submitter: Some(" ".to_owned()), ..new() },
        NewSession { labels: [(long.clone(), String::new())].into(), ..new() },
        NewSession { labels: [("a".to_owned(), long.clone())].into(), ..new() },
    ] {
        assert_eq!(refused(bad), "bad_value");
    }
    let mut w = World::idle();
    for bad in [label(&[(&long, "")], &[]), label(&[("a", &long)], &[]), label(&[("", "x")], &[])] {
        assert_eq!(w.refused(bad).code(), "bad_value");
    }
    w.asks(label(&[("a", "")], &[]));
    let fits = "x".repeat(limits::VALUE_BYTES);
    w.asks(label(&[(&fits, &fits)], &[]));
    let labels = (0..limits::LABELS).map(|n| (format!("l{n}"), fits.clone())).collect();
    let most = NewSession { environment: Some(fits), labels, ..new() };
    create(most, "ann", &World::suspended().env).unwrap();
}

#[test]
fn o46_a_session_that_cannot_be_made_is_refused() {
    let env = World::suspended().env;
    let new = || new_session(Lifetime::Kept, None);
    let labels = (0..=limits::LABELS).map(|n| (format!("l{n}"), String::new())).collect();
    for (new, code) in [
        (NewSession { labels, ..new() }, "too_many_labels"),
        (NewSession { model: Some(String::new()), ..new() }, "bad_value"),
        (NewSession { mode: Some(" ".to_owned()), ..new() }, "bad_value"),
        (new_session(Lifetime::Kept, Some("")), "prompt_empty"),
    ] {
        assert_eq!(create(new, "ann", &env).unwrap_err().code(), code);
    }
}
