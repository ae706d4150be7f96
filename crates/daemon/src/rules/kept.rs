//! The rules that hold now: the administrator's and the user's, looked at again when their files change.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{env, fs, io};

use lockkeeper_core::policy::{BadRule, Layer, Policy, RuleSpec};
use serde::Serialize;
use thiserror::Error;

use super::file::{self, RuleFile, RulesError};
use super::leads::Workspace;
use super::project;
use crate::limits;

/// Where an administrator writes rules, unless `LK_ADMIN_RULES` says otherwise to the daemon.
const ADMIN: &str = "/etc/lockkeeper/rules.toml";

/// The rules of this daemon.
#[derive(Debug)]
pub(crate) struct Rules {
    home: Option<PathBuf>,
    /// Whoever changes the user's for somebody, one at a time.
    pub(super) changing: tokio::sync::Mutex<()>,
    files: [(Layer, PathBuf); 2],
    kept: Mutex<[Kept; 2]>,
    /// Those of workspaces, by where they were kept.
    projects: Mutex<HashMap<PathBuf, (Seen, Arc<RuleFile>)>>,
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
    #[error(transparent)]
    TooLong(file::TooLong),
    #[error("{0} is not written as a table of its own (`[[rule]]`): take it out of {1} yourself")]
    Inline(String, PathBuf),
    #[error("a rule is called {0} already")]
    Taken(String),
    #[error("you have no rule that is called {id}{advice}")]
    Unknown { id: String, advice: String },
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
            changing: tokio::sync::Mutex::default(),
            files: [(Layer::Admin, admin), (Layer::User, user)],
            kept: Mutex::default(),
            projects: Mutex::default(),
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
    pub(crate) fn policy(&self, workspace: Workspace<'_>, attempt: &Path) -> Arc<Policy> {
        self.with_project(workspace, self.project(attempt))
    }

    /// The rules that would hold for an agent that is started in `workspace` now.
    pub(crate) fn policy_at_launch(&self, workspace: &Path) -> Arc<Policy> {
        self.with_project(Workspace::Named(workspace), project::present(workspace).map(Arc::new))
    }

    /// The rules of a workspace as they were kept for an attempt, understood once.
    fn project(&self, attempt: &Path) -> Result<Arc<RuleFile>, RulesError> {
        /// So many agents at work are more than a host has; what is forgotten is understood again.
        const KEPT: usize = 256;
        let path = project::place_of_kept(attempt);
        let Some(seen) = seen(&path) else { return Ok(Arc::default()) };
        let projects = || self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        let known = projects().get(&path).filter(|(when, _)| *when == seen).map(|(_, file)| file.clone());
        if let Some(file) = known {
            return Ok(file);
        }
        // Understanding many rules takes a while; others need not wait for that.
        let file = Arc::new(project::kept(attempt)?);
        let mut kept = projects();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(path, (seen, file.clone()));
        Ok(file)
    }

    fn with_project(
        &self,
        workspace: Workspace<'_>,
        project: Result<Arc<RuleFile>, RulesError>,
    ) -> Arc<Policy> {
        let project = project.unwrap_or_else(|error| Arc::new(project::nothing_known(&error)));
        let files: Vec<Arc<RuleFile>> = self.look().iter().map(|kept| kept.file.clone()).collect();
        let all = || files.iter().map(Arc::as_ref).chain([&*project]);
        let real = workspace.behind_links();
        Arc::new(Policy {
            workspace: real.to_string_lossy().into(),
            rules: all().flat_map(|file| &file.rules).flat_map(|rule| &rule.made).cloned().collect(),
            ratings: all().flat_map(|file| &file.ratings).flat_map(|rating| &rating.made).cloned().collect(),
        })
    }

    /// Whether rules can be written below those of the user, whatever they are called then.
    pub(crate) fn check_add(&self, specs: &[RuleSpec]) -> Result<(), Change> {
        let kept = self.look();
        let [_, user] = &*kept;
        self.can_put(&named(user, specs, 0)?)
    }

    /// A rule that can be written below those of the user, with a name: if it has none, a number after `last`.
    pub(crate) fn named(&self, spec: RuleSpec, last: u32) -> Result<RuleSpec, Change> {
        let kept = self.look();
        let [_, user] = &*kept;
        let named = named(user, std::slice::from_ref(&spec), last)?;
        self.can_put(&named)?;
        Ok(named.into_iter().next().unwrap_or(spec))
    }

    fn can_put(&self, named: &[RuleSpec]) -> Result<(), Change> {
        self.with(named)?;
        let [_, (_, path)] = &self.files;
        can_write(path).map_err(|why| Change::Unwritable { path: path.clone(), why })
    }

    /// Writes a rule that has a name below those of the user.
    pub(crate) fn add(&self, spec: RuleSpec) -> Result<(), Change> {
        let mut kept = self.look();
        let [_, user] = &mut *kept;
        let named = named(user, &[spec], 0)?;
        self.put(user, &named)
    }

    /// Writes a rule that has a name, unless it is there as it is.
    pub(crate) fn ensure(&self, spec: RuleSpec) -> Result<(), Change> {
        let mut kept = self.look();
        let [_, user] = &mut *kept;
        let is_there = user.file.rules.iter().any(|rule| rule.spec == spec);
        if is_there { Ok(()) } else { self.put(user, &named(user, &[spec], 0)?) }
    }

    fn put(&self, user: &mut Kept, named: &[RuleSpec]) -> Result<(), Change> {
        let [_, (_, path)] = &self.files;
        let (text, file) = self.with(named)?;
        write(path, &text).map_err(|why| Change::Unwritable { path: path.clone(), why })?;
        *user = Kept { seen: seen(path), file: Arc::new(file), error: None };
        Ok(())
    }

    /// The file of the user with these rules below it.
    fn with(&self, named: &[RuleSpec]) -> Result<(String, RuleFile), Change> {
        let [_, (_, path)] = &self.files;
        let unwritable = |why: io::Error| Change::Unwritable { path: path.clone(), why };
        let mut text = file::text_of(path).map_err(unwritable)?.unwrap_or_default();
        if !text.is_empty() {
            text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
        }
        let rules =
            toml::to_string(&Written { rule: named }).map_err(|error| unwritable(io::Error::other(error)))?;
        text.push_str(&rules);
        if text.len() as u64 > limits::RULES_FILE_BYTES {
            return Err(Change::TooLong(file::TooLong));
        }
        let file = file::parse(&text, path, Layer::User, self.home.as_deref())?;
        Ok((text, file))
    }

    /// The same rule with its paths as they are and where they lead, for a place that is no file.
    pub(crate) fn placed(&self, spec: &RuleSpec) -> Vec<RuleSpec> {
        let mut rules: Vec<RuleSpec> = file::placed(spec, self.home.as_deref()).collect();
        // A name belongs to one.
        rules.iter_mut().skip(1).for_each(|rule| rule.name = None);
        rules
    }

    /// Whether a rule of this name is in the file of the user.
    pub(crate) fn has(&self, id: &str) -> bool {
        let [_, user] = &*self.look();
        user.file.rules.iter().any(|rule| rule.first().is_some_and(|rule| rule.id == id))
    }

    /// Whether a rule is in the file of the user. One without a name is known by what it says: another may be in its line.
    pub(super) fn has_still(&self, id: &str, spec: &RuleSpec) -> bool {
        let [_, user] = &*self.look();
        let mut called = user.file.rules.iter().filter(|rule| rule.first().is_some_and(|rule| rule.id == id));
        called.any(|rule| spec.name.is_some() || rule.spec == *spec)
    }

    /// Takes a rule of the user out of their file. Its other lines stay as they are.
    pub(crate) fn remove(&self, id: &str) -> Result<(), Change> {
        let [_, (_, path)] = &self.files;
        let mut kept = self.look();
        let [_, user] = &mut *kept;
        let (text, file, _) = self.text_without(user, id)?;
        write(path, &text).map_err(|why| Change::Unwritable { path: path.clone(), why })?;
        *user = Kept { seen: seen(path), file: Arc::new(file), error: None };
        Ok(())
    }

    /// What a rule of the user says that can be taken out of their file.
    pub(crate) fn check_remove(&self, id: &str) -> Result<RuleSpec, Change> {
        let kept = self.look();
        let [_, user] = &*kept;
        self.text_without(user, id).map(|(_, _, spec)| spec)
    }

    /// The file of the user without a rule, and what that says.
    fn text_without(&self, user: &Kept, id: &str) -> Result<(String, RuleFile, RuleSpec), Change> {
        let [_, (_, path)] = &self.files;
        if let Some(error) = &user.error {
            return Err(error.clone().into());
        }
        let mut rules = user.file.rules.iter().enumerate();
        let found = rules.find(|(_, rule)| rule.first().is_some_and(|rule| rule.id == id));
        let Some((at, rule)) = found else { return Err(unknown(user, id)) };
        let unwritable = |why: io::Error| Change::Unwritable { path: path.clone(), why };
        let text = file::text_of(path).map_err(unwritable)?.unwrap_or_default();
        let mut document: toml_edit::DocumentMut =
            text.parse().map_err(|error| unwritable(io::Error::other(error)))?;
        let Some(rules) = document.get_mut("rule").and_then(toml_edit::Item::as_array_of_tables_mut) else {
            return Err(Change::Inline(id.to_owned(), path.clone()));
        };
        let above = take_out(rules, at);
        let behind = document.trailing().as_str().unwrap_or_default().to_owned();
        document.set_trailing(above + &behind);
        let text = document.to_string();
        let file = file::parse(&text, path, Layer::User, self.home.as_deref())?;
        Ok((text, file, rule.spec.clone()))
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

/// That the user has no such rule, and what may be meant.
fn unknown(user: &Kept, id: &str) -> Change {
    let own = format!("{}:{id}", Layer::User);
    let advice = match id.split_once(':') {
        None if user.file.rules.iter().any(|rule| rule.first().is_some_and(|rule| rule.id == own)) => {
            format!("; {own} is one")
        }
        Some((layer, _)) if layer == Layer::Session.word() => {
            "; that of a session is taken away with `lk rules rm --session REF`".to_owned()
        }
        Some((layer, _)) if layer == Layer::Admin.word() || layer == Layer::Project.word() => {
            "; those of an administrator or a workspace are changed in their files".to_owned()
        }
        None | Some(_) => String::new(),
    };
    Change::Unknown { id: id.to_owned(), advice }
}

/// The same rules, each with a name that is free: those that have none a number after `last`.
fn named(user: &Kept, specs: &[RuleSpec], last: u32) -> Result<Vec<RuleSpec>, Change> {
    if let Some(error) = &user.error {
        return Err(error.clone().into());
    }
    let rules = user.file.rules.iter().filter_map(|rule| rule.first()).map(|rule| rule.id.clone());
    let ratings = user.file.ratings.iter().filter_map(|rating| rating.first()).map(|it| it.id.clone());
    let mut called: BTreeSet<String> = rules.chain(ratings).collect();
    let mut named = Vec::with_capacity(specs.len());
    for spec in specs {
        // A name that stays whatever is written before it.
        let mut numbered = (u64::from(last) + 1..).map(|no| format!("r{no}"));
        let free = || numbered.find(|name| !called.contains(&format!("{}:{name}", Layer::User)));
        let spec = RuleSpec { name: spec.name.clone().or_else(free), ..spec.clone() };
        let id = spec.compile(Layer::User, "0")?.id;
        if !called.insert(id.clone()) {
            return Err(Change::Taken(id));
        }
        named.push(spec);
    }
    Ok(named)
}

/// Takes a rule out. The comments above it stay: they may be about the whole file, or about the rules behind. Those that
/// no rule is behind are told.
fn take_out(rules: &mut toml_edit::ArrayOfTables, at: usize) -> String {
    let above = |table: &toml_edit::Table| {
        table.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default().to_owned()
    };
    let comments = rules.get(at).map(above).filter(|text| text.contains('#')).unwrap_or_default();
    rules.remove(at);
    match rules.get_mut(at) {
        Some(next) if !comments.is_empty() => {
            let own = above(next);
            next.decor_mut().set_prefix(format!("{}\n{}", comments.trim_end(), own));
            String::new()
        }
        Some(_) => String::new(),
        None => comments,
    }
}

/// Puts a text in the place of a file, whole or not at all. Who keeps the file elsewhere has it there.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use io::Write as _;
    let (path, part, mut file) = begin_part(path)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&part, &path));
    if written.is_err() {
        // It is told why; what is left of it is of no use.
        let _ = fs::remove_file(&part);
    }
    written?;
    path.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
}

/// Whether a text could be put there, as far as that can be told before.
fn can_write(path: &Path) -> io::Result<()> {
    let (_, part, _) = begin_part(path)?;
    fs::remove_file(part)
}

/// The file itself, and the beginning of what is to take its place.
fn begin_part(path: &Path) -> io::Result<(PathBuf, PathBuf, fs::File)> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let part = path.with_extension("toml.part");
    let file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
    Ok((path, part, file))
}
