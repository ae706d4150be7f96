//! Errors as RFC 9457 problem documents, with stable codes.

use std::fmt;

use lockkeeper_core::session::Rejection;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An error: `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The stable code, for programs. A newer daemon may send one that this version does not know.
    #[schema(example = "session_not_found")]
    pub code: String,
    /// What kind of error it is, for people; the same for every error of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Problem {
    /// An error with what happened this time. The code's advice is left out where that says it already.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            code: code.word().to_owned(),
            title: code.title().to_owned(),
            status: code.status(),
            next: code.next().filter(|next| !detail.contains(next)).map(str::to_owned),
            detail,
        }
    }

    /// The same with other advice than the code's own.
    #[must_use]
    pub fn with_next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }

    /// The code, if this version knows it.
    pub fn known_code(&self) -> Option<ErrorCode> {
        ErrorCode::find(&self.code)
    }

    /// The exit code of a command that ends with this error.
    pub fn exit(&self) -> u8 {
        self.known_code().map_or(if self.status < 500 { 3 } else { 1 }, ErrorCode::exit)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.code)
    }
}

impl From<&Rejection> for Problem {
    fn from(rejection: &Rejection) -> Self {
        Self::new(rejection.into(), rejection.to_string())
    }
}

macro_rules! codes {
    ($( $(#[$doc:meta])* $name:ident $word:literal $status:literal exit $exit:literal $title:literal, $next:expr; )*) => {
        /// Every error that the API answers with. The words are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $( $(#[$doc])* $name, )*
        }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &[Self] = &[$( Self::$name, )*];

            /// The stable word on the wire.
            pub fn word(self) -> &'static str {
                match self { $( Self::$name => $word, )* }
            }

            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self { $( Self::$name => $status, )* }
            }

            /// The exit code of a command that ends with it.
            pub fn exit(self) -> u8 {
                match self { $( Self::$name => $exit, )* }
            }

            /// What kind of error it is, for people.
            pub fn title(self) -> &'static str {
                match self { $( Self::$name => $title, )* }
            }

            /// What to do about it, where that is the same each time.
            pub fn next(self) -> Option<&'static str> {
                match self { $( Self::$name => $next, )* }
            }
        }
    };
}

codes! {
    /// The body is not JSON.
    JsonInvalid "json_invalid" 400 exit 2 "The body is not valid JSON", None;
    /// A query has a wrong or unknown field.
    QueryInvalid "query_invalid" 400 exit 2 "The query is not valid", None;
    /// A filter names a kind of event that does not exist.
    KindUnknown "kind_unknown" 400 exit 2 "There is no such kind of event", Some("see the kinds in docs/events.md");
    /// A filter names a status that does not exist.
    StatusUnknown "status_unknown" 400 exit 2 "There is no such status", None;
    /// A cursor was not made by this daemon.
    CursorInvalid "cursor_invalid" 400 exit 2 "The cursor is not one of this daemon", Some("begin again without a cursor");
    /// A path names a session, gate, turn or prompt in a form that cannot be one.
    ReferenceInvalid "reference_invalid" 400 exit 2 "The name is not valid", None;
    /// A header has a wrong value.
    HeaderInvalid "header_invalid" 400 exit 2 "A header is not valid", None;
    /// A delivery that does not prove where it comes from.
    SignatureMissing "signature_missing" 401 exit 3 "The delivery is not signed", Some("sign it as the webhook's signature setting says; `lk webhook ls` shows it");
    /// A delivery whose proof does not fit.
    SignatureWrong "signature_wrong" 401 exit 3 "The signature of the delivery is wrong", Some("both sides need the same secret, and the body must arrive as it was signed");
    /// A delivery that was signed too long ago, or in the future.
    SignatureExpired "signature_expired" 401 exit 3 "The signature of the delivery is of another time", Some("sign it again; the clocks of both machines may differ");
    /// Somebody without the right to it, such as a process of an agent.
    Forbidden "forbidden" 403 exit 3 "The caller may not do this", None;
    /// A program of an agent wants to decide what agents may do.
    DecisionForbidden "decision_forbidden" 403 exit 3 "A program that an agent runs may not decide this", Some("ask the user to do it, outside of the agent");
    /// The class is more urgent than the caller may ask for.
    ClassForbidden "class_forbidden" 403 exit 3 "The class is above the caller's right", Some("ask for a lower class; the rights are in [callers] of the configuration");
    /// There is no such path.
    NotFound "not_found" 404 exit 3 "There is nothing at this path", Some("the paths are in openapi.json; the daemon may be older than the caller");
    /// There is no such session.
    SessionNotFound "session_not_found" 404 exit 3 "There is no such session", Some("`lk ls -a` lists all sessions");
    /// There is no such gate.
    GateNotFound "gate_not_found" 404 exit 3 "There is no such gate", Some("`lk gates` lists the open ones");
    /// There is no such prompt.
    PromptNotFound "prompt_not_found" 404 exit 3 "There is no such prompt", Some("`lk queue REF` lists those that wait");
    /// There is no such webhook.
    WebhookNotFound "webhook_not_found" 404 exit 3 "There is no such webhook", Some("`lk webhook ls` lists them; they are made in the configuration file");
    /// There is no such launch.
    AttemptNotFound "attempt_not_found" 404 exit 3 "There is no such launch of the agent", None;
    /// The journal of a launch is gone.
    JournalGone "journal_gone" 410 exit 3 "The journal of this launch is gone", None;
    /// The path is not for this method.
    MethodNotAllowed "method_not_allowed" 405 exit 3 "The path does not take this method", None;
    /// The wait was longer than its timeout.
    WaitTimeout "wait_timeout" 408 exit 124 "The wait took longer than its timeout", None;
    /// The body of the request came too slowly.
    BodyTimeout "body_timeout" 408 exit 1 "The body did not come in time", None;
    /// A prefix fits several sessions.
    ReferenceAmbiguous "reference_ambiguous" 409 exit 3 "The name fits several sessions", Some("give more of the id");
    /// The session that a webhook's prompt is for does not exist, or is not told from others.
    TargetMissing "target_missing" 409 exit 3 "There is no session for the delivery", Some("make the session, or let the webhook make one: [webhook.NAME.new]");
    /// The idempotency key was used with another body.
    KeyConflict "key_conflict" 409 exit 3 "The idempotency key was used for something else", Some("use a fresh key for another request");
    /// A gate's input is not what the decider saw.
    GateInputChanged "gate_input_changed" 409 exit 3 "The gate does not ask what the decider saw", Some("look at the gate again");
    /// A session that has not ended cannot be removed.
    SessionOpen "session_open" 409 exit 3 "The session has not ended", Some("end it first: `lk stop REF`");
    /// Another living session is called so.
    NameTaken "name_taken" 409 exit 3 "Another living session has this name", Some("choose another name, or stop that session");
    /// The session is on its way to its end.
    SessionStopping "session_stopping" 409 exit 3 "The session is stopping", Some("`lk wait REF --for end`, then send again");
    /// It is not known yet what became of the session's process.
    SessionUnsettled "session_unsettled" 409 exit 3 "The state of the session is being found out", Some("try again in a moment");
    /// The session has ended.
    SessionEnded "session_ended" 409 exit 3 "The session has ended", Some("send a prompt or resume it first");
    /// The claim is over, or never was.
    ClaimOver "claim_over" 409 exit 3 "The claim is over", Some("claim again");
    /// Somebody else has the claim.
    ClaimForeign "claim_foreign" 409 exit 3 "The claim is somebody else's", Some("claim for yourself, or send without a claim");
    /// Sessions would wait for each other for ever.
    WaitingCycle "waiting_cycle" 409 exit 3 "Sessions would wait for each other for ever", Some("go on without waiting, or interrupt one of the sessions");
    /// A prompt of a claim keeps the claim's place.
    PromptClaimed "prompt_claimed" 409 exit 3 "The prompt has its place by a claim", None;
    /// A session has too many claims.
    TooManyClaims "too_many_claims" 429 exit 3 "Too many claims wait on the session", Some("wait until some are over");
    /// The turn has ended.
    TurnEnded "turn_ended" 409 exit 3 "The turn has ended", None;
    /// There has been no such turn.
    TurnUnknown "turn_unknown" 409 exit 3 "There is no such turn", None;
    /// The gate is not open.
    GateNotOpen "gate_not_open" 409 exit 3 "The gate is not open", Some("`lk gates` lists the open ones");
    /// Somebody decided first.
    GateDecided "gate_decided" 409 exit 3 "Somebody has decided at this gate already", None;
    /// The prompt does not wait any more.
    PromptNotWaiting "prompt_not_waiting" 409 exit 3 "The prompt does not wait", Some("`lk queue REF` lists those that do");
    /// The body is larger than what is taken.
    BodyTooLarge "body_too_large" 413 exit 3 "The body is too large", None;
    /// The body is not declared as JSON.
    MediaType "media_type" 415 exit 3 "The body must be application/json", None;
    /// The body has a wrong, missing or unknown field.
    BodyInvalid "body_invalid" 422 exit 2 "The body does not have the right fields", None;
    /// A prompt came without its class.
    ClassRequired "class_required" 422 exit 2 "A prompt needs a class", Some("say background, normal or urgent");
    /// A template of a webhook cannot be filled in with what came.
    TemplateFailed "template_failed" 422 exit 3 "The webhook's template does not fit what came", Some("try it without sending anything: `lk webhook test NAME --body FILE`");
    /// The workspace does not exist, is no directory, or is not an absolute path.
    DirInvalid "dir_invalid" 422 exit 3 "The workspace cannot be used", None;
    /// A rule that cannot be.
    RuleInvalid "rule_invalid" 422 exit 2 "The rule is not valid", Some("docs/rules.md says what a rule may hold");
    /// A rule that is not there, or not the user's or the session's.
    RuleNotFound "rule_not_found" 404 exit 3 "There is no such rule of yours", Some("`lk rules ls` lists them; only your own and a session's are changed");
    /// Another rule has this name.
    RuleNameTaken "rule_name_taken" 409 exit 3 "A rule has this name already", Some("choose another name, or take that rule out first: `lk rules rm`");
    /// The session has as many rules as it may have.
    TooManyRules "too_many_rules" 409 exit 3 "The session cannot have so many rules", Some("what is to hold for more than a session is a rule of yours: `lk rules add`");
    /// There is no agent of this name.
    AgentUnknown "agent_unknown" 422 exit 4 "There is no such agent", Some("`lk agents` lists them");
    /// The agent's program is not on the `PATH`.
    AgentMissing "agent_missing" 422 exit 4 "The agent is not installed", Some("`lk doctor` says how to get it; `lk run -a demo \"add a test\"` needs nothing");
    /// No rule would let such steps go on.
    AlwaysImpossible "always_impossible" 409 exit 3 "Such steps cannot be let go on for good", Some("decide this one alone: `lk allow GATE`");
    /// A rule denies what was to go on.
    DecisionDenied "decision_denied" 409 exit 3 "A rule denies that", Some("`lk rules ls` lists the rules; deny the gate, or let it go on with another input");
    /// The gate is decided, and the rule that was to go with that could not be written.
    RuleUnwritten "rule_unwritten" 500 exit 1 "The rule could not be written", Some("mend that, and then `lk rules add`; the decision stands");
    /// The rule of a decision is still to be written into its file, which is tried until it can be.
    RulePending "rule_pending" 503 exit 1 "The rule is not in its file yet", Some("`lk rules` shows it once it is");
    /// The fields of a decision do not fit together.
    DecisionInvalid "decision_invalid" 422 exit 2 "The decision does not have the right fields", None;
    /// The decision does not fit what the gate asks.
    DecisionMismatch "decision_mismatch" 422 exit 3 "The decision does not fit the gate", None;
    /// The decision is too long.
    DecisionTooLong "decision_too_long" 422 exit 3 "The decision is too long", None;
    /// The prompt has no text.
    PromptEmpty "prompt_empty" 422 exit 2 "The prompt is empty", None;
    /// The prompt is too long.
    PromptTooLong "prompt_too_long" 422 exit 3 "The prompt is too long", Some("put it into a file in the workspace, and name that");
    /// Neither a model nor a mode.
    NothingToSet "nothing_to_set" 422 exit 2 "Nothing was asked for", Some("name a model or a mode");
    /// A value is empty or too long.
    BadValue "bad_value" 422 exit 2 "A value is empty or too long", None;
    /// A prompt has another class than its claim.
    ClaimClass "claim_class" 422 exit 2 "The prompt has another class than its claim", None;
    /// A claim would last too short or too long.
    BadTtl "bad_ttl" 422 exit 2 "A claim cannot last so short or so long", None;
    /// A bypass would last too short or too long.
    BypassInvalid "bypass_invalid" 422 exit 2 "A bypass cannot last so short or so long", Some("what is to last longer is a rule: `lk rules add`");
    /// Too many labels.
    TooManyLabels "too_many_labels" 422 exit 3 "A session cannot have so many labels", None;
    /// Too many prompts wait.
    QueueFull "queue_full" 429 exit 3 "Too many prompts wait in the session", Some("wait until some have had their turn");
    /// Too many requests at once.
    Busy "busy" 429 exit 3 "The daemon has too much to do", Some("try again in a moment");
    /// The daemon has a defect.
    Internal "internal" 500 exit 1 "The daemon failed", Some("`lk daemon logs` may say why");
    /// The daemon is starting or ending.
    NotReady "not_ready" 503 exit 5 "The daemon takes no work now", Some("try again in a moment");
    /// The store cannot write.
    StoreUnavailable "store_unavailable" 503 exit 1 "The store cannot write", Some("`lk doctor` says what is wrong");
    /// The disk is full.
    DiskFull "disk_full" 507 exit 1 "The disk is full", Some("free some space, 8 MB at least; sessions can still be interrupted and killed");
}

impl ErrorCode {
    /// The code with this word.
    pub fn find(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.word() == word)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl From<&Rejection> for ErrorCode {
    fn from(rejection: &Rejection) -> Self {
        match rejection {
            Rejection::EmptyPrompt => Self::PromptEmpty,
            Rejection::PromptTooLong { .. } => Self::PromptTooLong,
            Rejection::QueueFull { .. } => Self::QueueFull,
            Rejection::Stopping => Self::SessionStopping,
            Rejection::NameTaken { .. } => Self::NameTaken,
            Rejection::StaleTurn { .. } => Self::TurnEnded,
            Rejection::UnknownTurn { .. } => Self::TurnUnknown,
            Rejection::UnknownGate { .. } => Self::GateNotOpen,
            Rejection::GateDecided { .. } => Self::GateDecided,
            Rejection::DecisionMismatch { .. } => Self::DecisionMismatch,
            Rejection::RuleDenies { .. } => Self::DecisionDenied,
            Rejection::DecisionTooLong { .. } => Self::DecisionTooLong,
            Rejection::UnknownPrompt { .. } => Self::PromptNotWaiting,
            Rejection::NothingToSet => Self::NothingToSet,
            Rejection::BadValue { .. } => Self::BadValue,
            Rejection::TooManyLabels { .. } => Self::TooManyLabels,
            Rejection::Unsettled => Self::SessionUnsettled,
            Rejection::Ended => Self::SessionEnded,
            Rejection::UnknownClaim { .. } => Self::ClaimOver,
            Rejection::ForeignClaim { .. } => Self::ClaimForeign,
            Rejection::ClaimClass { .. } => Self::ClaimClass,
            Rejection::TooManyClaims { .. } => Self::TooManyClaims,
            Rejection::BadTtl { .. } => Self::BadTtl,
            Rejection::BadBypass { .. } => Self::BypassInvalid,
            Rejection::BadRule { .. } => Self::RuleInvalid,
            Rejection::TooManyRules { .. } => Self::TooManyRules,
            Rejection::RuleTaken { .. } => Self::RuleNameTaken,
            Rejection::UnknownRule { .. } => Self::RuleNotFound,
            Rejection::PromptClaimed { .. } => Self::PromptClaimed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lockkeeper_core::id::{ClaimNo, GateNo, PromptNo, TurnNo};

    use super::*;

    #[test]
    fn every_code_has_its_own_word_and_a_status_of_an_error() {
        let words: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.word()).collect();
        assert_eq!(words.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert!((400..600).contains(&code.status()), "{code}");
            assert_eq!(ErrorCode::find(code.word()), Some(*code));
        }
    }

    #[test]
    fn advice_that_the_detail_has_given_is_not_given_again() {
        for rejection in [Rejection::Ended, Rejection::Unsettled] {
            let problem = Problem::from(&rejection);
            let advice = ErrorCode::from(&rejection).next().unwrap_or_default();
            assert!(problem.detail.ends_with(advice) && !advice.is_empty(), "{rejection}");
            assert_eq!(problem.next, None, "{rejection}");
        }
        let problem = Problem::from(&Rejection::Stopping);
        assert_eq!(problem.next.as_deref(), Some("`lk wait REF --for end`, then send again"));
    }

    #[test]
    fn a_rejection_keeps_the_word_and_the_kind_of_status_that_the_core_gives_it() {
        let (turn, gate, prompt) = (TurnNo(1), GateNo(1), PromptNo(1));
        let rejections = [
            Rejection::EmptyPrompt,
            Rejection::PromptTooLong { bytes: 2, limit: 1 },
            Rejection::QueueFull { limit: 1 },
            Rejection::Stopping,
            Rejection::NameTaken { name: "a".to_owned() },
            Rejection::StaleTurn { turn, outcome: None },
            Rejection::UnknownTurn { turn },
            Rejection::BadRule { why: "w".to_owned() },
            Rejection::RuleTaken { id: "session:a".to_owned() },
            Rejection::TooManyRules { limit: 1 },
            Rejection::UnknownGate { gate },
            Rejection::GateDecided { gate, how: "denied", by: "b".to_owned() },
            Rejection::DecisionMismatch { gate, why: "w".into() },
            Rejection::RuleDenies { rule: "user:r".to_owned(), reason: Some("no".to_owned()) },
            Rejection::DecisionTooLong { limit: 1 },
            Rejection::UnknownPrompt { prompt },
            Rejection::NothingToSet,
            Rejection::BadValue { what: "x", limit: 1 },
            Rejection::TooManyLabels { limit: 1 },
            Rejection::Unsettled,
            Rejection::ForeignClaim { claim: ClaimNo(1), owner: "b".to_owned() },
        ];
        for rejection in rejections {
            let problem = Problem::from(&rejection);
            assert_eq!(problem.code, rejection.code());
            assert_eq!(problem.status == 422, rejection.is_bad_input(), "{rejection}");
        }
    }
}
