//! The rules that hold now: the administrator's and the user's, looked at again when their files change.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{env, fs, io};

use lockkeeper_core::policy::{BadRule, Layer, Policy, RuleSpec};
use serde::Serialize;
use thiserror::Error;

use super::file::{self, RuleFile, RulesError};
use super::{leads, project};

/// Where an administrator writes rules, unless `LK_ADMIN_RULES` says otherwise to the daemon.
const ADMIN: &str = "/etc/lockkeeper/rules.toml";

/// The rules of this daemon.
#[derive(Debug)]
pub(crate) struct Rules {
    home: Option<PathBuf>,
    files: [(Layer, PathBuf); 2],
    kept: Mutex<[Kept; 2]>,
}

/// What was read last.
#[derive(Debug, Default)]
struct Kept {
    seen: Option<Seen>,
    file: Arc<RuleFile>,
    /// Why the file as it is now is not what holds.
    error: Option<RulesError>,
}

/// By what it shows that a file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    inode: u64,
    len: u64,
    /// In seconds and nanoseconds.
    changed: (i64, i64),
}

/// How a file of rules stands.
pub(crate) struct RuleFileState {
    pub(crate) layer: Layer,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<RuleFile>,
    pub(crate) error: Option<RulesError>,
}

/// Why rules were not changed.
#[derive(Debug, Error)]
pub(crate) enum Change {
    #[error(transparent)]
    Bad(#[from] BadRule),
    #[error("{0}; mend that first")]
    File(#[from] RulesError),
    #[error("a rule is called {0} already")]
    Taken(String),
    #[error("you have no rule that is called {0}")]
    Unknown(String),
    #[error("{path} cannot be written: {why}")]
    Unwritable { path: PathBuf, why: io::Error },
}

#[derive(Serialize)]
struct Written<'a> {
    rule: &'a [RuleSpec],
}

/// Reads the rules of the administrator, and those of the user, which are beside the configuration `config`, and keeps
/// nothing. The error is the first that a daemon would not start with.
pub fn check_rules(config: &Path) -> Result<(), RulesError> {
    Rules::open(config).map(drop)
}

impl Rules {
    /// Reads the files that there are; the user's is beside the configuration.
    pub(crate) fn open(config: &Path) -> Result<Self, RulesError> {
        let admin = env::var_os("LK_ADMIN_RULES").map_or_else(|| ADMIN.into(), PathBuf::from);
        let user = config.with_file_name("rules.toml");
        let rules = Self {
            home: env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute()),
            files: [(Layer::Admin, admin), (Layer::User, user)],
            kept: Mutex::default(),
        };
        let kept = rules.look();
        let wrong = kept.iter().find_map(|kept| kept.error.clone());
        drop(kept);
        wrong.map_or(Ok(rules), Err)
    }

    /// Where `~` is.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// The file of the user.
    pub(crate) fn own(&self) -> &Path {
        let [_, (_, path)] = &self.files;
        path
    }

    /// How the files stand.
    pub(crate) fn files(&self) -> Vec<RuleFileState> {
        let kept = self.look();
        let files = self.files.iter().zip(&*kept).map(|((layer, path), kept)| RuleFileState {
            layer: *layer,
            path: path.clone(),
            file: kept.file.clone(),
            error: kept.error.clone(),
        });
        files.collect()
    }

    /// The rules that hold for an agent that works in `workspace`, whose rules were kept in `attempt`. Where those that were
    /// kept cannot be read any more, everything is asked.
    pub(crate) fn policy(&self, workspace: &Path, attempt: &Path) -> Arc<Policy> {
        self.with_project(workspace, project::kept(attempt))
    }

    /// The rules that would hold for an agent that is started in `workspace` now.
    pub(crate) fn policy_at_launch(&self, workspace: &Path) -> Arc<Policy> {
        self.with_project(workspace, project::present(workspace))
    }

    fn with_project(&self, workspace: &Path, project: Result<RuleFile, RulesError>) -> Arc<Policy> {
        let project = project.unwrap_or_else(|error| project::nothing_known(&error));
        let files: Vec<Arc<RuleFile>> = self.look().iter().map(|kept| kept.file.clone()).collect();
        let all = || files.iter().map(Arc::as_ref).chain([&project]);
        let real = leads::real(workspace).unwrap_or_else(|| workspace.to_owned());
        Arc::new(Policy {
            workspace: real.to_string_lossy().into(),
            rules: all().flat_map(|file| &file.rules).flat_map(|rule| &rule.made).cloned().collect(),
            ratings: all().flat_map(|file| &file.ratings).flat_map(|rating| &rating.made).cloned().collect(),
        })
    }

    /// Writes rules below those of the user, all or none; tells what they are called.
    pub(crate) fn add(&self, specs: &[RuleSpec]) -> Result<Vec<String>, Change> {
        let mut kept = self.look();
        let [_, (_, path)] = &self.files;
        let [_, user] = &mut *kept;
        if let Some(error) = &user.error {
            return Err(error.clone().into());
        }
        let there = user.file.rules.iter().filter_map(|rule| rule.first()).map(|rule| rule.id.clone());
        let mut called: BTreeSet<String> = there.collect();
        let mut named = Vec::with_capacity(specs.len());
        let mut ids = Vec::with_capacity(specs.len());
        for spec in specs {
            // A name that stays whatever is written before it.
            let numbered = (1..=called.len() + 1).map(|no| format!("r{no}"));
            let free = || numbered.clone().find(|name| !called.contains(&format!("{}:{name}", Layer::User)));
            let spec = RuleSpec { name: spec.name.clone().or_else(free), ..spec.clone() };
            let id = spec.compile(Layer::User, "0")?.id;
            if !called.insert(id.clone()) {
                return Err(Change::Taken(id));
            }
            ids.push(id);
            named.push(spec);
        }
        let unwritable = |why: io::Error| Change::Unwritable { path: path.clone(), why };
        let mut text = text_of(path).map_err(unwritable)?;
        if !text.is_empty() {
            text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
        }
        let rules = toml::to_string(&Written { rule: &named })
            .map_err(|error| unwritable(io::Error::other(error)))?;
        text.push_str(&rules);
        let file = file::parse(&text, path, Layer::User, self.home.as_deref())?;
        write(path, &text).map_err(unwritable)?;
        *user = Kept { seen: seen(path), file: Arc::new(file), error: None };
        Ok(ids)
    }

    /// The same rule with its paths as they are and where they lead, for a place that is no file.
    pub(crate) fn placed(&self, spec: &RuleSpec) -> Vec<RuleSpec> {
        file::placed(spec, self.home.as_deref()).collect()
    }

    /// Takes rules of the user out of their file, all or none. Its other lines stay as they are.
    pub(crate) fn remove(&self, ids: &[String]) -> Result<(), Change> {
        let mut kept = self.look();
        let [_, (_, path)] = &self.files;
        let [_, user] = &mut *kept;
        if let Some(error) = &user.error {
            return Err(error.clone().into());
        }
        let mut places = Vec::with_capacity(ids.len());
        for id in ids {
            let mut rules = user.file.rules.iter();
            let at = rules.position(|rule| rule.first().is_some_and(|rule| rule.id == *id));
            places.push(at.ok_or_else(|| Change::Unknown(id.clone()))?);
        }
        places.sort_unstable();
        let unwritable = |why: io::Error| Change::Unwritable { path: path.clone(), why };
        let text = text_of(path).map_err(unwritable)?;
        let mut document: toml_edit::DocumentMut =
            text.parse().map_err(|error| unwritable(io::Error::other(error)))?;
        if let Some(rules) = document.get_mut("rule").and_then(toml_edit::Item::as_array_of_tables_mut) {
            for at in places.into_iter().rev() {
                rules.remove(at);
            }
        }
        let text = document.to_string();
        let file = file::parse(&text, path, Layer::User, self.home.as_deref())?;
        write(path, &text).map_err(unwritable)?;
        *user = Kept { seen: seen(path), file: Arc::new(file), error: None };
        Ok(())
    }

    /// What holds, after a look at the files. One that cannot be understood leaves what held before, and says so.
    fn look(&self) -> MutexGuard<'_, [Kept; 2]> {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for ((layer, path), kept) in self.files.iter().zip(&mut *all) {
            let seen = seen(path);
            if seen == kept.seen {
                continue;
            }
            kept.seen = seen;
            match file::read(path, *layer, self.home.as_deref()) {
                Ok(file) => (kept.file, kept.error) = (Arc::new(file), None),
                Err(error) => {
                    tracing::warn!(%error, "rules were changed and cannot be understood; those before hold");
                    kept.error = Some(error);
                }
            }
        }
        all
    }
}

fn seen(path: &Path) -> Option<Seen> {
    let meta = fs::metadata(path).ok()?;
    let changed = (meta.ctime(), meta.ctime_nsec());
    Some(Seen { inode: meta.ino(), len: meta.len(), changed })
}

fn text_of(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    }
}

/// Puts a text in the place of a file, whole or not at all. Who keeps the file elsewhere has it there.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use io::Write as _;
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let part = path.with_extension("toml.part");
    let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(part, path)
}
