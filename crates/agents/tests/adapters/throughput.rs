//! A rough figure of how fast lines are decoded; run it with
//! `LK_MEASURE=1 cargo test --release -p lockkeeper-agents --test adapters throughput -- --nocapture`. Without the
//! variable it decodes little, and only checks that every line is seen.

use std::time::Instant;

use crate::support::{Step, seed, steps, wire};
use lockkeeper_agents::framing::{Frame, LineFramer};

/// Bytes of output to decode for one figure.
const MEASURED: usize = 400 * 1024 * 1024;

/// Bytes of output to decode for the check.
const CHECKED: usize = 2 * 1024 * 1024;

#[test]
#[expect(clippy::print_stderr, reason = "the figures are for people")]
fn every_line_of_a_long_stream_in_chunks_is_framed_and_decoded() {
    let wanted = if std::env::var_os("LK_MEASURE").is_some() { MEASURED } else { CHECKED };
    let typical = output("permission-all-answers");
    let newer = output("newer-message-lifecycle-and-cancel-queued");
    let deltas = lines_with("interrupt-mid-stream-twice-hang-tool-race-idle", "content_block_delta");
    let large = large_tool_results();
    for (what, bytes) in [
        ("whole session, 2.1.197", typical),
        ("whole session, 2.1.329", newer),
        ("deltas", deltas),
        ("tool results of 100 KB", large),
    ] {
        let lines = bytes.split(|byte| *byte == b'\n').count() - 1;
        let rounds = (wanted / bytes.len()).max(1);
        let framing = time(|| {
            let mut framer = LineFramer::default();
            let mut count = 0;
            for _ in 0..rounds {
                for chunk in bytes.chunks(64 * 1024) {
                    framer.push(chunk, |_, _| count += 1);
                }
            }
            assert_eq!(count, lines * rounds);
        });
        let decoding = time(|| {
            let mut framer = LineFramer::default();
            let mut wire = wire(seed());
            let mut out = Vec::new();
            let mut said = 0;
            for _ in 0..rounds {
                for chunk in bytes.chunks(64 * 1024) {
                    framer.push(chunk, |frame, _| {
                        let Frame::Line(line) = frame else { panic!("oversized") };
                        wire.decode(line, &mut out);
                    });
                    said += out.len();
                    out.clear();
                }
            }
            assert!(said >= lines * rounds, "each line says at least one thing");
        });
        // Bytes in a microsecond are megabytes in a second.
        let total = rounds * bytes.len();
        eprintln!(
            "{what}: {} bytes a line; framing {} MB/s; framing and decoding {} MB/s, {} lines/s",
            bytes.len() / lines,
            total / framing.max(1),
            total / decoding.max(1),
            rounds * lines * 1000 / (decoding / 1000).max(1),
        );
    }
}

/// How long it takes, in microseconds.
#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn time(work: impl FnOnce()) -> usize {
    let start = Instant::now();
    work();
    usize::try_from(start.elapsed().as_micros()).unwrap()
}

fn output(name: &str) -> Vec<u8> {
    let lines = steps(name).into_iter().filter_map(|step| match step {
        Step::Out(bytes) => Some(compact(&bytes)),
        Step::In(_) => None,
    });
    lines.flatten().collect()
}

fn lines_with(name: &str, what: &str) -> Vec<u8> {
    let text = String::from_utf8(output(name)).unwrap();
    text.lines()
        .filter(|line| line.contains(what))
        .flat_map(|line| format!("{line}\n").into_bytes())
        .collect()
}

/// What the agent writes has no blanks between tokens; the recordings have.
fn compact(line: &[u8]) -> Vec<u8> {
    let value: serde_json::Value = serde_json::from_slice(line).unwrap();
    let mut bytes = serde_json::to_vec(&value).unwrap();
    bytes.push(b'\n');
    bytes
}

fn large_tool_results() -> Vec<u8> {
    let text = "a line of what a tool printed, with \"quotes\" and a\ttab\n".repeat(1800);
    let block = serde_json::json!({ "type": "tool_result", "tool_use_id": "toolu_1", "content": text, "is_error": false });
    let line = serde_json::json!({ "type": "user", "message": { "role": "user", "content": [block] }, "parent_tool_use_id": null });
    format!("{line}\n").repeat(40).into_bytes()
}
