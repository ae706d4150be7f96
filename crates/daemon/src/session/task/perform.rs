//! Doing what the state calls for.

use lockkeeper_core::agent::Action;
use lockkeeper_core::manner::Scope;
use lockkeeper_core::session::{Duty, DutyId, Observation, Op, duties, reconcile};
use lockkeeper_core::time::AwakeMs;
use lockkeeper_holder::{frames, journal};

use super::super::attach;
use super::Task;
use crate::clock::Clock;
use crate::limits;

impl Task {
    pub(super) fn do_duties(&mut self) {
        if self.rests || self.unknown {
            return;
        }
        let todo = reconcile(duties(&self.state), &self.in_flight);
        for id in todo.drop {
            self.in_flight.remove(&id);
        }
        for duty in todo.start {
            self.begin(duty);
        }
        let now = Clock::awake();
        if self.ping_at().is_some_and(|at| at <= now) {
            self.heard_at = now;
            self.asks(&frames::Request::Status);
        }
    }

    /// When the holder is asked how it stands: one that says nothing for long may stand still, while an agent is at a turn or
    /// something has still to come of a request.
    pub(super) fn ping_at(&self) -> Option<AwakeMs> {
        let at_work = self.state.turn.is_some() || self.state.own_turn.is_some();
        let awaited = at_work || self.in_flight.iter().any(is_asked_of_holder);
        (self.link.is_some() && awaited && !self.troubles.awaits_holder())
            .then(|| self.heard_at.plus(limits::ANSWER_MS))
    }

    /// Asks the holder for something. False if the request could not be put on its way.
    fn asks(&self, request: &frames::Request<'_>) -> bool {
        let Some(link) = &self.link else { return false };
        let sent = link.send(request);
        if sent {
            self.troubles.asks(link.pid(), Clock::awake());
        }
        sent
    }

    fn begin(&mut self, duty: Duty) {
        let id = duty.id();
        match duty {
            Duty::Launch(plan) => {
                // Launching leads to watching.
                self.in_flight.insert(id);
                self.in_flight.insert(DutyId::Watch(plan.attempt));
                let (find, attempt) = (self.find.clone(), plan.attempt);
                let (session, dir, exe) = (self.state.id.clone(), self.dir.clone(), self.host.exe.clone());
                let (adapter, tasks) = (self.adapter, self.host.tasks.clone());
                self.host.tasks.spawn(async move {
                    let found = attach::launch(session, dir, *plan, adapter, exe, tasks).await;
                    // A task that is gone has no use for it; the next one asks again.
                    let _ = find.send((attempt, found)).await;
                });
            }
            Duty::Watch { attempt } => {
                // A launch leads to it, and whoever looked too early would forbid the launch.
                if self.in_flight.contains(&id) || self.link.is_some() || self.journal.gone {
                    return;
                }
                self.in_flight.insert(id);
                let (find, tasks) = (self.find.clone(), self.host.tasks.clone());
                let (session, dir) = (self.state.id.clone(), attach::attempt_dir(&self.dir, attempt));
                self.host.tasks.spawn(async move {
                    let found = attach::find(session, dir, attempt, tasks).await;
                    // See above.
                    let _ = find.send((attempt, found)).await;
                });
            }
            Duty::Write { number, op, text, .. } => {
                let (Some(_), Some(attempt)) = (&self.link, self.attempt()) else { return };
                let sent = match op {
                    Op::Close => self.asks(&frames::Request::CloseStdin { number }),
                    Op::Write(Action::Prompt { .. }) if text.is_none() => false,
                    Op::Write(action) => {
                        let text = text.as_deref().unwrap_or_default();
                        let bytes = match &self.feed {
                            Some(feed) => feed.wire().encode(&action, text),
                            // Nothing can be read or stored just now, and an action is the same in every wire of its attempt.
                            None => self.adapter.wire(self.seed(attempt)).encode(&action, text),
                        };
                        self.asks(&frames::Request::Write { number, bytes: &bytes })
                    }
                };
                self.sent(id, sent);
            }
            Duty::WriteRule { rule } => {
                self.in_flight.insert(id);
                let (host, session) = (self.host.clone(), self.state.id.clone());
                self.host.tasks.spawn(async move {
                    let written = host.ensure_rule(rule.spec.clone()).await;
                    if let Err(why) = &written {
                        tracing::error!(%session, rule = rule.id, why, "a rule could not be written");
                    }
                    let written = Observation::RuleWritten { rule: rule.no, error: written.err() };
                    host.observe(&session, written).await;
                });
            }
            Duty::Tell { notice } => {
                self.in_flight.insert(id);
                let (host, state) = (self.host.clone(), self.state.clone());
                self.host.tasks.spawn(async move {
                    let is_wanted = async || {
                        let now = host.look(&state.id).await;
                        now.is_ok_and(|now| now.notices.contains_key(&notice.no))
                    };
                    let told = host.notifier.tell(&state, &notice, is_wanted);
                    // One that is under way when the daemon ends is told again by the next.
                    let Some(told) = host.ending.run_until_cancelled(told).await else { return };
                    if let Err(why) = &told {
                        tracing::warn!(session = %state.id, notice = %notice.no, why, "nobody was told");
                    }
                    host.observe(&state.id, Observation::Told { notice: notice.no, error: told.err() }).await;
                });
            }
            Duty::Signal { out, .. } => {
                if self.link.is_none() {
                    return;
                }
                let scope = match out.scope {
                    Scope::Leader => journal::Scope::Leader,
                    Scope::Group => journal::Scope::Group,
                    Scope::Tree => journal::Scope::Tree,
                };
                let signal = out.signal.number();
                let sent = self.asks(&frames::Request::Signal { number: out.number, scope, signal });
                self.sent(id, sent);
            }
        }
    }

    fn sent(&mut self, id: DutyId, sent: bool) {
        if sent {
            self.in_flight.insert(id);
        } else {
            self.pause();
        }
    }
}

fn is_asked_of_holder(duty: &DutyId) -> bool {
    match duty {
        DutyId::Write(..) | DutyId::Signal(..) => true,
        DutyId::Launch(_) | DutyId::Watch(_) | DutyId::Tell(_) | DutyId::WriteRule(_) => false,
    }
}
