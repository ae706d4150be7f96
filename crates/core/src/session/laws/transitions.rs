//! The changes of status that may be told, and why each is true.

use crate::session::{InterruptCause, State, Status, status};
use crate::turn::Outcome;

/// A status as the table of transitions tells it: cancelling for somebody, for something more urgent and for a deadline
/// are three things there, and so is a process that ends after that while somebody goes on already.
pub fn label(state: &State) -> &'static str {
    let shown = status(state);
    if shown != Status::Interrupting {
        return shown.word();
    }
    let going_on = state.launch_wanted || state.next_prompt_to_serve().is_some();
    if state.closing.is_some() && going_on {
        return "interrupting (going on)";
    }
    let (asked, preempted) = match (&state.interrupt, &state.closing) {
        (Some(interrupt), None) => (
            matches!(interrupt.cause, InterruptCause::Asked { .. }) || state.held.is_some(),
            matches!(interrupt.cause, InterruptCause::Preempted { .. }),
        ),
        _ => (state.cut, matches!(state.last_turn, Some((_, Outcome::Preempted { .. })))),
    };
    match (asked, preempted) {
        (true, _) => "interrupting (asked)",
        (false, true) => "interrupting (preempted)",
        (false, false) => "interrupting (deadline)",
    }
}

/// The transitions that may be told. Whoever adds one has to say here why it is true.
pub const LEGAL: &[(&str, &[&str])] = &[
    ("(new)", &["starting", "suspended", /* for a slot */ "queued"]),
    (
        "suspended",
        &[
            // A prompt or a resume.
            "starting", // The same, after a crash that the next launch waits for.
            "queued",
            "stopped",
            // A conversation that was lost under an interrupt is noticed when somebody goes on.
            "failed",
            // The claim that kept a one-shot session without a process is over.
            "completed",
        ],
    ),
    (
        "queued",
        &[
            "starting",
            "running",
            "idle",
            "suspended",
            "awaiting_input",
            "stopping",
            "stopped",
            "unknown",
            // What the agent begins itself while something urgent waits for a slot gives way at once.
            "interrupting (preempted)",
            // The last prompt of a one-shot session was dropped while it waited to be launched again.
            "completed",
            "failed",
        ],
    ),
    (
        "starting",
        &[
            "running",
            // What the agent begins itself while it starts gives way at once.
            "interrupting (preempted)",
            "idle",
            "queued",
            "suspended",
            "awaiting_input",
            "stopping",
            "failed",
            "unknown",
            // The prompt that a one-shot session was launched again for was dropped, and the process left.
            "completed",
        ],
    ),
    (
        "idle",
        &[
            "running",
            "queued",
            "suspended",
            "awaiting_input",
            "starting",
            "stopping",
            "unknown",
            // A one-shot session whose process left before it was asked to.
            "completed",
            "failed",
        ],
    ),
    (
        "running",
        &[
            "idle",
            "queued",
            "suspended",
            "awaiting_input",
            "interrupting (asked)",
            "interrupting (deadline)",
            "interrupting (preempted)",
            "stopping",
            "unknown",
            "completed",
            "failed",
            "starting",
        ],
    ),
    (
        "awaiting_input",
        &[
            "running",
            "idle",
            "queued",
            "suspended",
            "interrupting (asked)",
            "interrupting (deadline)",
            "interrupting (preempted)",
            "starting",
            "stopping",
            // A login is awaited without a process.
            "stopped",
            "unknown",
            "completed",
            "failed",
        ],
    ),
    (
        // Never `failed` (O01).
        "interrupting (asked)",
        &[
            "idle",
            "queued",
            "suspended",
            "running",
            "starting",
            "stopping",
            "unknown",
            // It came to its end all the same.
            "completed",
        ],
    ),
    (
        "interrupting (preempted)",
        &["idle", "queued", "suspended", "running", "starting", "stopping", "unknown", "completed", "failed"],
    ),
    (
        "interrupting (deadline)",
        &["idle", "queued", "suspended", "running", "starting", "stopping", "unknown", "completed", "failed"],
    ),
    (
        "interrupting (going on)",
        &[
            "queued", "starting", "stopping", "unknown",
            // It cannot go on: the conversation is lost.
            "failed",
        ],
    ),
    (
        "stopping",
        &[
            "stopped",
            "completed",
            "failed",
            "unknown",
            // A prompt or a resume came while it was on its way out.
            "starting",
            "queued",
            "suspended",
        ],
    ),
    (
        "unknown",
        &[
            "starting",
            "idle",
            "running",
            "awaiting_input",
            "interrupting (asked)",
            "interrupting (deadline)",
            "interrupting (preempted)",
            "interrupting (going on)",
            "queued",
            "suspended",
            "stopping",
            "stopped",
            "completed",
            "failed",
        ],
    ),
    // Ends absorb, until a prompt or a resume, which may have to wait for a slot.
    ("completed", &["starting", "queued"]),
    ("failed", &["starting", "queued"]),
    ("stopped", &["starting", "queued"]),
];

/// Whether a change of status may be told.
pub fn is_legal(from: &str, to: &str) -> bool {
    LEGAL.iter().any(|(legal, tos)| *legal == from && tos.contains(&to))
}
