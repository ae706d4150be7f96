//! A server of the Model Context Protocol with one tool, `ask`, which asks the user of its client.
//!
//! It speaks the protocol's revision that the client wants, over standard input and output, one message on a line.
//!
//! The tool's argument `ask` becomes the parameters of `elicitation/create` as it is; what the client answers is the
//! tool's result, as JSON. With `done`, a path, the server tells that the elicitation of a page is complete once that
//! file exists.

use serde_json::{Value, json};
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// How often a file that cannot be waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

fn main() -> io::Result<()> {
    let mut calls: Vec<Value> = Vec::new();
    for line in io::stdin().lock().lines() {
        let Ok(message) = serde_json::from_str::<Value>(&line?) else { continue };
        let id = &message["id"];
        match message["method"].as_str() {
            Some("initialize") => reply(id, &welcome(&message["params"]["protocolVersion"]))?,
            Some("ping") => reply(id, &json!({}))?,
            Some("tools/list") => reply(id, &json!({"tools": [tool()]}))?,
            Some("tools/call") => {
                let arguments = &message["params"]["arguments"];
                // The place of the call in the list is the id of what is asked for it.
                say(&json!({
                    "id": calls.len(), "method": "elicitation/create", "params": arguments["ask"],
                }))?;
                calls.push(id.clone());
                if let Some(done) = arguments["done"].as_str() {
                    complete_once(done.into(), arguments["ask"]["elicitationId"].clone());
                }
            }
            Some(_) if !id.is_null() => say(&json!({
                "id": id, "error": {"code": -32601, "message": "no such method"},
            }))?,
            Some(_) => {}
            None => {
                let call = id.as_u64().and_then(|id| calls.get(usize::try_from(id).ok()?));
                let answer = message.get("result").unwrap_or(&message["error"]).to_string();
                let content = json!([{"type": "text", "text": answer}]);
                if let Some(call) = call {
                    reply(call, &json!({"content": content}))?;
                }
            }
        }
    }
    Ok(())
}

fn welcome(revision: &Value) -> Value {
    json!({
        "protocolVersion": revision, "capabilities": {"tools": {}},
        "serverInfo": {"name": "fake-mcp", "version": "1.0.0"},
    })
}

fn tool() -> Value {
    let properties = json!({"ask": {"type": "object"}, "done": {"type": "string"}});
    json!({
        "name": "ask", "description": "Asks the user.",
        "inputSchema": {"type": "object", "properties": properties, "required": ["ask"]},
    })
}

/// Tells that an elicitation is complete, once the file exists.
fn complete_once(file: PathBuf, elicitation: Value) {
    thread::spawn(move || {
        while !file.exists() {
            thread::sleep(LOOK_EVERY);
        }
        let params = json!({"elicitationId": elicitation});
        // A client that is gone needs not be told.
        let _ = say(&json!({"method": "notifications/elicitation/complete", "params": params}));
    });
}

fn reply(id: &Value, result: &Value) -> io::Result<()> {
    say(&json!({"id": id, "result": result}))
}

/// Writes a message.
fn say(message: &Value) -> io::Result<()> {
    let mut message = message.clone();
    message["jsonrpc"] = "2.0".into();
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{message}")?;
    stdout.flush()
}
