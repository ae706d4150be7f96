//! Committing what was decided; adopting it, answering and telling once that is done.

use std::sync::Arc;

use lockkeeper_core::audit::audit;
use lockkeeper_core::session::{Envelope, Event, State};
use lockkeeper_core::turn::Outcome;
use lockkeeper_holder::frames;
use lockkeeper_store::{Append, Appended, Cursor, Ingested, SessionRow, StoreError};

use tokio::sync::oneshot;

use super::super::attach;
use super::super::feed::{Feed, Read};
use super::super::{Done, Live, Refused, Trouble, rows};
use super::decide::{Answer, Decided};
use super::{Adoption, Journal, Task, is_beside_process};
use crate::clock::Clock;
use crate::host;
use crate::hub::Told;
use crate::limits;

impl Task {
    /// Commits what was decided, adopts it, answers and tells. False when the task is over.
    pub(super) async fn commit(&mut self, decided: Decided, read: Read) -> bool {
        let position = self.feed.as_ref().map(Feed::position);
        let taken_in = self.ingested.filter(|at| position.is_some_and(|now| now.attempt == at.attempt));
        let ahead = position.map_or(0, |now| now.upto - taken_in.map_or(0, |at| at.upto.min(now.upto)));
        let keyed = decided.answers.iter().any(|answer| !answer.keys.is_empty());
        if decided.events.is_empty() && !keyed && ahead < limits::CONSUMED_BYTES {
            // Bytes that led to no event are read again after a restart, to the same effect.
            self.host.names.settle(&self.state);
            self.host.admitted(self.host.slots.settle(&decided.scratch, decided.admits));
            let cursor = self.host.store.head();
            self.adopt(decided, read, cursor);
            return true;
        }
        let stored = self.host.append(self.append(&decided, position));
        if read.more
            && let Some(feed) = &mut self.feed
        {
            // Decoding is the most of the work; the disk need not wait for it, nor it for the disk.
            feed.read_ahead();
        }
        let asked_at = Clock::awake();
        let stored = stored.await;
        // What the holder said meanwhile is still to be heard.
        self.troubles.did_not_listen(Clock::awake().since(asked_at));
        match stored {
            Ok(Appended::Ok { last, .. }) => {
                if position.is_some() {
                    self.ingested = position;
                }
                self.host.names.settle(&decided.scratch);
                self.host.admitted(self.host.slots.settle(&decided.scratch, decided.admits));
                self.adopt(decided, read, last);
                true
            }
            Ok(Appended::Full) => self.failed(decided, StoreError::Full),
            Ok(refused @ (Appended::NameTaken { .. } | Appended::KeyTaken(_) | Appended::Refused { .. })) => {
                self.failed(decided, StoreError::Io { why: format!("the step was not taken: {refused:?}") })
            }
            Err(error) => self.failed(decided, error),
            Ok(Appended::Conflict { found }) => {
                tracing::error!(
                    found,
                    expected = self.state.seq,
                    "the log is not where this task left it; loading it anew"
                );
                // The next task asks the store once more.
                drop(refuse_all(decided.answers, &Arc::new(StoreError::Closed)));
                false
            }
            // The daemon ends.
            Ok(Appended::Fenced | Appended::Unknown) => false,
        }
    }

    fn append(&self, decided: &Decided, position: Option<Ingested>) -> Append {
        let blocks = |seq: u64| seq / limits::SNAPSHOT_EVENTS;
        let due = blocks(decided.scratch.seq) > blocks(self.state.seq);
        // A snapshot is a cache; one with a long queue is not worth its size.
        let small = decided.scratch.queue.bytes() <= limits::SNAPSHOT_BYTES;
        Append {
            session: self.state.id.clone(),
            epoch: self.host.epoch,
            expected: self.state.seq,
            gates: rows::gates(&self.state, &decided.events),
            audit: audit(&self.state, &decided.events),
            row: SessionRow::of(&decided.scratch),
            events: decided.events.clone(),
            ingested: position,
            keys: decided.answers.iter().flat_map(|answer| answer.keys.clone()).collect(),
            snapshot: (due && small).then(|| Arc::new(decided.scratch.clone())),
            essential: decided.is_essential(),
        }
    }

    /// Nothing of the step happened. The journal is read again from where the last commit left it, a little later.
    fn failed(&mut self, decided: Decided, error: StoreError) -> bool {
        tracing::error!(%error, events = decided.events.len(), "could not commit; nothing was changed, trying again");
        self.troubles.begins(Trouble::Store, &error);
        let error = Arc::new(error);
        self.host.names.settle(&self.state);
        self.host.admitted(self.host.slots.settle(&self.state, decided.admits));
        self.unsaid.extend(decided.beside);
        self.feed = None;
        // A look after a pause may have been in it; one more does no harm.
        self.unpaused = true;
        self.pause_reading();
        self.show(decided.looks);
        for answer in refuse_all(decided.answers, &error) {
            let (state, cursor) = (self.state.clone(), self.host.store.head());
            // Whoever asked may have gone away.
            let _ = answer.reply.send(Ok(Done { state, events: Vec::new(), cursor, answer: answer.earlier }));
        }
        true
    }

    /// Shows what is committed to whoever asked for it.
    fn show(&self, looks: Vec<oneshot::Sender<Arc<State>>>) {
        for reply in looks {
            // Whoever asked may have gone away.
            let _ = reply.send(self.state.clone());
        }
    }

    fn adopt(&mut self, decided: Decided, read: Read, last: Cursor) {
        let Decided { scratch: state, events, ends, answers, looks, .. } = decided;
        if self.retry_at.is_none() {
            // Otherwise what failed is still to be tried again, and this was something else.
            self.troubles.ends(Trouble::Store);
        }
        let attempt = |state: &State| state.process.attempt().map(|attempt| attempt.no);
        let other = attempt(&self.state) != attempt(&state);
        self.state = Arc::new(state);
        if let Some(event) = events.last() {
            self.last_at = Some(event.at.clone());
        }
        self.unknown = false;
        for done in self.wakes.drain(..) {
            // Whoever waited was ended with the daemon.
            let _ = done.send(());
        }
        self.show(looks);
        if other {
            self.troubles.ends(Trouble::Attempt);
            self.troubles.ends(Trouble::Journal);
            self.feed = None;
            self.link = None;
            self.troubles.is_not_silent();
            self.journal = Journal::default();
            self.consumed = 0;
            self.in_flight.retain(is_beside_process);
        }
        if self.state.settled_since_boot && self.journal.adoption == Adoption::Reading {
            self.journal.adoption = Adoption::Settled;
        }
        if let (Some(link), Some(at)) = (&self.link, &self.ingested)
            && at.upto >= self.consumed + limits::CONSUMED_BYTES
            && link.send(&frames::Request::Consumed { offset: at.upto })
        {
            self.consumed = at.upto;
        }
        if events.iter().any(|event| matches!(event.event, Event::Limited { .. })) {
            self.host.wait_for_limit(&self.state);
        }
        self.tell_of_limits(&events);
        for event in &events {
            tell_log(&event.event);
            self.clear_up(&event.event);
        }
        let live = self.order_live(&events, &ends, read.live);
        let stored =
            if self.host.hub.is_heard() { host::stored(&self.state.id, &events, last) } else { Vec::new() };
        self.host.hub.tell(Told { session: self.state.id.clone(), at: last, events: stored, live });
        for answer in answers {
            let done = answer.outcome.map(|(from, to)| Done {
                state: self.state.clone(),
                events: events.get(from..to).unwrap_or_default().to_vec(),
                cursor: last,
                answer: answer.earlier.or_else(|| answer.keys.into_iter().next().map(|key| key.response)),
            });
            // Whoever asked may have gone away.
            let _ = answer.reply.send(done);
        }
    }

    /// What the account of the agent lets through, all its other sessions wait for.
    fn tell_of_limits(&self, events: &[Envelope]) {
        let over = events.windows(2).any(|two| {
            let went_through = matches!(&two[1].event, Event::TurnEnded { outcome: Outcome::Completed, .. });
            matches!(two[0].event, Event::LimitOver {}) && went_through
        });
        let answered = events.iter().any(|event| {
            matches!(
                event.event,
                Event::ToolStarted { .. }
                    | Event::GateOpened { .. }
                    | Event::TurnEnded { outcome: Outcome::Completed, .. }
            )
        });
        if over {
            self.host.admitted(self.host.slots.limit_is_over(&self.state.profile.agent));
        } else if answered {
            self.host.admitted(self.host.slots.went_through(&self.state.id));
        }
    }

    /// A launch that was given up must not come to life later.
    fn clear_up(&self, event: &Event) {
        if let Event::AttemptLaunchFailed { attempt, .. } = event {
            let dir = attach::attempt_dir(&self.dir, *attempt);
            let (tasks, ending) = (self.host.tasks.clone(), self.host.ending.clone());
            self.host.tasks.spawn(async move {
                // The end of the daemon does not wait for it; the next one looks again.
                ending.run_until_cancelled(attach::discard(dir, tasks)).await;
            });
        }
    }

    /// Puts the pieces of streaming text behind the events that they follow, and forgets those that are finished.
    fn order_live(&self, events: &[Envelope], ends: &[usize], pieces: Vec<(usize, Live)>) -> Vec<Live> {
        let mut text = self.live.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut out = Vec::with_capacity(pieces.len());
        let mut settled = 0;
        for (after, piece) in pieces {
            let upto = after.checked_sub(1).and_then(|input| ends.get(input)).copied().unwrap_or(0);
            for event in events.get(settled..upto).unwrap_or_default() {
                text.settle(event);
            }
            settled = settled.max(upto);
            out.push(text.push(piece));
        }
        for event in events.get(settled..).unwrap_or_default() {
            text.settle(event);
        }
        out.retain(|piece| match piece {
            Live::Text { key, .. } => text.is_open(key),
            Live::Dropped { .. } => true,
        });
        out
    }
}

/// Tells everybody who asked that nothing happened. A refusal may rest on what was decided before it and is not stored,
/// unless the request was wrong in any state. Those are given back whose request was done before, under the same key.
fn refuse_all(answers: Vec<Answer>, error: &Arc<StoreError>) -> Vec<Answer> {
    let (stored, refused): (Vec<Answer>, Vec<Answer>) =
        answers.into_iter().partition(|answer| answer.is_stored);
    for answer in refused {
        let refused = match answer.outcome {
            Err(Refused::Rejected(rejection)) if rejection.is_bad_input() => Refused::Rejected(rejection),
            Ok(_) | Err(_) => Refused::Store(error.clone()),
        };
        // Whoever asked may have gone away.
        let _ = answer.reply.send(Err(refused));
    }
    stored
}

/// The log line of an event that operators look for.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "it looks at a few kinds of events; the others are none of its business"
)]
fn tell_log(event: &Event) {
    match event {
        Event::StatusChanged { from, to, cause } => {
            tracing::info!(from = from.map(lockkeeper_api::Status::word), to = to.word(), cause = %cause.kind, "status");
        }
        Event::AttemptSpawned { attempt, process } => {
            tracing::info!(%attempt, pid = process.pid, "agent runs");
        }
        Event::AttemptExited { attempt, exit, verdict } => {
            tracing::info!(%attempt, status = %exit.status, ?verdict, "agent ended");
        }
        Event::AttemptLost { attempt, .. } => tracing::warn!(%attempt, "the holder ended without a record"),
        Event::AttemptLaunchFailed { attempt, error } => {
            tracing::warn!(%attempt, code = %error.code, "agent could not be started: {}", error.message);
        }
        Event::SessionEnded { end } => tracing::info!(?end, "session ended"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use lockkeeper_core::session::Rejection;
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn what_was_done_before_is_not_refused_with_a_step_that_cannot_be_stored() {
        let (reply, mut told) = oneshot::channel();
        let earlier = Some("{}".to_owned());
        let answer = Answer { reply, outcome: Ok((0, 0)), earlier, is_stored: true, keys: Vec::new() };
        let kept = refuse_all(vec![answer], &Arc::new(StoreError::Full));
        assert_eq!(kept.iter().filter_map(|answer| answer.earlier.as_deref()).collect::<Vec<_>>(), ["{}"]);
        assert!(told.try_recv().is_err(), "it is told by whoever has the state");
    }

    #[test]
    fn a_refusal_that_rests_on_what_was_not_stored_is_not_told() -> Result<(), oneshot::error::TryRecvError> {
        let refusal = |outcome| {
            let (reply, mut told) = oneshot::channel();
            refuse_all(
                vec![Answer { reply, outcome, earlier: None, is_stored: false, keys: Vec::new() }],
                &Arc::new(StoreError::Full),
            );
            told.try_recv()
        };
        // Somebody else's stop was decided right before, and was not stored.
        let stopping = refusal(Err(Refused::Rejected(Rejection::Stopping)))?;
        assert!(matches!(stopping, Err(Refused::Store(_))), "{stopping:?}");
        let taken = refusal(Err(Refused::KeyConflict { key: "k".to_owned() }))?;
        assert!(matches!(taken, Err(Refused::Store(_))), "{taken:?}");
        assert!(matches!(refusal(Ok((0, 1)))?, Err(Refused::Store(_))));
        let empty = refusal(Err(Refused::Rejected(Rejection::EmptyPrompt)))?;
        assert!(matches!(empty, Err(Refused::Rejected(Rejection::EmptyPrompt))), "{empty:?}");
        Ok(())
    }
}
