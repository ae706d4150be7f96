//! What is believed, what settings are taken, and what templates make of a delivery.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use lockkeeper_api::Signature;
use lockkeeper_core::session::Keep;
use tempfile::TempDir;

use super::proof::Proof;
use super::*;
use crate::config::Config;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn head(fields: &[(&str, &str)]) -> Result<HeaderMap, Box<dyn std::error::Error>> {
    let field =
        |(name, value): &(&str, &str)| Ok((name.parse::<HeaderName>()?, HeaderValue::from_str(value)?));
    fields.iter().map(field).collect()
}

fn proof(signature: Signature, secrets: &str) -> Result<Proof, String> {
    Proof::of(signature, secrets)
}

/// The example of GitHub's "Validating webhook deliveries".
const GITHUB: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

#[test]
fn githubs_own_example_is_believed_and_no_other() -> Outcome {
    let ours = proof(Signature::Github, "It's a Secret to Everybody\n")?;
    let signed = |signature: &str| head(&[("x-hub-signature-256", signature), ("x-github-delivery", "d1")]);
    let proved = ours.check(&signed(GITHUB)?, b"Hello, World!", 0)?;
    assert_eq!((proved.id.as_deref(), proved.by_content), (Some("d1"), true));
    assert_eq!(ours.check(&signed(GITHUB)?, b"Hello, World?", 0), Err(Unproved::Wrong));
    let cut = GITHUB.trim_end_matches('7');
    assert!(ours.check(&signed(cut)?, b"Hello, World!", 0).is_err());
    for malformed in ["sha1=00", "757107ea", "sha256=zz", "sha256=é"] {
        let head = head(&[("x-hub-signature-256", "x"), ("x-github-delivery", "d1")]);
        let mut head = head?;
        head.insert("x-hub-signature-256", HeaderValue::from_bytes(malformed.as_bytes())?);
        let malformed = Unproved::Malformed("x-hub-signature-256");
        assert_eq!(ours.check(&head, b"Hello, World!", 0), Err(malformed));
    }
    assert_eq!(ours.check(&signed("sha256=")?, b"", 0), Err(Unproved::Wrong), "nothing is no signature");
    assert_eq!(ours.check(&head(&[])?, b"", 0), Err(Unproved::Missing("x-hub-signature-256")));
    let unnamed = head(&[("x-hub-signature-256", GITHUB)])?;
    assert_eq!(ours.check(&unnamed, b"Hello, World!", 0), Err(Unproved::Unnamed("x-github-delivery")));
    Ok(())
}

#[test]
fn one_secret_of_several_is_enough_so_that_they_can_be_changed() -> Outcome {
    let head = head(&[("x-hub-signature-256", GITHUB), ("x-github-delivery", "d1")])?;
    let both = proof(Signature::Github, "a newer one of length\n\nIt's a Secret to Everybody\n")?;
    assert!(both.check(&head, b"Hello, World!", 0).is_ok());
    let newer = proof(Signature::Github, "a newer one of length\n")?;
    assert_eq!(newer.check(&head, b"Hello, World!", 0), Err(Unproved::Wrong));
    Ok(())
}

#[test]
fn what_the_standard_signs_is_believed_for_five_minutes() -> Outcome {
    // The example that the libraries of the specification have in their tests.
    const AT: i64 = 1_614_265_330;
    const AHEAD: &str = "ahead of this clock";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    let body = br#"{"test": 2432232314}"#;
    let ours = proof(Signature::Standard, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
    let signed = |id: &str, at: &str, signature: &str| {
        head(&[("webhook-id", id), ("webhook-timestamp", at), ("webhook-signature", signature)])
    };
    let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    let good = signed(id, "1614265330", SIGNATURE)?;
    let proved = ours.check(&good, body, AT)?;
    assert_eq!((proved.id.as_deref(), proved.by_content), (Some(id), false));
    let several = signed(id, "1614265330", &format!("v1a,AAAA v1,AAAA {SIGNATURE}"))?;
    assert!(ours.check(&several, body, AT + 300).is_ok() && ours.check(&several, body, AT - 300).is_ok());
    assert_eq!(ours.check(&good, body, AT + 301), Err(Unproved::Expired { off_s: 301, when: "ago" }));
    assert_eq!(ours.check(&good, body, AT - 301), Err(Unproved::Expired { off_s: 301, when: AHEAD }));
    let off_s = AT.abs_diff(i64::MIN);
    assert_eq!(ours.check(&good, body, i64::MIN), Err(Unproved::Expired { off_s, when: AHEAD }));
    // All three are signed.
    assert_eq!(ours.check(&signed("other", "1614265330", SIGNATURE)?, body, AT), Err(Unproved::Wrong));
    assert_eq!(ours.check(&signed(id, "1614265331", SIGNATURE)?, body, AT), Err(Unproved::Wrong));
    assert_eq!(ours.check(&good, b"{}", AT), Err(Unproved::Wrong));
    let unreadable = ours.check(&signed(id, "now", SIGNATURE)?, body, AT);
    assert_eq!(unreadable, Err(Unproved::Malformed("webhook-timestamp")));
    let unreadable = ours.check(&signed(id, "1614265330", "v2,x")?, body, AT);
    assert_eq!(unreadable, Err(Unproved::Malformed("webhook-signature")));
    Ok(())
}

#[test]
fn a_token_is_the_secret_itself() -> Outcome {
    let ours = proof(Signature::Token, "0123456789abcdef")?;
    let bearer = ours.check(&head(&[("authorization", "Bearer 0123456789abcdef")])?, b"", 0)?;
    assert_eq!(bearer, Proved { id: None, event: None, by_content: false });
    let fields = [
        ("x-gitlab-token", "0123456789abcdef"),
        ("x-gitlab-event", "Push Hook"),
        ("x-gitlab-event-uuid", "u1"),
    ];
    let gitlab = ours.check(&head(&fields)?, b"", 0)?;
    assert_eq!((gitlab.id.as_deref(), gitlab.event.as_deref()), (Some("u1"), Some("Push Hook")));
    for wrong in ["Bearer 0123456789abcdeg", "Bearer 0123456789abcdef0", "Bearer 0123456789abcde", "Bearer "]
    {
        assert_eq!(ours.check(&head(&[("authorization", wrong)])?, b"", 0), Err(Unproved::Wrong), "{wrong}");
    }
    assert_eq!(ours.check(&head(&[])?, b"", 0), Err(Unproved::Missing("authorization")));
    Ok(())
}

/// Reads a configuration, in a directory with a good secret of its own.
fn read(text: &str) -> Result<Config, Box<dyn std::error::Error>> {
    let dir = TempDir::new()?;
    secret(dir.path(), "0123456789abcdef", 0o600)?;
    Ok(read_in(dir.path(), text)?)
}

fn secret(dir: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let path = dir.join("secret");
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))
}

fn read_in(dir: &Path, text: &str) -> Result<Config, crate::ConfigError> {
    let path = dir.join("config.toml");
    let _ = fs::write(&path, text);
    Config::read(&path)
}

const GOOD: &str = "[webhook.ci]\nsecret_file = \"secret\"\nclass = \"urgent\"\n";

#[test]
fn wrong_settings_are_refused_by_name_with_the_way_out() -> Outcome {
    let cases = [
        ("prompt = \"x\"", "it has no session: give session, label or [webhook.NAME.new]"),
        ("prompt = \"x\"\nsession = \"a\"\nlabel = \"k=v\"", "session and label are both given"),
        ("prompt = \"\"\nsession = \"a\"", "webhook.ci.prompt is empty"),
        ("prompt = \"{{ body.x\"\nsession = \"a\"", "webhook.ci.prompt: "),
        ("prompt = \"{{ bdy.x }}\"\nsession = \"a\"", "webhook.ci.prompt: it speaks of bdy"),
        ("prompt = \"x\"\nsession = \"{{ nam }}\"", "webhook.ci.session: it speaks of nam"),
        ("prompt = \"x\"\nsession = \"a\"\nwhen = \"body.\"", "webhook.ci.when: "),
        ("prompt = \"x\"\nsession = \"a\"\nwhen = \"x == 1\"", "webhook.ci.when: it speaks of x"),
        ("prompt = \"x\"\nsession = \"a\"\nclaim_ttl_ms = 0", "webhook.ci.claim_ttl_ms must be between"),
        ("prompt = \"x\"\nsession = \"a\"\nbody_bytes = 0", "webhook.ci.body_bytes must be between 1 and"),
        (
            "prompt = \"x\"\nsession = \"a\"\nbody_bytes = 99999999",
            "webhook.ci.body_bytes must be between 1 and",
        ),
        ("prompt = \"x\"\nsession = \"a\"\nspeed = 1", "unknown field `speed`"),
        ("prompt = \"x\"\nsession = \"a\"\nsignature = \"rot13\"", "unknown variant `rot13`"),
        (
            "prompt = \"x\"\n[webhook.ci.new]\nagent = \"nobody\"\ndir = \"/\"",
            "nobody, an agent that this version",
        ),
        (
            "prompt = \"x\"\n[webhook.ci.new]\nagent = \"demo\"\ndir = \"here\"",
            "\"here\" is not an absolute path",
        ),
        (
            "prompt = \"x\"\n[webhook.ci.new]\nagent = \"demo\"\ndir = \"/\"\nname = \"a\"",
            "come from the webhook itself",
        ),
        (
            "prompt = \"x\"\nlabel = \"k=v\"\n[webhook.ci.new]\nagent = \"demo\"\ndir = \"/\"",
            "found again by its name",
        ),
        (
            "prompt = \"x\"\nsession = \"a\"\n[webhook.ci.coalesce]\nkey = \"{{ bdy }}\"",
            "webhook.ci.coalesce.key: ",
        ),
    ];
    for (settings, told) in cases {
        let error = read(&format!("{GOOD}{settings}\n")).map(drop).err().map(|error| error.to_string());
        assert!(error.as_ref().is_some_and(|error| error.contains(told)), "{settings}: {error:?}");
    }
    let long = "x".repeat(65);
    for name in ["\"a b\"", "\"\"", "\"a/b\"", long.as_str()] {
        let text = GOOD.replace("ci", name) + "prompt = \"x\"\nsession = \"a\"\n";
        let error = read(&text).map(drop).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("a name has 1 to 64 of"), "{name}: {error}");
    }
    let error = read("[webhooks]\nlisten = \"0.0.0.0:80\"\n").map(drop).err().map(|error| error.to_string());
    assert!(
        error.as_ref().is_some_and(|error| error.contains("put a reverse proxy with TLS before it")),
        "{error:?}"
    );
    read("[webhooks]\nlisten = \"[::1]:8470\"\n")?;
    Ok(())
}

#[test]
fn a_secret_is_private_and_long_and_there() -> Outcome {
    let settings = format!("{GOOD}prompt = \"x\"\nsession = \"a\"\n");
    let dir = TempDir::new()?;
    let error = |dir: &Path| {
        read_in(dir, &settings).map(drop).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(error(dir.path()).contains("webhook.ci.secret_file: "), "{}", error(dir.path()));
    for (text, mode, told) in [
        ("0123456789abcdef", 0o640, "can be read by others; close it: chmod 600"),
        ("0123456789abcde", 0o600, "holds a secret of 15 bytes, which can be guessed; the least are 16"),
        ("\n \n", 0o600, "holds no secret"),
    ] {
        secret(dir.path(), text, mode)?;
        assert!(error(dir.path()).contains(told), "{}", error(dir.path()));
    }
    secret(dir.path(), "0123456789abcdef\n", 0o600)?;
    assert_eq!(error(dir.path()), "");
    let shown = format!("{:?}", read_in(dir.path(), &settings)?);
    assert!(shown.contains("Hook") && !shown.contains("0123456789abcdef"), "{shown}");
    Ok(())
}

fn message(body: serde_json::Value) -> Message {
    Message { delivery: "d1".to_owned(), event: Some("push".to_owned()), headers: [].into(), body }
}

/// What the webhook with these settings asks for.
fn asks(settings: &str, message: &Message) -> Result<Asked, Box<dyn std::error::Error>> {
    let config = read(&format!("{GOOD}{settings}\n"))?;
    Ok(config.hooks.first().ok_or("no webhook")?.asks(message)?)
}

#[test]
fn a_template_makes_the_prompt_and_what_it_lacks_is_named() -> Outcome {
    let body = serde_json::json!({"repo": {"name": "lk"}, "n": [1, 2], "long": "x".repeat(2000)});
    let message = message(body);
    let settings = "prompt = \"{{ webhook }} {{ event }} {{ body.repo.name }} {{ body.n|length }}\"\nsession = \"{{ body.repo.name }}\"\n\
                    [webhook.ci.coalesce]\nkey = \"{{ body.repo.name }}\"\nkeep = \"all\"";
    let asked = asks(settings, &message)?;
    assert_eq!((asked.text.as_str(), asked.target), ("ci push lk 2", Target::Session("lk".to_owned())));
    assert_eq!(
        asked.coalesce.map(|coalesce| (coalesce.topic.to_string(), coalesce.keep)),
        Some(("lk".to_owned(), Keep::All))
    );
    let cases = [
        ("prompt = \"{{ body.repo.nam }}\"\nsession = \"a\"", "prompt: "),
        ("prompt = \"{{ body.repo.nam.x }}\"\nsession = \"a\"", "prompt: "),
        ("prompt = \"{% if false %}x{% endif %}\"\nsession = \"a\"", "prompt: there is no text in it"),
        ("prompt = \"x\"\nsession = \"{{ body.repo.name }} b\"", "session: "),
        ("prompt = \"x\"\nlabel = \"{{ body.repo.name }}\"", "label: \"lk\" is not KEY=VALUE"),
        (
            "prompt = \"x\"\nsession = \"a\"\n[webhook.ci.coalesce]\nkey = \"{{ body.long }}\"",
            "coalesce.key: the text is longer than 500 bytes",
        ),
        (
            "prompt = \"{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}x\"\nsession = \"a\"",
            "prompt: it takes too many steps",
        ),
        (
            "prompt = \"{% for i in range(9000) %}{{ body.long }}{% endfor %}\"\nsession = \"a\"",
            "prompt: the text is longer than",
        ),
    ];
    for (settings, told) in cases {
        let error =
            asks(settings, &message).map(drop).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with(told), "{settings}: {error}");
    }
    let unnamed = Message { event: None, ..message.clone() };
    let error = asks("prompt = \"{{ event }}\"\nsession = \"a\"", &unnamed).map(drop).err();
    assert_eq!(error.map(|error| error.to_string()).as_deref(), Some("prompt: `event` is undefined"));
    let error = asks(cases[0].0, &message).map(drop).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("nam"), "the missing field is named: {error}");
    Ok(())
}

#[test]
fn what_is_no_text_is_put_into_a_prompt_as_json_and_nothing_is_no_name() -> Outcome {
    let body =
        serde_json::json!({"none": null, "list": ["a", {"b": null}], "yes": true, "n": 1.5, "text": "t"});
    let message = message(body);
    let prompt = "{{ body.none }} {{ body.list }} {{ body.yes }} {{ body.n }} {{ body.text }}";
    let asked = asks(&format!("prompt = \"{prompt}\"\nsession = \"a\""), &message)?;
    assert_eq!(asked.text, r#"null ["a",{"b":null}] true 1.5 t"#);
    for (setting, settings) in [
        ("session", "prompt = \"x\"\nsession = \"{{ body.none }}\""),
        ("label", "prompt = \"x\"\nlabel = \"k={{ body.none }}\""),
        ("coalesce.key", "prompt = \"x\"\nsession = \"a\"\n[webhook.ci.coalesce]\nkey = \"{{ body.none }}\""),
    ] {
        let error = asks(settings, &message).map(drop).err().map(|error| error.to_string());
        assert_eq!(error, Some(format!("{setting}: the field is null")));
    }
    Ok(())
}

#[test]
fn other_events_and_unmet_conditions_are_ignored_with_the_reason() -> Outcome {
    let settings = "prompt = \"x\"\nsession = \"a\"\nevents = [\"push\", \"ping\"]\nwhen = \"body.ok is defined and body.ok\"";
    let config = read(&format!("{GOOD}{settings}\n"))?;
    let hook = config.hooks.first().ok_or("no webhook")?;
    assert_eq!(hook.ignores(&message(serde_json::json!({"ok": true})))?, None);
    let unmet = hook.ignores(&message(serde_json::json!({})))?;
    assert_eq!(unmet.as_deref(), Some("the condition is not met: body.ok is defined and body.ok"));
    let other = Message { event: Some("fork".to_owned()), ..message(serde_json::json!({"ok": true})) };
    assert_eq!(hook.ignores(&other)?.as_deref(), Some("the event fork is none of push, ping"));
    let bare = read(&format!("{GOOD}prompt = \"x\"\nsession = \"a\"\nwhen = \"body.draf\"\n"))?;
    let bare = bare.hooks.first().ok_or("no webhook")?.ignores(&message(serde_json::json!({})));
    assert_eq!(bare, Err("when: `body.draf` is undefined".to_owned()), "not taken for false");
    let unnamed = Message { event: None, ..other };
    assert!(hook.ignores(&unnamed)?.is_some());
    Ok(())
}
