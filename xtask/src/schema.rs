//! `cargo xtask schema`: schemathesis against a real daemon, by the committed `OpenAPI` document.
//!
//! Schemathesis makes requests out of the document, valid ones and others, follows its links from answer to request, and holds
//! every answer against it. The daemon is the debug build with a home of its own and the demonstration agent; a pipe in
//! here leads from a port of the loopback device to its socket. Nothing of it is left in the end.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf, absolute};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{io, net, thread};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::command::{cargo, step};
use crate::report;

/// The release whose findings the document and the daemon have been freed of.
const SCHEMATHESIS: &str = "4.32.5";

/// What holds of every answer.
const CHECKS: &str =
    "not_a_server_error,response_schema_conformance,status_code_conformance,content_type_conformance";

/// What is not asked for, with the reason.
const LEFT_OUT: &[(&str, &str)] = &[
    // Everything behind it would be answered by nobody.
    ("--exclude-operation-id", "stop_daemon"),
];

/// The daemon's configuration. Whatever is asked for, the machine stays usable.
const CONFIG: &str = r#"
[slots]
all = 2

[webhook.ci]
secret_file = "ci.secret"
class = "normal"
prompt = "{{ body }}"
session = "nobody"
"#;

/// From how many seeds walks begin that go from answer to request.
const WALKS: u64 = 4;

/// Walks go along the links of the document, and not along those that could be guessed. One that fails is told as it was: looking
/// for a shorter one takes minutes where the daemon answers otherwise than before.
const WALKS_CONFIG: &str = "
[phases.stateful]
generation.max-examples = 100
generation.no-shrink = true
max-steps = 10
inference.algorithms = []
";

/// Until the daemon listens.
const START: Duration = Duration::from_secs(30);

/// Until a run is over; the longest that was seen on a busy machine took a minute.
const RUN: Duration = Duration::from_mins(5);

/// Until a request is answered. A stream would be none.
const ANSWER_S: &str = "20";

/// How much to try.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Requests for each operation, at most, beside those that each schema leads to
    #[arg(long, default_value_t = 10, value_name = "N")]
    examples: u32,
    /// The seed that the requests are drawn from
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { examples: 10, seed: 1 }
    }
}

/// Runs it. A developer's machine without Python is told so; in CI nothing is skipped.
pub(crate) fn run(options: &Options) -> Result<()> {
    let program = match schemathesis() {
        Ok(program) => program,
        Err(error) if std::env::var_os("CI").is_none() => {
            report::line(&format!("SKIPPED: schemathesis, because it cannot be installed: {error:#}"));
            return Ok(());
        }
        Err(error) => return Err(error.context("schemathesis is needed in CI")),
    };
    // As the tests build it, so that it is built once.
    step("build", &mut cargo(&["build", "--workspace", "--bins", "--examples"]))?;
    let home = Home::new()?;
    let config = home.0.join("schemathesis.toml");
    fs::write(&config, WALKS_CONFIG).context("failed to write schemathesis.toml")?;
    let mut daemon = Daemon::start(&home)?;
    let url = format!("http://127.0.0.1:{}", pipe(home.socket())?);
    let (document, hooks) = (absolute("crates/api/openapi.json")?, absolute("xtask/schema")?);
    let mut schemathesis = |phases: &str, seed: u64| {
        let mut command = Command::new(&program);
        // It leaves what it has seen where it runs.
        command.current_dir(&home.0);
        command.arg("--config-file").arg(&config).arg("run").arg(&document).args(["--url", &url]);
        command
            .args(["--checks", CHECKS, "--phases", phases, "--mode", "all", "--seed"])
            .arg(seed.to_string());
        command.arg("--max-examples").arg(options.examples.to_string());
        command.args(["--generation-database", "none", "--continue-on-failure"]);
        command.args(["--request-timeout", ANSWER_S, "--warnings", "off", "--no-color"]);
        // How slow the machine is, and how many requests the hooks change, is no finding.
        command.args(["--suppress-health-check", "all"]);
        for (option, value) in LEFT_OUT {
            command.args([option, value]);
        }
        command.env("SCHEMATHESIS_HOOKS", "lk_hooks").env("PYTHONPATH", &hooks);
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("LK_SCHEMA_WORKSPACE", home.workspace());
        command.env("LK_SCHEMA_URL", &url).env("PYTHONFAULTHANDLER", "1").stdin(Stdio::null());
        within(RUN, &format!("schemathesis {phases}, seed {seed}"), &mut command)?;
        ensure!(daemon.is_there(), "the daemon ended meanwhile");
        Ok(())
    };
    let mut ran = schemathesis("coverage,fuzzing", options.seed);
    // Some walks end early, where the daemon answers otherwise than before, which it may.
    for walk in 0..WALKS {
        ran = ran.and_then(|()| schemathesis("stateful", options.seed + walk));
    }
    daemon.end();
    let log = home.errors_logged();
    ran.with_context(|| format!("what the daemon logged at the level ERROR: {log}"))?;
    ensure!(log.is_empty(), "the daemon logged errors:\n{log}");
    Ok(())
}

/// Runs a step that is aborted at a time, and tells then where it was.
fn within(time: Duration, name: &str, command: &mut Command) -> Result<()> {
    report::line(&format!("==> {name}"));
    let mut child = command.spawn().with_context(|| format!("{name}: could not be started"))?;
    let (mut waited, pause) = (Duration::ZERO, Duration::from_millis(50));
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "{name}: {status}");
            return Ok(());
        }
        if waited > time {
            let abort = Command::new("kill").arg("-ABRT").arg(child.id().to_string()).status();
            if !abort.is_ok_and(|status| status.success()) {
                child.kill()?;
            }
            child.wait()?;
            bail!("{name}: not done within {} seconds; what it was at stands above", time.as_secs());
        }
        thread::sleep(pause);
        waited += pause;
    }
}

/// Installs schemathesis into an environment of its own, once.
fn schemathesis() -> Result<PathBuf> {
    let place = absolute(target().join(format!("schemathesis-{SCHEMATHESIS}")))?;
    let program = place.join("bin/schemathesis");
    // What pip has put there last, so a folder that has it is whole.
    let whole = place.join("whole");
    if whole.exists() {
        return Ok(program);
    }
    report::line(&format!("schemathesis {SCHEMATHESIS}: installing"));
    let mut venv = Command::new("python3");
    let made = venv.args(["-m", "venv", "--clear"]).arg(&place).stdin(Stdio::null()).output();
    let advice = "install Python 3.10 or later with venv and pip (Debian: apt install python3-venv)";
    match made {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("python3 is not on the PATH; {advice}")
        }
        Err(error) => return Err(error).context("failed to run python3"),
        Ok(output) if !output.status.success() => {
            let said = [output.stdout, output.stderr].concat();
            bail!("`python3 -m venv` failed: {}; {advice}", String::from_utf8_lossy(&said).trim())
        }
        Ok(_) => {}
    }
    let mut pip = Command::new(place.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
    pip.arg(format!("schemathesis=={SCHEMATHESIS}")).stdin(Stdio::null());
    let installed = pip.status().context("failed to run pip")?;
    ensure!(installed.success(), "`pip install schemathesis=={SCHEMATHESIS}` failed: {installed}");
    fs::write(&whole, "").with_context(|| format!("failed to write {}", whole.display()))?;
    Ok(program)
}

/// Where cargo builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}

/// Everything that the daemon has. It is removed in the end.
struct Home(PathBuf);

impl Home {
    fn new() -> Result<Self> {
        // The path of a socket must be short.
        let home = Self(std::env::temp_dir().join(format!("lk-schema-{}", std::process::id())));
        for dir in [home.0.clone(), home.data(), home.workspace()] {
            fs::DirBuilder::new()
                .mode(0o700)
                .create(&dir)
                .with_context(|| format!("failed to create {}", dir.display()))?;
        }
        let data = home.data();
        fs::write(data.join("config.toml"), CONFIG).context("failed to write config.toml")?;
        let secret =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(data.join("ci.secret"));
        secret
            .and_then(|mut file| {
                file.write_all(
                    b"0123456789abcdef
",
                )
            })
            .context("failed to write ci.secret")?;
        Ok(home)
    }

    fn data(&self) -> PathBuf {
        self.0.join("d")
    }

    fn workspace(&self) -> PathBuf {
        self.0.join("w")
    }

    fn socket(&self) -> PathBuf {
        self.data().join("lk.sock")
    }

    /// What the daemon logged at the level ERROR.
    fn errors_logged(&self) -> String {
        let log = fs::read_to_string(self.data().join("logs/daemon.log")).unwrap_or_default();
        let errors = log.lines().filter(|line| line.contains("\"level\":\"ERROR\"")).take(20);
        errors.collect::<Vec<_>>().join("\n")
    }

    /// Processes that have its path in their command line: holders, and agents in their environment.
    fn processes(&self) -> Vec<u32> {
        let path = [self.0.as_os_str().as_encoded_bytes(), b"/"].concat();
        let has = |file: PathBuf| {
            fs::read(file).is_ok_and(|bytes| bytes.windows(path.len()).any(|window| window == path))
        };
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| *pid != std::process::id())
            .filter(|pid| {
                let of = Path::new("/proc").join(pid.to_string());
                has(of.join("cmdline"))
                    || fs::read_link(of.join("cwd")).is_ok_and(|dir| dir.starts_with(&self.0))
            })
            .collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A leftover is only wasted space.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The daemon. It and all that it has started are killed in the end, whatever happens.
struct Daemon<'a> {
    home: &'a Home,
    child: Child,
}

impl<'a> Daemon<'a> {
    fn start(home: &'a Home) -> Result<Self> {
        let program = absolute(target().join("debug/lk"))?;
        let err = home.0.join("daemon.err");
        let mut command = Command::new(&program);
        command.args(["daemon", "run"]).current_dir(&home.0).stdin(Stdio::null()).stdout(Stdio::null());
        command.env("LK_HOME", home.data()).env("LK_ADMIN_RULES", home.0.join("admin.toml"));
        command.env("HOME", &home.0).env_remove("LK_LOG").stderr(fs::File::create(&err)?);
        let child = command.spawn().with_context(|| format!("failed to start {}", program.display()))?;
        let mut daemon = Self { home, child };
        let mut waited = Duration::ZERO;
        while UnixStream::connect(home.socket()).is_err() {
            if !daemon.is_there() || waited > START {
                bail!("the daemon does not listen: {}", fs::read_to_string(&err).unwrap_or_default());
            }
            let pause = Duration::from_millis(50);
            thread::sleep(pause);
            waited += pause;
        }
        Ok(daemon)
    }

    fn is_there(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// Kills it, its holders and their agents.
    fn end(&mut self) {
        // It may have ended, and then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        loop {
            let left = self.home.processes();
            if left.is_empty() {
                return;
            }
            let mut kill = Command::new("kill");
            kill.arg("-KILL").args(left.iter().map(u32::to_string)).stderr(Stdio::null());
            if kill.status().is_err() {
                report::line(&format!("`kill` does not run: processes are left: {left:?}"));
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Leads connections to a port of the loopback device on to a socket, as long as this process runs.
fn pipe(socket: PathBuf) -> Result<u16> {
    let listener = TcpListener::bind((net::Ipv4Addr::LOCALHOST, 0)).context("failed to listen")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let socket = socket.clone();
            thread::spawn(move || {
                // One that breaks off is schemathesis's to tell.
                let _ = join(&stream, &socket);
            });
        }
    });
    Ok(port)
}

/// Copies in both directions until both have ended.
fn join(stream: &TcpStream, socket: &Path) -> io::Result<()> {
    let daemon = UnixStream::connect(socket)?;
    stream.set_nodelay(true)?;
    let (mut from, mut to) = (stream.try_clone()?, daemon.try_clone()?);
    thread::scope(|threads| {
        threads.spawn(move || {
            let copied = io::copy(&mut from, &mut to);
            to.shutdown(net::Shutdown::Write).and(copied.map(drop))
        });
        let copied = io::copy(&mut &daemon, &mut &*stream);
        // Whoever asks learns of the end at once, and stops the other direction.
        stream.shutdown(net::Shutdown::Both).and(copied.map(drop))
    })
}
