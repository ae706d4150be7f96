//! Tests of the launch specification.

use super::*;

fn spec() -> LaunchSpec {
    LaunchSpec {
        args: vec!["-c".into(), OsString::from_vec(vec![0xff, b'\n']), OsString::new()],
        env: vec![("PATH".into(), "/bin".into()), ("TOKEN".into(), "hush".into())],
        umask: Some(0o22),
        drain_ms: 5,
        ..LaunchSpec::new("/bin/sh", "/tmp", "attempt-1")
    }
}

#[test]
fn a_specification_survives_the_pipe() {
    assert_eq!(LaunchSpec::decode(&spec().encode()), Ok(spec()));
    let plain = LaunchSpec::new("a", "b", "c");
    assert_eq!(LaunchSpec::decode(&plain.encode()), Ok(plain));
}

#[test]
fn one_that_is_cut_anywhere_is_truncated() {
    let bytes = spec().encode();
    for cut in 0..bytes.len() {
        assert_eq!(LaunchSpec::decode(&bytes[..cut]), Err(SpecError::Truncated), "cut at {cut}");
    }
}

#[test]
fn one_with_a_flipped_bit_or_a_byte_too_many_is_refused() {
    let mut bytes = spec().encode();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            assert!(LaunchSpec::decode(&bytes).is_err(), "bit {bit} of byte {at}");
            bytes[at] ^= 1 << bit;
        }
    }
    bytes.push(0);
    assert_eq!(LaunchSpec::decode(&bytes), Err(SpecError::Malformed));
    let nameless = LaunchSpec { marker: String::new(), ..spec() };
    assert_eq!(LaunchSpec::decode(&nameless.encode()), Err(SpecError::Malformed));
}

#[test]
fn values_of_the_environment_are_not_shown() {
    let shown = format!("{:?}", spec());
    assert!(shown.contains("TOKEN") && !shown.contains("hush"), "{shown}");
}

#[test]
fn a_holder_that_says_nothing_is_given_up_with_a_clear_error() -> Result<(), Box<dyn std::error::Error>> {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir()?;
    let exe = dir.path().join("mute");
    std::fs::write(&exe, "#!/bin/sh\necho $$ > \"$2/pid\"\nexec /bin/sleep 600\n")?;
    std::fs::set_permissions(&exe, std::fs::Permissions::from_mode(0o700))?;
    // It reads nothing either, and this is more than a pipe takes.
    let spec = LaunchSpec { args: vec!["x".repeat(1 << 20).into()], ..spec() };
    let error = start_within(&exe, dir.path(), &spec, 300_000).err().ok_or("it started")?;
    let pid = loop {
        let text = std::fs::read_to_string(dir.path().join("pid")).unwrap_or_default();
        if let Some(line) = text.strip_suffix('\n') {
            break line.parse()?;
        }
        clock::pause(1000);
    };
    let pid = rustix::process::Pid::from_raw(pid).ok_or("no pid")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(error.to_string(), "the holder did not answer within 300 ms");
    Ok(())
}
