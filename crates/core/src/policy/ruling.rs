//! Which rule decides about a step, and why.
//!
//! A step has parts: each command of a shell line, each file, each host. For each part the strictest rule counts,
//! whoever made it, so nobody's rule loosens anybody else's, and the order of rules means nothing. Then the strictest
//! part counts: something is allowed if all of its parts are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::command::{CommandLine, SimpleCommand, Word};
use super::command_pattern::CommandPattern;
use super::pattern::{NamePattern, below, host_of, lexical};
use super::rule::{Effect, Layer, Rating, Risk, Rule, When};
use super::tool_use::{PathUse, ToolKind, ToolUse};

/// The session that wants to take a step.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its agent.
    pub agent: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Where it works: `prod`.
    pub environment: Option<&'a str>,
    /// On whose behalf.
    pub submitter: Option<&'a str>,
}

/// The rules and ratings of all layers for the sessions of one workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The workspace, behind all symbolic links.
    pub workspace: Arc<str>,
    /// The rules; their order means nothing.
    pub rules: Vec<Arc<Rule>>,
    /// The ratings; their order means nothing.
    pub ratings: Vec<Arc<Rating>>,
}

/// What was found about a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// What is to be done; none is what the agent's own rules say, which is to ask if it asks.
    pub effect: Option<Effect>,
    /// The rule that says so.
    pub rule: Option<Arc<Rule>>,
    /// Whether a rule that nobody may set aside for a while asks for a decision, or denies it.
    pub is_binding: bool,
    /// How dangerous the step is.
    pub risk: Risk,
    /// What was found about each of its parts.
    pub parts: Vec<PartRuling>,
}

/// What was found about a part of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartRuling {
    /// What it is, for people.
    pub what: String,
    /// How dangerous it is.
    pub risk: Risk,
    /// The rating that says so; none is the built-in one.
    pub rating: Option<Arc<Rating>>,
    /// What is to be done with it.
    pub effect: Option<Effect>,
    /// All rules that are about it with what they say of it, the strictest first.
    pub rules: Vec<(Effect, Arc<Rule>)>,
}

impl Ruling {
    /// Why, for people: what the rule says of itself, or that it may deny what nobody can tell before it happens.
    pub fn reason(&self) -> Option<String> {
        let rule = self.rule.as_ref()?;
        if rule.effect != Effect::Deny || self.effect != Some(Effect::Ask) {
            return rule.reason.clone();
        }
        let part = self.parts.iter().find(|part| part.effect == self.effect)?;
        Some(format!("the rule may deny it: {}", part.what))
    }
}

impl Policy {
    /// Decides about a step.
    pub fn rule_on(&self, subject: &Subject<'_>, tool_use: &ToolUse) -> Ruling {
        let line = tool_use.command.as_deref().map(CommandLine::read);
        let parts = parts(tool_use, line.as_ref());
        let parts: Vec<PartRuling> =
            parts.iter().map(|part| self.rule_on_part(subject, tool_use, part)).collect();
        let decisive = parts.iter().max_by_key(|part| strictness(part.effect));
        let effect = decisive.and_then(|part| part.effect);
        let rule = decisive.and_then(|part| part.rules.first()).map(|(_, rule)| rule.clone());
        let binding = |(effect, rule): &(Effect, Arc<Rule>)| {
            // What may be denied is asked about by a rule that denies.
            rule.effect == Effect::Deny || (*effect == Effect::Ask && rule.layer == Layer::Admin)
        };
        Ruling {
            effect,
            rule: rule.filter(|_| effect.is_some()),
            is_binding: parts.iter().flat_map(|part| &part.rules).any(binding),
            risk: parts.iter().map(|part| part.risk).max().unwrap_or(Risk::High),
            parts,
        }
    }

    /// Whether a rule may hold up what an agent would not ask about.
    pub fn may_tighten(&self, subject: &Subject<'_>) -> bool {
        let meant = |rule: &Arc<Rule>| rule.when.is_about(subject, &self.workspace);
        self.rules.iter().any(|rule| rule.effect != Effect::Allow && meant(rule))
    }

    /// The same policy with further rules.
    #[must_use]
    pub fn with(&self, rules: impl IntoIterator<Item = Rule>) -> Self {
        let mut all = self.clone();
        all.rules.extend(rules.into_iter().map(Arc::new));
        all
    }

    pub(super) fn rule_on_part(
        &self,
        subject: &Subject<'_>,
        tool_use: &ToolUse,
        part: &Part<'_>,
    ) -> PartRuling {
        let (risk, rating) = self.rate(subject, tool_use, part);
        let mut rules: Vec<(Effect, Arc<Rule>)> = Vec::new();
        let mut permitted = false;
        for rule in &self.rules {
            let when = &rule.when;
            let Some((effect, permits)) = rule.effect_at(risk) else { continue };
            if !when.is_about(subject, &self.workspace) || !when.names(tool_use) {
                continue;
            }
            match when.reaches(&self.workspace, part, effect.permits()) {
                Reach::Certain => {
                    permitted |= permits;
                    rules.push((effect, rule.clone()));
                }
                // What may be denied, and may be something else, somebody has to look at.
                Reach::Possible if !effect.permits() => rules.push((Effect::Ask, rule.clone())),
                Reach::Possible | Reach::None => {}
            }
        }
        rules.sort_by(|(a, first), (b, second)| b.cmp(a).then(first.layer.cmp(&second.layer)));
        let strictest = rules.first().map(|(effect, _)| *effect);
        PartRuling {
            what: part.to_string(),
            risk,
            rating,
            effect: strictest.filter(|effect| !effect.permits() || permitted),
            rules,
        }
    }

    /// How dangerous a part is: what the administrator and the user say, or else the built-in rating; a project may only
    /// raise that.
    fn rate(
        &self,
        subject: &Subject<'_>,
        tool_use: &ToolUse,
        part: &Part<'_>,
    ) -> (Risk, Option<Arc<Rating>>) {
        let built_in = built_in_risk(&self.workspace, tool_use, part);
        let meant = |rating: &&Arc<Rating>| {
            let lowers = rating.risk < built_in;
            rating.when.is_about(subject, &self.workspace)
                && rating.when.names(tool_use)
                && match rating.when.reaches(&self.workspace, part, lowers) {
                    Reach::Certain => true,
                    Reach::Possible => !lowers,
                    Reach::None => false,
                }
        };
        let (raising, base): (Vec<_>, Vec<_>) =
            self.ratings.iter().filter(meant).partition(|rating| rating.layer > Layer::User);
        let highest =
            |ratings: Vec<&Arc<Rating>>| ratings.into_iter().max_by_key(|rating| rating.risk).cloned();
        let base = highest(base);
        let risk = base.as_ref().map_or(built_in, |rating| rating.risk);
        match highest(raising).filter(|rating| rating.risk > risk) {
            Some(raised) => (raised.risk, Some(raised)),
            None => (risk, base),
        }
    }
}

impl Rule {
    /// What it says of something that is so dangerous, and whether it lets it go on: what is more dangerous than `notify`
    /// names is told too, if something else lets it go on.
    fn effect_at(&self, risk: Risk) -> Option<(Effect, bool)> {
        let permits = self.effect.permits();
        let Some(named) = self.when.risk else { return Some((self.effect, permits)) };
        match self.effect {
            Effect::Allow => (risk <= named).then_some((Effect::Allow, true)),
            Effect::Notify if risk < named => Some((Effect::Allow, true)),
            Effect::Notify => Some((Effect::Notify, risk == named)),
            Effect::Ask | Effect::Deny => (risk >= named).then_some((self.effect, false)),
        }
    }
}

impl When {
    /// Whether a session is meant.
    fn is_about(&self, subject: &Subject<'_>, workspace: &str) -> bool {
        let fits = |pattern: &Option<NamePattern>, value: Option<&str>| {
            pattern.as_ref().is_none_or(|pattern| value.is_some_and(|value| pattern.matches(value)))
        };
        let labelled = self
            .label
            .as_ref()
            .is_none_or(|(key, pattern)| subject.labels.get(key).is_some_and(|value| pattern.matches(value)));
        let there = self.workspace.as_ref().is_none_or(|pattern| pattern.matches(workspace, workspace));
        labelled
            && there
            && fits(&self.agent, Some(subject.agent))
            && fits(&self.environment, subject.environment)
            && fits(&self.submitter, subject.submitter)
    }

    /// Whether a tool is meant.
    fn names(&self, tool_use: &ToolUse) -> bool {
        self.tool.as_ref().is_none_or(|pattern| pattern.matches(&tool_use.tool))
            && self.kind.is_none_or(|kind| kind == tool_use.kind)
    }

    /// Whether it looks at what a tool does, and not only at which tool it is.
    pub(super) fn looks_inside(&self) -> bool {
        self.command.is_some() || self.path.is_some() || self.host.is_some()
    }

    /// Whether a part is meant. What permits is taken at its word; what holds up, as widely as it could be meant.
    fn reaches(&self, workspace: &str, part: &Part<'_>, permits: bool) -> Reach {
        let certain = |meant: bool| if meant { Reach::Certain } else { Reach::None };
        match (part, &self.command, &self.path, &self.host) {
            (_, None, None, None) => Reach::Certain,
            (Part::Untold(_), ..) | (Part::SomeFile(_), None, Some(_), None) => Reach::Possible,
            (Part::Command(command), Some(pattern), ..) if permits => {
                certain(pattern.matches_permissively(command))
            }
            (Part::Command(command), Some(pattern), ..) => runs(pattern, command),
            // A word may be the name of a file.
            (Part::Command(command), None, Some(pattern), _) if !permits => {
                let named = command.words.iter().filter_map(Word::literal).any(|word| {
                    let path = word.split_once('=').map_or(word, |(_, value)| value);
                    pattern.matches(&lexical(path, workspace), workspace)
                });
                certain(named)
            }
            (Part::Path(path), None, Some(pattern), None) => {
                let matches = |path: &str| pattern.matches(path, workspace);
                let real = path.real.as_deref().is_some_and(matches);
                certain(real || (!permits && matches(&lexical(&path.given, workspace))))
            }
            (Part::Host(host), None, None, Some(pattern)) => certain(pattern.matches(host)),
            (Part::Whole | Part::Command(_) | Part::Path(_) | Part::Host(_) | Part::SomeFile(_), ..) => {
                Reach::None
            }
        }
    }
}

/// Whether a rule is about something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// It is.
    Certain,
    /// It may be; what it is shows only when it happens.
    Possible,
    /// It is not.
    None,
}

/// Whether what holds up is about a command. A name that is known only when it runs makes the line one that cannot be
/// told, which is a part of its own.
fn runs(pattern: &CommandPattern, command: &SimpleCommand) -> Reach {
    if command.words.first().is_none_or(|name| name.literal().is_none()) || !pattern.matches_strictly(command)
    {
        return Reach::None;
    }
    // Whatever the unknown words become.
    let anything = |word: &Word| Word::Literal(word.literal().unwrap_or("\0").to_owned());
    let whatever = SimpleCommand { words: command.words.iter().map(anything).collect(), ..*command };
    if pattern.matches_strictly(&whatever) { Reach::Certain } else { Reach::Possible }
}

/// How strict an effect is; an agent that asks as it likes is stricter than a rule that lets go on.
pub(super) fn strictness(effect: Option<Effect>) -> u8 {
    match effect {
        Some(Effect::Allow) => 0,
        Some(Effect::Notify) => 1,
        None => 2,
        Some(Effect::Ask) => 3,
        Some(Effect::Deny) => 4,
    }
}

/// A part of a step.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// All of it: it has no parts that rules could look at.
    Whole,
    /// A command that is run.
    Command(&'a SimpleCommand),
    /// A file.
    Path(PathUse),
    /// A host.
    Host(String),
    /// A file of which nobody can tell before it happens which, and why.
    SomeFile(String),
    /// Something that nobody can tell before it happens, and why.
    Untold(String),
}

impl std::fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole => f.write_str("the tool"),
            Self::Command(command) => {
                let words = command.words.iter().map(|word| word.literal().unwrap_or("…"));
                f.write_str(&words.collect::<Vec<_>>().join(" "))
            }
            Self::Path(path) => f.write_str(path.real.as_deref().unwrap_or(&path.given)),
            Self::Host(host) => f.write_str(host),
            Self::SomeFile(why) | Self::Untold(why) => f.write_str(why),
        }
    }
}

pub(super) fn parts<'a>(tool_use: &'a ToolUse, line: Option<&'a CommandLine>) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'a>> = tool_use.paths.iter().cloned().map(Part::Path).collect();
    for url in &tool_use.urls {
        parts.push(
            host_of(url).map_or_else(|| Part::Untold("an address without a host".to_owned()), Part::Host),
        );
    }
    if let Some(line) = line {
        parts.extend(line.commands.iter().map(Part::Command));
        parts.extend(line.writes.iter().chain(&line.reads).map(redirected));
        parts.extend(
            line.fed.then(|| Part::Untold("text that is fed to a command and may be a script".to_owned())),
        );
        parts.extend(line.opaque.iter().map(|why| Part::Untold(why.to_string())));
    }
    if tool_use.untold {
        parts.push(Part::Untold("an input that does not say what it has to".to_owned()));
    }
    if parts.is_empty() {
        // A line that runs nothing that could be named is no licence for those that do.
        parts.push(match line {
            Some(_) => Part::Untold("a shell line without a command".to_owned()),
            None => Part::Whole,
        });
    }
    parts
}

/// Where the shell stands is not known, so a relative path says nothing.
fn redirected(target: &Word) -> Part<'_> {
    match target.literal().filter(|path| path.starts_with('/')) {
        Some(path) => Part::Path(PathUse { given: path.to_owned(), real: None }),
        None => Part::SomeFile("a redirection to a file that cannot be told".to_owned()),
    }
}

fn built_in_risk(workspace: &str, tool_use: &ToolUse, part: &Part<'_>) -> Risk {
    let outside = match part {
        Part::Path(path) => {
            let leads = path.real.clone().unwrap_or_else(|| lexical(&path.given, workspace));
            below(&leads, workspace).is_none()
        }
        Part::SomeFile(_) | Part::Untold(_) => true,
        Part::Whole | Part::Command(_) | Part::Host(_) => false,
    };
    match (tool_use.kind, outside) {
        (ToolKind::Think, _) | (ToolKind::Read, false) => Risk::Low,
        (ToolKind::Read, true) | (ToolKind::Edit, false) | (ToolKind::Fetch, _) => Risk::Medium,
        (ToolKind::Edit, true) | (ToolKind::Execute | ToolKind::Other, _) => Risk::High,
    }
}
