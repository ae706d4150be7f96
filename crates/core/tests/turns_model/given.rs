//! A session, an agent and a host, at a moment that never passes.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use lockkeeper_core::gate::{Ask, GateKind};
use lockkeeper_core::id::SessionId;
use lockkeeper_core::json::Json;
use lockkeeper_core::manner::{Handshake, Manner, Resumes, Rung};
use lockkeeper_core::session::{
    Command, Env, Exit, ExitStatus, Input, Lifetime, NewSession, ProcessIdentity, Request,
};
use lockkeeper_core::time::{AwakeMs, BootId, Stamp};

/// The moment of everything: no clock runs, and what falls due is made to by an [`Act`].
pub(crate) const NOW: u64 = 100_000;
pub(crate) fn stamp(ms: u64) -> Stamp {
    Stamp { wall_ms: 1_700_000_000_000, awake: AwakeMs(ms), boot: boot() }
}

/// What Claude Code wants, with a shorter ladder.
pub(crate) static MANNER: LazyLock<Arc<Manner>> = LazyLock::new(|| {
    Arc::new(Manner {
        handshake: Handshake::Initialize,
        interrupt: vec![Rung::Request, Rung::CloseStdin, Rung::Kill],
        stop: vec![Rung::CloseStdin, Rung::Kill],
        rung_ms: 5_000,
        settle_ms: 0,
        spawn_ms: 10_000,
        handshake_ms: 30_000,
        write_ms: 15_000,
        control_ms: 20_000,
        silence_ms: 600_000,
        drain_ms: 2_000,
        turn_ms: None,
        gate_ms: None,
        gate_warning_ms: 0,
        resumes: Resumes::ById,
    })
});

pub(crate) fn env(slot: bool) -> Env {
    Env {
        now: stamp(NOW),
        policy: Arc::default(),
        at_launch: Arc::default(),
        notices: Arc::default(),
        manner: MANNER.clone(),
        name_taken: false,
        paused: false,
        admits: slot,
    }
}

pub(crate) fn new_session() -> NewSession {
    NewSession {
        id: SessionId::from_random(7),
        name: None,
        agent: "claude".parse().unwrap(),
        dir: "/work".to_owned(),
        model: None,
        mode: None,
        lifetime: Lifetime::Kept,
        labels: BTreeMap::new(),
        environment: None,
        submitter: None,
        turn_ms: None,
        prompt: None,
    }
}

pub(crate) fn ask() -> Ask {
    Ask {
        request: Json::parse("\"r1\"").unwrap(),
        kind: GateKind::Permission,
        tool: "Bash".to_owned(),
        input: Json::parse("{}").unwrap(),
        title: None,
        call: None,
        reason: None,
        beside_turn: false,
        announced: false,
        suggestions: None,
    }
}

pub(crate) fn command(by: &str, command: Command) -> Input {
    Input::Command(Request { by: by.to_owned(), command })
}

pub(crate) fn boot() -> BootId {
    BootId("boot-1".into())
}

pub(crate) fn process() -> ProcessIdentity {
    ProcessIdentity { pid: 7, start_ticks: 5, boot: boot() }
}

pub(crate) fn exit(status: ExitStatus) -> Exit {
    Exit { status, stderr: vec![], swept: 0, left: 0, hint: None }
}
