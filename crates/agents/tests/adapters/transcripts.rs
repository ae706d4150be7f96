//! What Claude Code's adapter concludes from recorded sessions of 2.1.197 and 2.1.329.
//!
//! `WANT` is written by hand from the notes that came with the recordings; the snapshots hold everything that was said.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::support::{assert_rebuilds, names, replay, seed, steps, wire};
use crate::trace::{trace, turns};
use lockkeeper_agents::Decoded;
use lockkeeper_core::agent::AgentSays;
use lockkeeper_core::item::ItemBody;
use lockkeeper_core::turn::TurnBy;

/// What must be concluded from one transcript.
struct Want {
    file: &'static str,
    /// All turns in order: whose, and how they ended.
    turns: &'static str,
    /// Lines of the trace that must be there, in this order.
    lines: &'static [&'static str],
    /// Words that no line of the trace may have.
    never: &'static [&'static str],
}

const fn want(file: &'static str, turns: &'static str, lines: &'static [&'static str]) -> Want {
    Want { file, turns, lines, never: &[] }
}

const fn without(mut want: Want, never: &'static [&'static str]) -> Want {
    want.never = never;
    want
}

#[rustfmt::skip]
const WANT: &[Want] = &[
    want("two-turns", "P completed, P completed", &[
        "message whole \"hello world\"", "1 rounds, 21851 in, 2 out, attempt 109305",
        // The cost is the attempt's, the tokens are the turn's.
        "message whole \"second turn\"", "1 rounds, 21885 in, 2 out, attempt 218780",
    ]),
    want("thinking-blocks", "P completed, P completed", &["reasoning whole \"t0 t1 t2 \"", "message whole \"thought\""]),
    want("subagent-task", "P completed", &[
        "tool Task toolu_c5a7a582f1f74a54b154", "started Delegated sub", "ended completed",
        "tool ended ok toolu_c5a7a582f1f74a54b154 \"from-sub", "turn ended P",
    ]),
    want("structured-output-json-schema", "P completed", &["tool StructuredOutput"]),
    without(want("permission-mode-dont-ask", "P completed", &["tool ended denied"]), &["asked"]),
    // Only `permission_denials` of the later result tells that nothing ran; we always launch with a prompt tool.
    without(want("permission-no-prompt-tool-auto-denied", "P completed", &["tool ended failed"]), &["asked"]),
    want("mcp-servers-failed-and-pending", "P completed", &["message whole \"a\"", "c1 done"]),
    want("initialize-with-hook-callbacks", "P completed", &[
        "ready -", "unknown request hook_callback \"298ac9c0-6178-4f41-a2ce-a32b0bd24e6d\"", "tool ended ok",
        "unknown request hook_callback", "turn ended",
    ]),
    without(want("hook-deny-in-bypass-mode", "P completed", &[
        "bypassPermissions", "announced permission Bash for toolu_b28a1bfd000000000009_1",
        "tool ended denied toolu_b28a1bfd000000000009_1 \"LK-NO because\"",
        "announced permission Write", "tool ended denied", "message whole \"end\"",
    ]), &["asked", "unknown request"]),
    // What is answered after the interrupt is void, and the next tool is announced and asked about as ever.
    want("hook-pending-interrupted", "P aborted, P completed", &[
        "announced permission Bash", "withdrawn \"953cde8c-f9dc-4f75-abb3-a23d4130bb8c\"", "c2 done", "tool ended denied",
        "turn ended P aborted", "announced permission Bash for toolu_42a49bee000000000002_1",
        "asked permission Bash for toolu_42a49bee000000000002_1", "tool ended ok toolu_42a49bee000000000002_1",
    ]),
    without(want("control-requests-and-end-session", "", &[
        "ready -", "refused - \"Unsupported control request subtype: nonsense\"", "notice \"Set model to claude-fake-1\"",
        "done acceptEdits", "done bogus", "c20 done",
    ]), &["turn", "message"]),
    without(want("control-rewind-without-arguments-wedges", "", &[]), &["done", "refused"]),
    want("exits-by-itself-after-idle-delay", "P completed", &[]),
    want("session-state-events", "P completed, P completed, P aborted, P failed:api", &[
        "(x; safetyCheck: Dangerous rmdir", "tool ended denied", "asked permission Bash", "withdrawn", "c1 done",
        "tool ended denied", "notice \"API Error: 400",
    ]),
    want("interrupt-mid-stream-twice-hang-tool-race-idle",
        "P completed, P aborted, P completed, P aborted, P aborted, P aborted, P aborted, P completed, P completed", &[
        "c1 done", "message partial \"w0 w1", "turn ended P aborted",
        "c2 done", "c3 done", "message partial", "turn ended P aborted",
        "c4 done", "turn ended P aborted",
        "c5 done", "tool ended cut", "turn ended P aborted",
        "c6 done", "turn ended P aborted",
        // While idle: it does not hit the turn after it.
        "c7 done", "turn began P", "message whole \"after idle interrupt\"",
    ]),
    want("permission-all-answers",
        "P completed, P completed, P aborted, P completed, P completed, P aborted, P completed, P completed, P completed, \
         P completed, P completed, P completed, P completed, P completed, P completed", &[
        "asked permission Bash", "tool ended ok",
        "asked permission Bash", "tool ended denied toolu_7121f4cd9b044701a1ba \"NO because policy\"", "turn ended P completed",
        "asked permission Bash", "tool ended denied", "turn ended P aborted",
        "asked permission Bash", "tool ended ok",
        "asked permission Bash", "tool ended denied",
        "asked permission Bash", "withdrawn \"7ee96dbb-67ee-4149-9ae0-eda0e29b6b6e\"", "tool ended denied",
        "asked permission Bash", "tool ended denied",
        "asked permission Bash", "tool ended denied",
        "asked permission Bash", "using claude-opus-4-8[1m] acceptEdits", "tool ended ok",
        "tool Bash toolu_2b89434ee3ea4775b7d7", "tool ended ok",
        // Two at once are asked one after the other.
        "asked permission Bash for toolu_0bb2927b91ab4e509c40", "asked permission Bash for toolu_b6fe8b07aba64c9fb708",
        "tool ended denied toolu_0bb2927b91ab4e509c40", "tool ended denied toolu_b6fe8b07aba64c9fb708",
        // A change of mode does not answer.
        "asked permission Bash", "done acceptEdits", "tool ended denied toolu_98115d41381d40dc8776 \"x\"",
        "asked question AskUserQuestion", "tool ended ok",
        "asked permission Write", "tool ended ok",
        // The end of input fails the gate, and the model goes on.
        "asked permission Bash", "tool ended denied", "turn ended P completed",
    ]),
    without(want("killed-while-permission-pending", "P ?", &["asked permission Bash"]), &["tool ended", "withdrawn"]),
    without(want("resume-after-kill-while-permission-pending", "P completed", &["message whole \"back\""]), &["asked", "tool"]),
    want("session-id-new", "P completed", &["conversation 2a577d45-bb4d-4d00-be5b-f69337550471"]),
    want("session-id-already-in-use", "", &[]),
    want("resume", "P completed", &["conversation 2a577d45-bb4d-4d00-be5b-f69337550471", "attempt 109395"]),
    without(want("resume-fork", "P completed", &["conversation 2a34f395-cda7-4f22-a566-c0358144e2ba"]), &["2a577d45"]),
    without(want("resume-unknown-id", "", &["conversation lost: \"No conversation found"]), &["turn"]),
    without(want("resume-not-a-uuid", "", &["conversation lost: \"Error: --resume requires"]), &["turn", "conversation 0", "conversation 1"]),
    without(want("resume-after-kill-before-init-not-found", "", &["conversation lost"]), &["turn"]),
    without(want("killed-mid-stream", "P ?", &["message partial \"w0 w1"]), &["whole", "turn ended"]),
    want("resume-after-kill-mid-stream", "P completed", &["conversation aabac69f-93d6-4ecd-a7e1-6859220d3e33", "message whole \"back\""]),
    want("two-processes-one-session-first", "P completed, P completed", &["message whole \"one\"", "message whole \"three\""]),
    want("two-processes-one-session-second", "P completed", &["message whole \"two\""]),
    without(want("prompt-with-own-uuid-killed-mid-stream", "P ?", &["prompt taken", "message partial"]), &["turn ended"]),
    without(want("resume-resend-same-uuid-no-turn", "P completed", &["message whole \"other\""]), &["failed"]),
    want("background-task-unsolicited-turns", "P completed, A completed, P completed, A completed", &[
        "started Shell bgx", "turn ended P completed", "ended completed", "turn began A", "turn ended A completed",
        "started Shell bgx", "turn ended P completed", "ended completed", "turn began A", "turn ended A completed",
    ]),
    want("queueing-merge-steer-interrupt-cancel-priority-now",
        // warm; 50 words; two merged; a tool with one steered in; interrupted; the queued one; 100 words; pushed aside;
        // the one that pushed; (the same UUID again: nothing); blocks; /context; /clear; /compact
        "P completed, P completed, P completed, P completed, P aborted, P completed, P completed, P aborted, P completed, \
         P completed, P completed, P completed, P completed", &[
        "message whole \"queued-two\"", "message whole \"tool-finished\"", "message partial", "message whole \"queued-then-interrupt\"",
        "message partial \"w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 \"", "turn ended P aborted; 1 rounds",
        "message whole \"prio-now\"", "notice \"## Context Usage", "turn ended P completed; 0 rounds",
        "conversation ca53fb1d-1fdf-42aa-9776-1b775ece3824", "notice \"Not enough messages to compact.\"",
    ]),
    want("queueing-priority-later-and-no-query", "P completed, P completed, P completed, P completed", &[
        "message whole \"toolfin\"", "message whole \"later-msg\"", "0 rounds",
    ]),
    want("bad-input-malformed-json-fatal", "P completed", &[]),
    want("bad-input-two-objects-on-one-line-fatal", "P completed", &[]),
    want("bad-input-wrong-role-fatal", "P completed", &[]),
    want("input-crlf-accepted", "P completed, P completed, P completed", &["message whole \"crlf\""]),
    want("input-unknown-type-ignored", "P completed, P completed", &[]),
    without(want("control-request-without-id", "P completed, P completed", &[]), &["done"]),
    want("sigint-mid-stream", "P completed, P aborted", &["message partial"]),
    want("sigint-inside-tool", "P aborted", &["tool ended cut"]),
    want("sigterm-mid-stream", "P completed, P ?", &["message partial"]),
    without(want("sigterm-inside-tool", "P completed, P ?", &["tool Bash"]), &["tool ended"]),
    want("stdin-eof-mid-stream", "P completed, P completed", &["message whole \"w0 w1"]),
    want("stdin-eof-while-model-silent", "P completed, P ?", &[]),
    want("api-error-400", "P failed:api, P completed", &["notice \"API Error: 400 bad thing\"", "message whole \"next\""]),
    want("api-error-401-ten-retries", "P failed:login", &["retry 1/10", "retry 10/10 in 34591 ms: authentication_failed (401)"]),
    want("api-error-429-retry-after", "P failed:rate_limit, P completed", &["retry 1/2 in 1000 ms: rate_limit (429)"]),
    want("api-error-529-twice-then-recovered", "P completed, P completed", &["retry 2/10", "message whole \"recovered\""]),
    want("api-connection-dropped-mid-stream", "P failed:api, P completed", &[
        "1 deltas of message msg_41ef0a1d442c4afa8ad2:0", "dropped msg_41ef0a1d442c4afa8ad2:0", "retry 1/2", "Unable to connect",
    ]),
    want("api-in-stream-error-looks-like-success", "P completed, P completed", &["dropped", "message whole \"about to fail \""]),
    without(want("max-tokens", "P limit:max_tokens, P completed", &["message whole \"truncated\"", "notice"]), &["failed"]),
    without(want("refusal", "P refused, P completed", &["notice"]), &["failed"]),
    want("not-logged-in", "P failed:login, P failed:login", &["notice \"Not logged in"]),
    want("model-silent-no-byte-660s", "P ?", &["retry 1/10", "retry 2/10"]),
    want("limit-max-turns", "P limit:max_turns", &["tool ended ok"]),
    want("workspace-deleted", "P completed, P failed:agent", &["Path \\\"/workspace\\\" does not exist\"; 0 rounds, 0 in, 0 out, attempt -"]),
    want("unknown-flag", "", &[]),
    want("newer-initialize-permission-and-refused-requests", "P completed, P completed, P completed", &[
        "ready 2.1.329", "refused invalid_mode", "c3 refused", "asked permission Bash", "c4 done", "tool ended ok", "tool ended failed",
    ]),
    without(want("newer-hook-deny-in-bypass-mode", "P completed", &[
        "bypassPermissions", "announced permission Bash",
        "tool ended denied toolu_b28a1bfd000000000063_1 \"PreToolUse:Bash hook error: LK-NO because\"",
        "announced permission Write", "tool ended denied", "message whole \"end\"",
    ]), &["asked", "unknown request"]),
    without(want("newer-hook-allow-runs-unasked", "P completed", &[
        "using claude-opus-5-5 default", "announced permission Bash", "tool ended ok", "announced permission Write", "tool ended ok",
    ]), &["asked"]),
    want("newer-hook-pending-interrupted", "P aborted, P completed", &[
        "announced permission Bash", "withdrawn \"cc8816d7-6353-4379-af99-81f3355de5c1\"", "c2 done", "tool ended denied",
        "turn ended P aborted", "announced permission Bash for toolu_42a49bee000000000047_1",
        "asked permission Bash for toolu_42a49bee000000000047_1", "tool ended ok toolu_42a49bee000000000047_1",
    ]),
    // After the end of input nothing is announced any more, and nothing runs.
    without(want("newer-hook-pending-stdin-eof", "P completed", &[
        "announced permission Bash for toolu_626bbba3000000000088_1", "tool ended denied toolu_626bbba3000000000088_1",
        "tool Bash toolu_626bbba3000000000089_1", "tool ended denied toolu_626bbba3000000000089_1", "turn ended P completed",
    ]), &["asked", "withdrawn", "failed"]),
    // Filled in, declined, refused by us, and cancelled, which this version does not tell the server of.
    without(want("elicitation", "P completed, P completed, P completed, P aborted, P completed", &[
        "tool mcp__asker__ask", "asked elicitation elicitation for -", "\\\"accept\\\"", "asked elicitation",
        "\\\"decline\\\"", "asked elicitation", "\\\"cancel\\\"", "asked elicitation", "tool ended cut", "turn ended P aborted",
        "message whole \"after\"",
    ]), &["withdrawn", "fulfilled", "unknown request"]),
    // A form twice; a page that was visited; one whose visit is told of before it is answered for; a cancelled form.
    without(want("newer-elicitation", "P completed, P completed, P completed, P completed, P aborted, P completed", &[
        "asked elicitation elicitation for -", "\\\"accept\\\"", "asked elicitation", "\\\"decline\\\"", "asked elicitation",
        "\\\"accept\\\"", "asked elicitation", "fulfilled", "\\\"accept\\\"", "asked elicitation", "tool ended cut",
        "turn ended P aborted", "message whole \"after\"",
    ]), &["unknown request"]),
    want("newer-message-lifecycle-and-cancel-queued",
        // warm; 30 words; two merged; a tool with one steered in; interrupted; the queued one; interrupted, and the queued
        // one with it, which never runs; (the cancelled UUID again: nothing); fresh
        "P completed, P completed, P completed, P completed, P aborted, P completed, P aborted, P aborted, P completed", &[
        "message whole \"queued-two\"", "message whole \"tool-finished\"", "c1 done", "message partial", "message whole \"kept\"",
        "c2 done", "turn ended P aborted", "turn ended P aborted; 0 rounds", "message whole \"fresh\"",
    ]),
    want("newer-set-model-checked-against-api", "P completed, P completed", &[
        // The answer to a later request comes first.
        "c2 done", "c1 refused not_found", "c3 refused check_server_error", "c4 done claude-fake-2", "c6 done",
        "c5 refused check_unreachable", "using claude-fake-2", "message whole \"waits-for-the-check\"",
    ]),
    // The cut prompt runs again; the finished one does not, and its turn must not be waited for.
    want("newer-resume-elsewhere-resend-same-uuid-runs", "P completed, P failed:protocol, P completed", &[
        "conversation 1e48d744-e3c2-4b9e-b675-a8b7692854e6", "message whole \"w0 w1 w2 w3 w4 \"", "message whole \"fresh\"",
    ]),
    want("newer-subagent-in-background", "P completed, A completed, P completed, P completed", &[
        "started Delegated sub", "turn ended P completed", "message of toolu_9c8f908cc36d47f1a8b3 whole \"w0 w1", "ended completed",
        "turn began A", "turn ended A completed", "started Delegated sub", "turn ended P completed", "ended stopped", "c1 done",
        "message whole \"next\"",
    ]),
    want("newer-api-errors-refusal-max-tokens",
        "P failed:api, P failed:api, P refused, P limit:max_tokens, P completed, P completed", &[
        "retry 1/1", "notice \"Opus 5.5's safeguards", "turn ended P refused; 2 rounds", "dropped", "message whole \"about to fail \"",
    ]),
];

#[test]
fn each_transcript_has_expectations_and_each_expectation_a_transcript() {
    let wanted: BTreeSet<&str> = WANT.iter().map(|want| want.file).collect();
    let names = names();
    let there: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(wanted, there);
    assert_eq!(wanted.len(), WANT.len(), "a file is named twice");
}

#[test]
fn each_transcript_leads_to_the_conclusions_that_its_notes_ask_for() {
    let mut wrong = String::new();
    for want in WANT {
        let said: Vec<Decoded> = said(want.file).into_iter().flatten().collect();
        let trace = trace(&said);
        let turns = turns(&said);
        if turns != want.turns {
            writeln!(wrong, "{}: turns are\n  {turns}\nand not\n  {}", want.file, want.turns).unwrap();
        }
        let mut rest = trace.lines();
        for line in want.lines {
            if !rest.any(|said| said.contains(line)) {
                writeln!(wrong, "{}: no {line:?} (in its place) in\n{trace}", want.file).unwrap();
                break;
            }
        }
        for word in want.never {
            if trace.contains(word) {
                writeln!(wrong, "{}: {word:?} in\n{trace}", want.file).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_condensed_trace_of_each_transcript_is_as_committed() {
    for name in names() {
        let said: Vec<Decoded> = said(&name).into_iter().flatten().collect();
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, trace(&said));
        });
    }
}

#[test]
fn every_line_of_a_real_agent_is_understood() {
    for name in names() {
        for decoded in said(&name).into_iter().flatten() {
            let known = !matches!(
                decoded,
                Decoded::Says(AgentSays::Malformed { .. } | AgentSays::Unrecognized { .. })
            );
            assert!(known, "{name}: {decoded:?}");
        }
    }
}

#[test]
fn each_turn_that_began_ends_once_or_the_output_ends_first() {
    for name in names() {
        let mut open: Option<TurnBy> = None;
        for decoded in said(&name).into_iter().flatten() {
            match decoded {
                Decoded::Says(AgentSays::TurnBegan { by }) => assert_eq!(open.replace(by), None, "{name}"),
                Decoded::Says(AgentSays::TurnEnded { by, .. }) => assert_eq!(open.take(), Some(by), "{name}"),
                _ => {}
            }
        }
    }
}

#[test]
fn names_of_items_are_unique_and_deltas_add_up_to_their_item() {
    for name in names() {
        let mut seen = BTreeSet::new();
        let mut deltas: BTreeMap<String, String> = BTreeMap::new();
        for decoded in said(&name).into_iter().flatten() {
            match decoded {
                Decoded::Delta { key, text, .. } => {
                    deltas.entry(key.to_string()).or_default().push_str(&text);
                }
                Decoded::Dropped { key } => assert!(deltas.remove(key.as_str()).is_some(), "{name}: {key}"),
                Decoded::Says(AgentSays::Item { item } | AgentSays::ToolStarted { item }) => {
                    assert!(seen.insert(item.key.clone()), "{name}: {} is there twice", item.key);
                    let streamed = deltas.remove(item.key.as_str());
                    match item.body {
                        ItemBody::Message { text, .. } | ItemBody::Reasoning { text, .. } => {
                            assert!(
                                streamed.is_none_or(|streamed| streamed == *text),
                                "{name}: {}",
                                item.key
                            );
                        }
                        ItemBody::ToolCall { input, .. } => {
                            let streamed = streamed.map(|text| serde_json::from_str(&text).unwrap());
                            assert!(
                                streamed.is_none_or(|it: serde_json::Value| same(&it, &input.value())),
                                "{name}"
                            );
                        }
                        ItemBody::ToolResult { .. } | ItemBody::Notice { .. } => {
                            assert_eq!(streamed, None, "{name}");
                        }
                    }
                }
                Decoded::Says(_) => {}
            }
        }
        assert!(deltas.is_empty(), "{name}: deltas of nothing: {deltas:?}");
    }
}

/// The agent fills in members that the model left out; what the model wrote is all there.
fn same(streamed: &serde_json::Value, input: &serde_json::Value) -> bool {
    let (Some(streamed), Some(input)) = (streamed.as_object(), input.as_object()) else {
        return streamed == input;
    };
    streamed.iter().all(|(name, value)| input.get(name) == Some(value))
}

#[test]
fn a_wire_that_is_rebuilt_at_any_line_says_what_the_old_one_would_have_said() {
    for name in names() {
        assert_rebuilds(&name, &steps(&name));
    }
}

#[test]
fn a_wire_is_quiet_after_each_turn_so_that_little_is_read_again() {
    for name in ["two-turns", "permission-all-answers", "newer-api-errors-refusal-max-tokens"] {
        let mut wire = wire(seed());
        let mut framer = lockkeeper_agents::framing::LineFramer::default();
        for step in steps(name) {
            let out = crate::support::feed(&mut *wire, &mut framer, &step);
            if out.iter().any(|it| matches!(it, Decoded::Says(AgentSays::TurnEnded { .. }))) {
                assert!(wire.is_quiet(), "{name}: {wire:?}");
            }
        }
    }
}

fn said(name: &str) -> Vec<Vec<Decoded>> {
    replay(&mut *wire(seed()), &steps(name))
}
