//! Rules of one session.

use std::borrow::Cow;

use super::decide::Step;
use super::event::Event;
use super::rejection::Rejection;
use super::state::{Life, State};
use crate::gate::SessionRule;
use crate::id::{GateNo, RuleNo};
use crate::limits;
use crate::policy::{Layer, Policy, RuleSpec};

impl State {
    /// Rules of files with those that the session has itself: its own, and those that are to be written for its user.
    pub fn policy<'a>(&self, of_files: &'a Policy) -> Cow<'a, Policy> {
        if self.rules.is_empty() && self.wanted_rules.is_empty() {
            return Cow::Borrowed(of_files);
        }
        let own = self.rules.iter().chain(self.wanted_rules.values());
        Cow::Owned(of_files.with(own.filter_map(SessionRule::compile)))
    }
}

impl Step<'_> {
    /// The rules that hold: those of the files, and the session's own.
    pub(super) fn policy(&self) -> Cow<'_, Policy> {
        self.state.policy(&self.env.policy)
    }

    /// The same for a process that is started.
    pub(super) fn policy_at_launch(&self) -> Cow<'_, Policy> {
        self.state.policy(&self.env.at_launch)
    }

    pub(super) fn add_rules(&mut self, rules: &[RuleSpec], by: &str) -> Result<(), Rejection> {
        for rule in self.new_rules(rules, None, by)? {
            self.emit(Event::RuleAdded { rule: Box::new(rule) });
        }
        Ok(())
    }

    /// The rules that these would be; the session has them once that is told.
    pub(super) fn new_rules(
        &self,
        rules: &[RuleSpec],
        gate: Option<GateNo>,
        by: &str,
    ) -> Result<Vec<SessionRule>, Rejection> {
        if matches!(self.state.life, Life::Ended { .. }) {
            return Err(Rejection::Ended);
        }
        if self.state.rules.len() + rules.len() > limits::SESSION_RULES {
            return Err(Rejection::TooManyRules { limit: limits::SESSION_RULES });
        }
        let mut added: Vec<SessionRule> = Vec::with_capacity(rules.len());
        let mut no = self.state.next_rule;
        for spec in rules {
            let is_taken = |id: &str| self.state.rules.iter().chain(&added).any(|rule| rule.id == id);
            if spec.name.as_deref().is_some_and(is_numbered) {
                let why = "names such as r1 are given to rules without one, and never come back".to_owned();
                return Err(Rejection::BadRule { why });
            }
            let rule = spec.compile(Layer::Session, &no.to_string());
            let id = rule.map_err(|error| Rejection::BadRule { why: error.to_string() })?.id;
            if is_taken(&id) {
                return Err(Rejection::RuleTaken { id });
            }
            let (spec, by, since) = (spec.clone(), by.to_owned(), self.env.now.clone());
            added.push(SessionRule { no, id, spec, by, gate, since });
            no = no.next();
        }
        Ok(added)
    }

    /// The rules that are to be written below those of the user. Their names say where they were made, and never come back.
    pub(super) fn user_rules(
        &self,
        rules: &[RuleSpec],
        gate: GateNo,
        by: &str,
    ) -> Result<Vec<SessionRule>, Rejection> {
        if rules.len() > limits::SESSION_RULES {
            return Err(Rejection::TooManyRules { limit: limits::SESSION_RULES });
        }
        let mut no = self.state.next_rule;
        let mut made = Vec::with_capacity(rules.len());
        for spec in rules {
            let spec = RuleSpec { name: Some(format!("{}.{no}", self.state.id)), ..spec.clone() };
            let rule = spec.compile(Layer::User, "always");
            let id = rule.map_err(|error| Rejection::BadRule { why: error.to_string() })?.id;
            let (by, since) = (by.to_owned(), self.env.now.clone());
            made.push(SessionRule { no, id, spec, by, gate: Some(gate), since });
            no = no.next();
        }
        Ok(made)
    }

    pub(super) fn remove_rule(&mut self, id: &str, by: String) -> Result<(), Rejection> {
        if !self.state.rules.iter().any(|rule| rule.id == id) {
            return Err(Rejection::UnknownRule { id: id.to_owned() });
        }
        self.emit(Event::RuleRemoved { id: id.to_owned(), by });
        Ok(())
    }
}

/// Whether a name is like those that are given to rules without one.
fn is_numbered(name: &str) -> bool {
    name.parse::<RuleNo>().is_ok()
}
