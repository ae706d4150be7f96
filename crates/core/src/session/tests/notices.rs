//! What people are told of without looking.

use std::sync::Arc;

use super::world::*;
use crate::gate::{Ask, Decision};
use crate::id::NoticeNo;
use crate::json::Json;
use crate::limits;
use crate::notice::NoticeKind;
use crate::policy::Effect;
use crate::session::*;

fn tell(w: &mut World, notice: u32) {
    w.sees(Observation::Told { notice: NoticeNo(notice), error: None });
}

#[test]
fn somebody_is_told_of_a_gate_once_and_a_restarted_daemon_has_the_same_duty() {
    let mut w = World::told();
    w.says(asking(ask("r1")));
    assert_eq!(w.kinds(), ["gate.opened", "notice.wanted"]);
    assert_eq!(w.todo(), ["tell n1 asks"]);
    w.daemon_restarts();
    assert!(w.todo().contains(&"tell n1 asks".to_owned()));
    w.adopted();
    tell(&mut w, 1);
    assert_eq!((w.kinds(), w.todo()), (vec!["notice.told"], Vec::<String>::new()));
    tell(&mut w, 1);
    assert_eq!(w.kinds(), Vec::<&str>::new());
    w.decide(1, Decision::Allow).unwrap();
    w.writes();
    w.says(asking(ask("r2")));
    assert_eq!(w.todo(), ["tell n2 asks"]);
}

#[test]
fn nobody_is_told_of_a_gate_that_has_closed_meanwhile() {
    let mut w = World::told();
    w.says(asking(ask("r1")));
    w.decide(1, Decision::Allow).unwrap();
    assert_eq!(w.todo(), ["answer g1"]);
    w.writes();
    w.says(asking(ask("r2")));
    w.interrupt();
    assert!(!w.todo().iter().any(|duty| duty.starts_with("tell")), "{:?}", w.todo());
}

#[test]
fn what_a_rule_lets_go_on_and_wants_told_is_told_though_its_gate_has_closed() {
    let mut w = World::told();
    w.asks(Command::AddRules { rules: vec![about("make *", Effect::Notify)] });
    w.says(asking(ask("r1")));
    assert_eq!(w.kinds(), ["gate.opened", "notice.wanted", "outbox.intended", "gate.decided"]);
    w.writes();
    w.kill();
    w.exits(ExitStatus::Signal(9));
    assert_eq!(w.todo(), ["tell n1 went_on"]);
    let [notice] = &w.state.notices.values().collect::<Vec<_>>()[..] else { panic!() };
    assert_eq!((notice.rule.as_str(), notice.risk.as_str()), ("session:r1", "high"));
}

#[test]
fn what_a_rule_or_a_bypass_lets_go_on_or_denies_is_told_to_nobody() {
    let mut w = World::told();
    w.says(asking_to_run(ask("r1"), "git status"));
    w.says(asking_to_run(ask("r2"), "rm x"));
    w.asks(Command::Bypass { kinds: vec![], ms: 60_000 });
    w.says(asking(ask("r3")));
    assert_eq!((w.count("gate.decided"), w.count("notice.wanted")), (3, 0));
}

#[test]
fn only_what_somebody_wants_to_be_told_is_and_never_too_much() {
    let mut w = World::guarded();
    w.env.notices = Arc::new([NoticeKind::Expiring]);
    w.says(asking(ask("r0")));
    assert_eq!(w.count("notice.wanted"), 0);
    w.falls_due(Why::GateWarning);
    assert_eq!(w.todo(), ["tell n1 expiring"]);
    let mut w = World::told();
    for no in 0..=limits::NOTICES {
        w.says(asking(ask(&format!("r{no}"))));
    }
    assert_eq!(w.state.notices.len(), limits::NOTICES);
}

#[test]
fn a_notice_is_a_line_without_secrets() {
    let about = |command: &str| {
        let mut w = World::told();
        let text = format!(r#"{{"command":"{command}"}}"#);
        w.says(asking(Ask { input: Json::parse(&text).unwrap(), ..ask("r1") }));
        w.state.notices[&NoticeNo(1)].about.clone()
    };
    let long = about(&format!("TOKEN=abcdefgh make {}", "x".repeat(1000)));
    assert!(long.starts_with(r#"Bash {"command":"TOKEN=[redacted] make xxx"#), "{long}");
    assert!(long.len() <= limits::NOTICE_BYTES + 3 && long.ends_with('…'), "{long}");
    // Also not the beginning of one that goes on behind the end.
    let cut = about(&format!("{} ghp_{}", "x".repeat(130), "a".repeat(36)));
    assert!(cut.contains("[redacted]") && !cut.contains("ghp_"), "{cut}");
    let fits = limits::NOTICE_BYTES - r#"Bash {"command":""}"#.len();
    assert!(about(&"x".repeat(fits)).ends_with(r#"x"}"#));
    assert!(about(&"x".repeat(fits + 1)).ends_with(r#"x"…"#));
}
