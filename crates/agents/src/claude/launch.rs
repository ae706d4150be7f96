//! The command line, the environment, and what a failed start says.

use lockkeeper_core::id::{AgentSessionId, AttemptNo, SessionId};
use lockkeeper_core::session::ExitHint;
use uuid::Uuid;

use crate::{Conversation, Launch, LaunchRequest, Program};

/// The names of the program.
pub(super) const PROGRAMS: &[&str] = &["claude"];

/// The name space of every UUID that we make for an agent. Changing it makes the agent forget our conversations.
const NAMESPACE: Uuid = Uuid::from_bytes(*b"lockkeeper-agent");

/// What makes it read and write lines of JSON, ask us for permissions, and acknowledge prompts.
const MODE: [&str; 10] = [
    "-p",
    "--input-format",
    "stream-json",
    "--output-format",
    "stream-json",
    "--verbose",
    "--include-partial-messages",
    "--permission-prompt-tool",
    "stdio",
    "--replay-user-messages",
];

/// Variables that make a nested Claude Code behave otherwise: marks of an outer session, and two that let it end or
/// begin turns that nobody asked for.
const FOREIGN: [&str; 10] = [
    "CLAUDECODE",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_SSE_PORT",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_AGENT_SDK_VERSION",
    "CLAUDE_AGENT_SDK_CLIENT_APP",
    "CLAUDE_CODE_EXIT_AFTER_STOP_DELAY",
    "CLAUDE_CODE_RESUME_INTERRUPTED_TURN",
    "TRACEPARENT",
    "TRACESTATE",
];

/// How to start Claude Code for one attempt.
pub(super) fn launch(request: &LaunchRequest) -> Launch {
    let mut args: Vec<String> = MODE.iter().map(|&arg| arg.to_owned()).collect();
    let conversation = session_args(request, &mut args);
    Launch {
        program: Program::OnPath(PROGRAMS),
        args,
        env_add: vec![
            ("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS".to_owned(), "1".to_owned()),
            ("DISABLE_AUTOUPDATER".to_owned(), "1".to_owned()),
        ],
        env_remove: FOREIGN.iter().map(|&name| name.to_owned()).collect(),
        conversation: Some(conversation),
    }
}

/// Adds the arguments that name the conversation, the model and the mode, and those of the user. Values are in the
/// `=` form: a value that begins with a dash would otherwise become another flag.
pub(crate) fn session_args(request: &LaunchRequest, args: &mut Vec<String>) -> AgentSessionId {
    let conversation = match &request.conversation {
        Conversation::New => {
            let id = new_conversation(&request.session, request.attempt);
            args.push(format!("--session-id={id}"));
            id
        }
        Conversation::Resume(id) => {
            args.push(format!("--resume={id}"));
            id.clone()
        }
    };
    args.extend(request.model.iter().map(|model| format!("--model={model}")));
    args.extend(request.mode.iter().map(|mode| format!("--permission-mode={mode}")));
    args.extend(request.extra_args.iter().cloned());
    conversation
}

fn new_conversation(session: &SessionId, attempt: AttemptNo) -> AgentSessionId {
    let id = derived(&format!("conversation {session} {attempt}"));
    #[expect(clippy::expect_used, reason = "a UUID is 36 visible ASCII characters")]
    id.to_string().parse().expect("a UUID is a valid agent session id")
}

/// A UUID of ours, the same each time for the same name.
pub(super) fn derived(name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// The first word that looks like a version.
pub(crate) fn first_version(stdout: &str) -> Option<String> {
    stdout
        .split_whitespace()
        .map(|word| word.strip_prefix('v').unwrap_or(word))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.') && word.len() <= 64)
        .map(str::to_owned)
}

/// Texts on standard error, as 2.1.197 and 2.1.329 print them, and what they mean; in lower case.
const TEXTS: [(&str, ExitHint); 7] = [
    ("is already in use", ExitHint::ConversationInUse),
    ("no conversation found", ExitHint::ConversationLost),
    ("--resume requires a valid session id", ExitHint::ConversationLost),
    ("unknown option", ExitHint::BadFlag),
    ("invalid session id", ExitHint::BadFlag),
    ("can only be used with", ExitHint::BadFlag),
    ("please run /login", ExitHint::NotLoggedIn),
];

/// What the last lines of standard error say; the last line that says anything counts.
pub(super) fn classify_exit(stderr_tail: &[String]) -> Option<ExitHint> {
    stderr_tail.iter().rev().find_map(|line| {
        let line = line.to_ascii_lowercase();
        TEXTS.iter().find(|(text, _)| line.contains(text)).map(|(_, hint)| *hint)
    })
}
