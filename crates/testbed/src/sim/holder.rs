//! A holder: it owns an agent's process, writes down what that says, and takes each request once.

use lockkeeper_core::session::{Exit, ExitStatus, Observation, Op, ProcessIdentity, Signal};
use lockkeeper_core::time::Stamp;

use super::agent::{Agent, Say};
use super::fault::Fault;
use super::look_back::once;
use super::store::Intent;
use super::world::{Key, Sim, broken};

/// A holder, what it has written down, and its agent.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) journal: Vec<(Stamp, Observation)>,
    /// Whether it runs.
    pub(super) alive: bool,
    next_write: u64,
    next_signal: u64,
    pub(super) agent: Agent,
    /// The boot of the machine in which it ran.
    boot: u32,
    /// When what was last sent to it arrives: a socket keeps the order.
    pub(super) last_arrival: u64,
}

/// What a daemon asks of a holder.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Write { number: u64, op: Op },
    Signal { number: u64, signal: Signal },
    Quit,
}

impl Sim {
    /// A holder is started, unless one ran there.
    pub(super) fn start_holder(&mut self, key: &Key) {
        self.allowed(key, &Intent::Launch(key.1));
        if self.holders.contains_key(key) {
            return;
        }
        let deaf = self.mischief(8);
        let holder = Holder {
            journal: Vec::new(),
            alive: true,
            next_write: 1,
            next_signal: 1,
            agent: Agent::new(deaf),
            boot: self.boot,
            last_arrival: 0,
        };
        self.holders.insert(key.clone(), holder);
        let boot = self.now().boot;
        let process = ProcessIdentity { pid: 1000 + key.1.0, start_ticks: 5, boot };
        self.write_down(key, Observation::Spawned { attempt: key.1, process });
        if self.mischief(12) {
            self.plan(key, [Say::Exits(ExitStatus::Code(1))]);
        }
    }

    /// A holder and its agent are gone in an instant, and nothing tells why.
    pub(super) fn kill_holder(&mut self, key: &Key) {
        if let Some(holder) = self.holders.get_mut(key).filter(|holder| holder.alive) {
            (holder.alive, holder.agent.dead) = (false, true);
            self.link_breaks(key);
        }
    }

    /// What does not come back from a power loss: nobody syncs a journal, also not at its end. What an earlier boot left is on
    /// the disk.
    pub(super) fn lose_tail(&mut self, key: &Key) {
        let lost = self.choices.below(6) as usize;
        let boot = self.boot;
        if let Some(holder) = self.holders.get_mut(key).filter(|holder| holder.boot == boot) {
            let kept = holder.journal.len().saturating_sub(lost);
            holder.journal.truncate(kept);
        }
    }

    /// A request arrives.
    pub(super) fn takes(&mut self, key: &Key, request: Request) {
        if self.holders.get(key).is_none_or(|holder| !holder.alive) {
            return;
        }
        match request {
            Request::Write { number, op } => self.takes_write(key, number, &op),
            Request::Signal { number, signal } => self.takes_signal(key, number, signal),
            Request::Quit => self.exits(key, ExitStatus::Signal(9)),
        }
    }

    fn takes_write(&mut self, key: &Key, number: u64, op: &Op) {
        let Some(holder) = self.holders.get_mut(key) else { return };
        if number != holder.next_write && self.fault != Some(Fault::HolderRepeats) {
            return self.refuse(key);
        }
        holder.next_write = number + 1;
        self.allowed(key, &Intent::write(key.1, number, op));
        once(self.taken.insert((key.clone(), number)), || {
            format!("what has the number {number} is written to {} of {} twice", key.1, key.0)
        });
        self.write_down(key, Observation::Accepted { attempt: key.1, number });
        if self.holders[key].agent.dead {
            let error = "Broken pipe".to_owned();
            return self.write_down(key, Observation::WriteFailed { attempt: key.1, number, error });
        }
        self.write_down(key, Observation::Written { attempt: key.1, number });
        for op in Fault::on_the_way(self.fault, op) {
            self.hears(key, &op);
        }
    }

    fn takes_signal(&mut self, key: &Key, number: u64, signal: Signal) {
        let Some(holder) = self.holders.get_mut(key) else { return };
        if number != holder.next_signal {
            return self.refuse(key);
        }
        holder.next_signal = number + 1;
        let delivered = u32::from(!holder.agent.dead);
        self.allowed(key, &Intent::Signal(key.1, number, signal.number()));
        self.write_down(key, Observation::Signalled { attempt: key.1, number, delivered });
        let deaf = self.holders[key].agent.deaf;
        match signal {
            Signal::Kill => self.exits(key, ExitStatus::Signal(9)),
            Signal::Int | Signal::Term if !deaf => self.exits(key, ExitStatus::Code(130)),
            Signal::Int | Signal::Term => {}
        }
    }

    /// Nothing is done that was not stored before.
    fn allowed(&self, key: &Key, intent: &Intent) {
        let intended = self.store.sessions.get(&key.0).is_some_and(|stored| stored.intended.contains(intent));
        if !intended {
            broken(&format!("{intent:?} of {} happens, and no event allows it", key.0));
        }
    }

    /// The end of an agent, and of its holder once that has written it down.
    pub(super) fn exits(&mut self, key: &Key, status: ExitStatus) {
        if self.agent(key).dead {
            return;
        }
        self.agent(key).dead = true;
        let exit = Exit { status, stderr: Vec::new(), swept: 0, left: 0, hint: None };
        self.write_down(key, Observation::Exited { attempt: key.1, exit });
        if let Some(holder) = self.holders.get_mut(key) {
            holder.alive = false;
        }
        self.link_breaks(key);
    }

    pub(super) fn write_down(&mut self, key: &Key, observation: Observation) {
        self.note(|| format!("{} of {}: {observation:?}", key.1, key.0));
        let at = self.now();
        if let Some(holder) = self.holders.get_mut(key) {
            holder.journal.push((at, observation));
        }
        self.journal_grew(key);
    }
}
