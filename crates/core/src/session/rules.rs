//! Rules of one session.

use std::borrow::Cow;

use super::decide::Step;
use super::event::Event;
use super::rejection::Rejection;
use super::state::Life;
use crate::gate::SessionRule;
use crate::id::GateNo;
use crate::limits;
use crate::policy::{Layer, Policy, RuleSpec};

impl Step<'_> {
    /// The rules that hold: those of the files, and the session's own.
    pub(super) fn policy(&self) -> Cow<'_, Policy> {
        if self.state.rules.is_empty() {
            Cow::Borrowed(&self.env.policy)
        } else {
            Cow::Owned(self.env.policy.with(self.state.rules.iter().filter_map(SessionRule::compile)))
        }
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
            // Somebody may have called a rule what this one would be called without a name.
            while is_taken(&format!("{}:{no}", Layer::Session)) {
                no = no.next();
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

    pub(super) fn remove_rule(&mut self, id: &str, by: String) -> Result<(), Rejection> {
        if !self.state.rules.iter().any(|rule| rule.id == id) {
            return Err(Rejection::UnknownRule { id: id.to_owned() });
        }
        self.emit(Event::RuleRemoved { id: id.to_owned(), by });
        Ok(())
    }
}
