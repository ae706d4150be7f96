//! The public API: what goes over the wire, the error codes, the `OpenAPI` document, and a client (feature `client`).
//!
//! Everybody uses this and nothing else: the command line, the page, editors, agents. The daemon implements it. Here
//! are no handlers and no decisions, only shapes, and the words of [`lockkeeper_core`] where they serialise well.
//!
//! Request bodies refuse fields that they do not know; answers may grow fields, and readers skip those. Times are
//! RFC 3339 in UTC with milliseconds. A path names a session by id, name or a unique prefix of the id; what is inside
//! a session is named `SESSION.g1` (gate), `SESSION.t1` (turn), `SESSION.p1` (prompt), `SESSION.k1` (claim).

mod agent;
mod attempt;
mod audit;
mod claim;
mod cursor;
mod daemon;
mod event;
mod frame;
mod gate;
pub mod headers;
mod item;
pub mod limits;
mod list;
mod new_session;
mod openapi;
mod patch;
mod problem;
mod prompt;
mod query;
mod reference;
mod rules;
mod schema;
mod session;
mod time;
mod turn;
mod wait;
mod webhook;
mod why;

#[cfg(feature = "client")]
pub mod client;

pub use agent::AgentInfo;
pub use attempt::Attempt;
pub use audit::{AuditEntry, AuditListQuery};
pub use claim::{Claim, ClaimQuery, ClaimRenewal, ClaimRequest, ClaimWait};
pub use cursor::{BadCursor, Cursor};
pub use daemon::{
    CgroupState, DaemonState, DaemonStatus, MemoryStatus, Pause, PauseRequest, Stop, StopRequest,
    StoreStatus, UnpauseReceipt, Version,
};
pub use event::{Event, EventPage};
pub use frame::{BadFrame, Frame, FrameKind, Gap, Heartbeat, Live, LiveKind, Ready, Snapshot};
pub use gate::{
    BadDecision, DecisionRequest, DecisionWord, Gate, GateDecision, GateStateWord, GateWithdrawal,
};
pub use item::{Item, ItemKind};
pub use list::List;
pub use lockkeeper_core::{
    audit::{AuditRecord, FIRST as AUDIT_FIRST, link as audit_link},
    claim::{Claim as EventClaim, ClaimEnd, ClaimState},
    elicitation,
    gate::{Decision, Gate as EventGate, GateKind, Through, Verdict, Withdrawal},
    id::{self, BadName},
    item::{Extent, ItemBody, ToolOutcome},
    json::Json,
    manner::Unasked,
    policy::{BadRule, Effect, Layer, RatingSpec, Risk, RuleScope, RuleSpec, ToolKind},
    prompt::{Class, OnPreempt, Parked},
    session::{
        End as EventEnd, Event as EventBody, Exit as EventExit, ExitVerdict, KINDS as EVENT_KINDS, Lifetime,
        SettingsResult, Stage, Status,
    },
    turn::{FailureKind, Outcome, TurnBy},
};
pub use new_session::{Created, NewSession, Secrets};
pub use openapi::{openapi, openapi_json, routes};
pub use patch::{Change, SessionPatch, SettingsRequest};
pub use problem::{ErrorCode, Problem};
pub use prompt::{PromptEdit, PromptMove, PromptReceipt, PromptRequest, PromptState, QueuedPrompt};
pub use query::{
    EventQuery, GateFilter, GateQuery, ItemQuery, JournalQuery, JournalStream, SessionQuery, WaitQuery,
};
pub use reference::{InnerReference, Reference};
pub use rules::{
    AlwaysRequest, PlacedRating, PlacedRule, RuleAdded, RuleFile, RuleList, RuleOffer, RuleOfferQuery,
    RuleOwner, RuleQuery, RuleSays, RuleTest, Ruling, RulingPart,
};
pub use session::{
    Bypass, BypassRequest, Cause, EndKind, Exit, FullSession, Session, SessionEnd, SettingsReceipt,
    StopReceipt, Until, Usage,
};
pub use time::{BadTime, Time};
pub use turn::{InterruptReceipt, InterruptRequest, InterruptState, OutcomeWord, Turn, TurnEnd, TurnNow};
pub use wait::{WaitFor, is_at_rest};
pub use webhook::{Delivery, DeliveryQuery, DeliveryState, Signature, Webhook, WebhookTest, WebhookTrial};
pub use why::{Evidence, Why, WhyLine};
