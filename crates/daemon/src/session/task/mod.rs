//! The loop of one session.

mod commit;
mod decide;
mod perform;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use lockkeeper_agents::{Adapter, WireSeed};
use lockkeeper_core::id::AttemptNo;
use lockkeeper_core::session::{
    Conversation, Deadline, DutyId, Input, Life, Observation, Process, State, deadline,
};
use lockkeeper_core::time::{AwakeMs, Stamp};
use lockkeeper_holder::frames::{self, Reply};
use lockkeeper_holder::journal;
use lockkeeper_store::Ingested;
use tokio::sync::{mpsc, oneshot};

use super::attach::{self, Found};
use super::feed::{Ended, Feed, Opened, Read};
use super::link::Link;
use super::{Handle, LiveText, Message, Refused, Trouble, Troubles};
use crate::clock::Clock;
use crate::host::Host;
use crate::limits;

/// The owner of one session's state.
pub(crate) struct Task {
    host: Arc<Host>,
    adapter: &'static dyn Adapter,
    dir: PathBuf,
    state: Arc<State>,
    mailbox: mpsc::Receiver<Message>,
    live: Arc<Mutex<LiveText>>,
    troubles: Arc<Troubles>,
    found: mpsc::Receiver<(AttemptNo, Found)>,
    find: mpsc::Sender<(AttemptNo, Found)>,
    link: Option<Link>,
    /// When the holder was heard last, or it was tried to ask it how it stands.
    heard_at: AwakeMs,
    feed: Option<Feed>,
    ingested: Option<Ingested>,
    journal: Journal,
    in_flight: BTreeSet<DutyId>,
    /// What came of duties beside the process and could not be committed.
    unsaid: Vec<Observation>,
    /// Something failed: nothing is read before then.
    retry_at: Option<AwakeMs>,
    /// It was a duty: none is begun before then either.
    rests: bool,
    /// It has a process, and how that stands is not known: this is committed before anything else is done.
    unknown: bool,
    /// Whoever waits until that is.
    wakes: Vec<oneshot::Sender<()>>,
    /// The host begins things again, and what waits was not looked at since: it may cut the turn that runs short.
    unpaused: bool,
    /// The time of the last event: times in a log do not go back.
    last_at: Option<Stamp>,
    /// What the holder was told to be taken in.
    consumed: u64,
}

/// What is known of the journal beyond what was read.
#[derive(Debug, Default)]
struct Journal {
    /// It holds more.
    grown: bool,
    /// How long its holder says that it is.
    told: u64,
    /// Its holder is gone: what it does not tell nobody will.
    gone: bool,
    adoption: Adoption,
}

/// Whether it is known how things stand with a holder that was found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Adoption {
    #[default]
    Settled,
    /// The journal has still to be read to its end.
    Reading,
    /// The journal cannot be read on, and the holder was told to end: it is not known before that is gone.
    Refused,
}

impl Journal {
    fn grow(&mut self, len: u64) {
        self.told = self.told.max(len);
        self.grown = true;
    }

    fn adopt(&mut self) {
        if self.adoption != Adoption::Refused {
            self.adoption = Adoption::Reading;
        }
    }
}

impl Task {
    pub(crate) fn new(
        host: Arc<Host>,
        adapter: &'static dyn Adapter,
        state: State,
        ingested: Option<Ingested>,
        unknown: bool,
        mailbox: mpsc::Receiver<Message>,
        handle: &Handle,
    ) -> Self {
        let (find, found) = mpsc::channel(4);
        Self {
            dir: host.paths.session_dir(&state.id),
            adapter,
            state: Arc::new(state),
            mailbox,
            live: handle.live.clone(),
            troubles: handle.troubles.clone(),
            found,
            find,
            link: None,
            heard_at: Clock::awake(),
            feed: None,
            ingested,
            journal: Journal::default(),
            in_flight: BTreeSet::new(),
            unsaid: Vec::new(),
            retry_at: None,
            rests: false,
            unknown,
            wakes: Vec::new(),
            unpaused: false,
            last_at: None,
            consumed: 0,
            host,
        }
    }

    /// Runs until there is nothing to do for a while, or the daemon ends.
    pub(crate) async fn run(mut self) {
        let mut messages = Vec::new();
        self.host.wait_for_limit(&self.state);
        // Nothing was decided about it yet.
        self.host.admitted(self.host.slots.settle(&self.state, false));
        if !self.unknown {
            self.do_duties();
        }
        loop {
            let unread = self.journal.grown || self.journal.gone;
            let busy = (unread || self.unknown) && self.retry_at.is_none();
            let goes_on = if busy {
                // Others have their turn too, and what came meanwhile is looked at in every round.
                tokio::task::yield_now().await;
                !self.host.ending.is_cancelled()
            } else {
                self.wait(&mut messages).await
            };
            if !goes_on || !self.drain(&mut messages) || !self.round(&mut messages).await {
                return;
            }
        }
    }

    /// Waits for a message, a word of the holder, a deadline, or idleness. False when the task is over.
    async fn wait(&mut self, messages: &mut Vec<Message>) -> bool {
        let due = self.due();
        let timer = match (self.retry_at, due) {
            (Some(at), _) => Some(at),
            (None, Some(due)) => Some(due.at),
            (None, None) if matches!(self.state.process, Process::Absent) => {
                Some(Clock::awake().plus(limits::IDLE_MS))
            }
            (None, None) => None,
        };
        let ping = self.ping_at().filter(|_| self.retry_at.is_none());
        let timer = timer.into_iter().chain(ping).min();
        let busy = self.in_flight.iter().any(is_beside_process);
        let idle = self.retry_at.is_none() && due.is_none() && ping.is_none() && !busy;
        let sleep = async {
            match timer {
                Some(at) => Clock::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let link = self.link.as_mut();
        let reply = async {
            match link {
                Some(link) => link.reply().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.host.ending.cancelled() => false,
            count = self.mailbox.recv_many(messages, limits::MAILBOX) => count > 0,
            Some((attempt, found)) = self.found.recv() => {
                self.took(attempt, found, messages);
                true
            }
            reply = reply => {
                self.replied(reply);
                true
            }
            () = sleep => !(idle && self.host.sessions.retire(&self.state.id, &self.mailbox)),
        }
    }

    /// Takes whatever else is there, so that no source can keep another one from being heard.
    fn drain(&mut self, messages: &mut Vec<Message>) -> bool {
        while messages.len() < limits::MAILBOX {
            match self.mailbox.try_recv() {
                Ok(message) => messages.push(message),
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => return false,
            }
        }
        while let Ok((attempt, found)) = self.found.try_recv() {
            self.took(attempt, found, messages);
        }
        while let Some(reply) = self.link.as_mut().and_then(|link| link.reply().now_or_never()) {
            self.replied(reply);
        }
        true
    }

    /// The next deadline.
    fn due(&self) -> Option<Deadline> {
        deadline(&self.state, self.host.clock.boot())
    }

    /// Lets some time pass before duties are tried again.
    fn pause(&mut self) {
        self.pause_reading();
        self.rests = true;
    }

    /// Lets some time pass before it is read on. What was decided is done meanwhile: a kill needs no room on the disk.
    fn pause_reading(&mut self) {
        self.retry_at.get_or_insert_with(|| Clock::awake().plus(limits::RETRY_MS));
    }

    fn replied(&mut self, reply: Option<Reply>) {
        self.troubles.is_not_silent();
        self.heard_at = Clock::awake();
        match reply {
            Some(Reply::Hello(frames::Hello { journal_len, .. }) | Reply::Grown { journal_len }) => {
                self.journal.grow(journal_len);
            }
            Some(Reply::Status(status)) => {
                if matches!(status.reading, journal::Reading::Open) {
                    // What was refused while the journal could not be written is tried again.
                    self.forget_requests();
                } else {
                    tracing::warn!(reading = ?status.reading, "the holder does not read its agent");
                }
                self.journal.grow(status.journal_len);
            }
            Some(Reply::Refused { number, reason, .. }) => {
                tracing::warn!(number, ?reason, "the holder refused a request");
                // At the end of an attempt nothing is asked again; the journal says what became of it.
                if !matches!(reason, frames::Refusal::Ended) {
                    self.forget_requests();
                    self.pause();
                }
                self.journal.grown = true;
            }
            None => {
                if self.link.take().is_some_and(|link| !link.was_heard()) {
                    self.pause();
                }
                self.journal.grown = true;
                self.in_flight.retain(is_beside_process);
            }
        }
    }

    fn forget_requests(&mut self) {
        self.in_flight
            .retain(|duty| matches!(duty, DutyId::Launch(_) | DutyId::Watch(_)) || is_beside_process(duty));
    }

    fn took(&mut self, attempt: AttemptNo, found: Found, messages: &mut Vec<Message>) {
        if self.attempt() != Some(attempt) {
            if let Found::Linked(link) = found {
                // Nobody waits for this attempt any more.
                link.send(&frames::Request::Quit);
                self.host.tasks.spawn(link.drained());
            }
            return;
        }
        self.troubles.ends(Trouble::Attempt);
        match found {
            Found::Linked(link) => {
                self.troubles.asks(link.pid(), Clock::awake());
                self.link = Some(link);
                self.journal.gone = false;
                self.journal.adopt();
            }
            Found::Gone(report) => {
                if report.killed > 0 || report.left > 0 {
                    tracing::warn!(%attempt, killed = report.killed, left = report.left, "swept what an attempt left behind");
                }
                self.in_flight.remove(&DutyId::Watch(attempt));
                self.journal.gone = true;
            }
            Found::Failed(error) => {
                self.in_flight.retain(is_beside_process);
                messages.push(Message::Observed(Observation::SpawnFailed { attempt, error }));
            }
            Found::Unclear(why) => {
                tracing::warn!(%attempt, why, "could not find out how the attempt stands");
                self.troubles.begins(Trouble::Attempt, &why);
                self.in_flight.retain(is_beside_process);
                self.pause();
            }
        }
        self.journal.grown = true;
    }

    fn attempt(&self) -> Option<AttemptNo> {
        self.state.process.attempt().map(|attempt| attempt.no)
    }

    /// One round of the loop: read, decide, commit, answer, do. False when the task is over.
    async fn round(&mut self, messages: &mut Vec<Message>) -> bool {
        if self.retry_at.is_some_and(|at| at <= Clock::awake()) {
            self.retry_at = None;
            self.rests = false;
            self.journal.grown = true;
        }
        let mut read = if self.retry_at.is_none() { self.read() } else { Read::default() };
        let tick = self.retry_at.is_none() && self.is_due(&read);
        let mut taken = std::mem::take(messages);
        if self.retry_at.is_none() {
            taken.extend(self.unsaid.drain(..).map(Message::Observed));
        }
        // Before the holder has said how long the journal is, its end is not known.
        let told = self.journal.gone || self.link.as_ref().is_some_and(Link::was_heard);
        let at_its_end = !read.more && told;
        if self.journal.adoption == Adoption::Reading && at_its_end && self.retry_at.is_none() {
            taken.extend(self.attempt().map(|attempt| Message::Observed(Observation::Adopted { attempt })));
        }
        let removals = take_removals(&mut taken);
        self.unpaused |= taken.iter().any(|message| matches!(message, Message::Unpaused));
        // As for a deadline, what happened before has to be taken in first.
        let looks = self.unpaused && self.retry_at.is_none() && !read.more;
        self.unpaused &= !looks;
        let decided = self.decide(&mut read, taken, tick || looks);
        if tick && decided.events.is_empty() {
            // A deadline that leads to nothing is a defect; it must not become a busy one.
            tracing::error!(due = ?self.due(), "a deadline passed and nothing followed");
            self.pause();
        }
        if !self.commit(decided, read).await {
            return false;
        }
        if !removals.is_empty() && self.remove(removals).await {
            return false;
        }
        self.do_duties();
        true
    }

    /// Whether a deadline has passed. Before it counts, everything that happened before it has to be taken in.
    fn is_due(&self, read: &Read) -> bool {
        self.due().is_some_and(|due| {
            due.at <= Clock::awake() && (!read.more || read.upto.is_some_and(|upto| upto >= due.at))
        })
    }

    fn read(&mut self) -> Read {
        self.journal.grown = false;
        let Some(attempt) = self.attempt() else {
            self.feed = None;
            self.link = None;
            self.journal = Journal::default();
            return Read::default();
        };
        if self.feed.is_none() && (self.link.is_some() || self.journal.gone) {
            self.open_feed(attempt);
        }
        let now = self.host.clock.now();
        let Some(feed) = &mut self.feed else {
            let mut read = Read::default();
            if self.journal.gone && self.retry_at.is_none() {
                // It left no journal that can be read: nothing is known but that it is gone.
                let lost = Observation::HolderLost { attempt, journal_whole: false, stderr: Vec::new() };
                read.inputs.push((now, Input::Observation(lost)));
            }
            return read;
        };
        feed.expect(self.journal.told);
        match feed.read() {
            Ok(mut read) => {
                self.troubles.ends(Trouble::Journal);
                self.journal.grown = read.more;
                if let Some(Ended::Damaged(offset)) = read.ended {
                    end_unreadable(
                        attempt,
                        self.link.as_ref(),
                        &mut self.journal,
                        &format!("it is damaged at {offset}"),
                    );
                }
                if !read.more && read.ended != Some(Ended::Recorded) && self.journal.gone {
                    feed.finish(&now, &mut read);
                    let journal_whole = read.ended.is_none() && feed.is_caught_up();
                    let lost = Observation::HolderLost { attempt, journal_whole, stderr: feed.stderr() };
                    read.inputs.push((now, Input::Observation(lost)));
                }
                read
            }
            Err(error) => {
                tracing::error!(%attempt, %error, "the journal cannot be read; trying again");
                self.troubles.begins(Trouble::Journal, &error);
                self.feed = None;
                self.pause_reading();
                Read::default()
            }
        }
    }

    /// What a wire of this attempt has to know from the start.
    fn seed(&self, attempt: AttemptNo) -> WireSeed {
        let state = &self.state;
        WireSeed {
            session: state.id.clone(),
            attempt,
            conversation: match &state.conversation {
                Conversation::Known(id) => Some(id.clone()),
                Conversation::None | Conversation::Lost { .. } => None,
            },
            model: state.using_model.clone(),
            mode: state.using_mode.clone(),
            tasks: state.tasks.keys().cloned().collect(),
        }
    }

    fn open_feed(&mut self, attempt: AttemptNo) {
        let path = attach::attempt_dir(&self.dir, attempt).join(journal::FILE_NAME);
        let seed = self.seed(attempt);
        // What streams is told again out of what is read again.
        self.live.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
        match Feed::open(&path, self.adapter, seed, self.ingested.as_ref()) {
            Ok(Opened::Feed(feed)) => self.feed = Some(*feed),
            // A holder makes its journal before it listens.
            Ok(Opened::NotYet) => {
                end_unreadable(attempt, self.link.as_ref(), &mut self.journal, "it was removed or emptied");
            }
            Ok(Opened::Unreadable(why)) => {
                end_unreadable(attempt, self.link.as_ref(), &mut self.journal, &why);
            }
            Err(error) => {
                tracing::error!(%attempt, %error, "the journal cannot be opened; trying again");
                self.troubles.begins(Trouble::Journal, &error);
                self.pause_reading();
            }
        }
    }

    /// Removes the session, if it has ended. True when it is gone.
    async fn remove(&mut self, removals: Vec<Removal>) -> bool {
        let ended =
            matches!(self.state.life, Life::Ended { .. }) && matches!(self.state.process, Process::Absent);
        let mut gone = false;
        for (by, reply) in removals {
            let result = match (gone, ended) {
                (true, _) => Err(Refused::Gone),
                (false, true) => self.host.remove(&self.state, &by).await,
                (false, false) => Err(Refused::Living),
            };
            gone |= result.is_ok();
            // Whoever asked may have gone away.
            let _ = reply.send(result);
        }
        gone
    }
}

/// Has the holder end an attempt whose journal cannot be read on: nothing that its agent does would be known.
fn end_unreadable(attempt: AttemptNo, link: Option<&Link>, journal: &mut Journal, why: &str) {
    let Some(link) = link else { return };
    if std::mem::replace(&mut journal.adoption, Adoption::Refused) != Adoption::Refused {
        tracing::error!(%attempt, why, "the journal cannot be read; the attempt is ended");
    }
    link.send(&frames::Request::Quit);
}

/// Whether a duty is no process's, so that it goes on whatever becomes of that.
fn is_beside_process(duty: &DutyId) -> bool {
    match duty {
        DutyId::Tell(_) | DutyId::WriteRule(_) => true,
        DutyId::Launch(_) | DutyId::Watch(_) | DutyId::Write(..) | DutyId::Signal(..) => false,
    }
}

/// Who asks that the session be removed, and where the answer goes.
type Removal = (String, oneshot::Sender<Result<(), Refused>>);

fn take_removals(messages: &mut Vec<Message>) -> Vec<Removal> {
    let (removals, rest) = messages.drain(..).partition(|message| matches!(message, Message::Remove { .. }));
    *messages = rest;
    let removal = |message| match message {
        Message::Remove { by, reply } => Some((by, reply)),
        Message::Command { .. }
        | Message::Look { .. }
        | Message::Observed(_)
        | Message::Admitted
        | Message::Unpaused
        | Message::Wake { .. } => None,
    };
    Vec::into_iter(removals).filter_map(removal).collect()
}
