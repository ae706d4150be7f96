//! Follows a session: shows what happens, asks at gates, interrupts and leaves on Ctrl-C.

pub(crate) mod asking;
mod track;

use std::time::Duration;

use lockkeeper_api::client::{ClientError, EventStream};
use lockkeeper_api::{
    Cursor, Decision, DecisionRequest, EventQuery, Frame, Gate, GateKind, GateQuery, InterruptRequest, Item,
    Session,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::context::Context;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::refs;
use crate::style::Style;
use crate::terminal::Terminal;
use crate::view::{Messages, Prompts, View};
use asking::{Asking, Reply};
pub(crate) use track::{Goal, Progress, Track};

/// What to do at a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtGate {
    /// Ask on the terminal; wait for somebody else if there is none.
    Ask,
    /// Leave, and say which gate it is.
    Leave,
    /// Wait for somebody else.
    Wait,
}

/// Where the view goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Face {
    /// All of it on standard output.
    Output,
    /// Progress on standard error; the answer alone on standard output, at the end.
    Answer,
}

/// How to follow a session.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// When it is over.
    pub(crate) goal: Goal,
    /// What to do at a gate.
    pub(crate) at_gate: AtGate,
    /// Tools that are allowed without a question, by their exact names; `*` is any.
    pub(crate) allow: Vec<String>,
    /// Where the view goes.
    pub(crate) face: Face,
    /// Whether prompts are shown.
    pub(crate) prompts: Prompts,
    /// Where to begin.
    pub(crate) after: Cursor,
}

/// How long a daemon that went away may take to come back.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks for it.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// The beat of the line that says that something is at work.
const BEAT: Duration = Duration::from_secs(1);
/// Clears the line that the cursor stands on.
const CLEAR_LINE: &str = "\r\x1b[2K";

/// Follows a session until its goal is reached or somebody leaves. Shows what was there before it began first.
pub(crate) async fn follow(context: &Context, session: Session, plan: Plan, begin: &[Item]) -> Outcome {
    let query = EventQuery { after: Some(plan.after.to_string()), ..EventQuery::default() };
    let stream = context.client.subscribe(Some(&session.id.clone().into()), &query).await?;
    let terminal = (plan.at_gate == AtGate::Ask).then(Terminal::open).flatten();
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let on_terminal = context.out.terminal && plan.face == Face::Output;
    let style = if plan.face == Face::Output { context.out.style } else { context.out.note_style };
    let messages = match plan.face {
        Face::Answer => Messages::Hidden,
        Face::Output if on_terminal => Messages::Streamed,
        Face::Output => Messages::Whole,
    };
    let view = View::new(&session, style, context.out.width, messages, plan.prompts);
    let mut follower = Follower {
        context,
        track: Track::new(plan.goal, &session),
        view,
        style,
        plan,
        session,
        stream,
        terminal,
        asking: None,
        interrupts: signal(SignalKind::interrupt())?,
        beat,
        quiet_beats: 0,
        working_line: Shows::Nothing,
        live_line: on_terminal && style.colour,
        interrupted: false,
        prompt_line: PromptLine::Absent,
    };
    for item in begin {
        let text = follower.view.item(item);
        follower.show(&text)?;
    }
    follower.run().await
}

/// Whether the line that says that something is at work is on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    Nothing,
    Working,
}

struct Follower<'a> {
    context: &'a Context,
    session: Session,
    plan: Plan,
    track: Track,
    view: View,
    style: Style,
    stream: EventStream,
    terminal: Option<Terminal>,
    asking: Option<Asking>,
    interrupts: Signal,
    beat: Interval,
    /// Beats since anything was shown.
    quiet_beats: u32,
    working_line: Shows,
    /// Whether the terminal can show that line.
    live_line: bool,
    interrupted: bool,
    /// The line that the cursor stands on.
    prompt_line: PromptLine,
}

/// Whether the cursor stands behind a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PromptLine {
    Absent,
    Shown,
}

impl Follower<'_> {
    async fn run(&mut self) -> Outcome {
        loop {
            let asks = self.asking.is_some();
            tokio::select! {
                frame = self.stream.next() => match frame {
                    Ok(frame) => {
                        if let Some(code) = self.frame(&frame).await? {
                            return Ok(code);
                        }
                    }
                    Err(error) if error.is_gone() => {
                        if let Some(code) = self.wait_for_daemon(&error).await? {
                            return Ok(code);
                        }
                    }
                    Err(error) => return Err(error.into()),
                },
                _ = self.interrupts.recv() => {
                    if let Some(code) = self.interrupt().await? {
                        return Ok(code);
                    }
                }
                line = next_line(&mut self.terminal), if asks => self.typed(line).await?,
                _ = self.beat.tick(), if self.live_line => self.beat()?,
            }
        }
    }

    async fn frame(&mut self, frame: &Frame) -> Outcome<Option<u8>> {
        let text = self.view.frame(frame);
        self.show(&text)?;
        let opened = match frame {
            Frame::Event(event) => self.track.event(event),
            Frame::Ready(ready) => {
                let gates = self.track.snapshot(&ready.snapshot);
                for gate in &gates {
                    let text = self.view.gate(gate);
                    self.show(&text)?;
                }
                gates
            }
            Frame::Live(_) | Frame::Heartbeat(_) | Frame::Gap(_) => Vec::new(),
        };
        for gate in opened {
            if let Some(code) = self.gate(gate).await? {
                return Ok(Some(code));
            }
        }
        self.drop_closed_question()?;
        self.ask_again_below()?;
        match self.track.progress() {
            Progress::Under => Ok(None),
            Progress::Done(code) => self.finish(code).map(Some),
        }
    }

    /// A gate opened, or was open when this began.
    async fn gate(&mut self, gate: Gate) -> Outcome<Option<u8>> {
        if !self.track.is_open(gate.no) {
            return Ok(None);
        }
        let allowed = gate.kind == GateKind::Permission
            && self.plan.allow.iter().any(|tool| tool == "*" || *tool == gate.tool);
        if allowed {
            self.decide(&gate, Decision::Allow).await?;
            return Ok(None);
        }
        match (self.plan.at_gate, &self.terminal) {
            (AtGate::Leave, _) => return self.leave_at(&gate).await,
            (AtGate::Ask, Some(_)) if self.asking.is_none() => self.ask(gate)?,
            // Another question is on the screen; this one comes after it.
            (AtGate::Ask, Some(_)) => {}
            (AtGate::Ask, None) | (AtGate::Wait, _) => {
                self.say(&format!("waits for somebody: {}", refs::ways(&gate)))?;
            }
        }
        Ok(None)
    }

    async fn leave_at(&mut self, gate: &Gate) -> Outcome<Option<u8>> {
        // The stream may still be telling of the past.
        let query = GateQuery { session: Some(gate.session.to_string()), ..GateQuery::default() };
        if !self.context.client.gates(&query).await?.items.iter().any(|open| open.no == gate.no) {
            return Ok(None);
        }
        let title = refs::gate_title(gate);
        // The gate's id is the only data there is.
        if self.plan.face == Face::Answer {
            self.context.out.line(&gate.id)?;
        }
        self.say(&format!("waits at gate {title}: {}", refs::ways(gate)))?;
        self.say(&format!("then: lk attach {}", refs::title(&self.session)))?;
        Ok(Some(exit::AWAITING_INPUT))
    }

    /// Puts a gate to whoever is at the terminal. The view has shown it already, unless another one stood in between.
    fn ask(&mut self, gate: Gate) -> Outcome<()> {
        let asking = Asking::new(gate);
        let question = asking.question(self.style);
        self.asking = Some(asking);
        self.put(&question)
    }

    /// Forgets what was typed so far, and shows a question. What it is about stands above it already; an answer that comes
    /// as soon as the question does, from a script, counts.
    fn put(&mut self, question: &str) -> Outcome<()> {
        if let Some(terminal) = &mut self.terminal {
            terminal.forget_typed();
        }
        self.show(question)?;
        self.prompt_line = PromptLine::Shown;
        Ok(())
    }

    /// A question that something was shown below of stands there again.
    fn ask_again_below(&mut self) -> Outcome<()> {
        match &self.asking {
            Some(asking) if self.prompt_line == PromptLine::Absent && self.view.at_line_start() => {
                let question = asking.question(self.style);
                self.put(&question)
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn typed(&mut self, line: Option<String>) -> Outcome<()> {
        let Some(mut asking) = self.asking.take() else { return Ok(()) };
        // Whoever typed the line has ended it.
        self.prompt_line = PromptLine::Absent;
        let Some(line) = line else {
            // The end of input: nobody is there any more.
            self.terminal = None;
            return self.say("left open");
        };
        match asking.reply(&line, self.style).await? {
            Reply::Decide(decision) => {
                let gate = asking.into_gate();
                self.decide(&gate, decision).await?;
            }
            Reply::Leave => {
                self.track.set_aside(asking.gate().no);
                self.say(&format!("left open: {}", refs::ways(asking.gate())))?;
            }
            Reply::Again(text) => {
                self.asking = Some(asking);
                return self.put(&text);
            }
        }
        self.ask_next()
    }

    fn ask_next(&mut self) -> Outcome<()> {
        let Some(gate) = self.track.next_gate() else { return Ok(()) };
        self.show(&crate::view::draw_gate(&gate, self.style))?;
        self.ask(gate)
    }

    /// A question whose gate somebody else has closed is no question any more.
    fn drop_closed_question(&mut self) -> Outcome<()> {
        let closed = self.asking.as_ref().is_some_and(|asking| !self.track.is_open(asking.gate().no));
        if closed {
            self.asking = None;
            self.ask_next()?;
        }
        Ok(())
    }

    /// Decides at the gate that stands on the screen: its hash goes with the decision. The gate is not asked about again
    /// until the event of its decision comes; one whose decision was refused stays open for `lk allow` and `lk deny`.
    async fn decide(&mut self, gate: &Gate, decision: Decision) -> Outcome<()> {
        self.track.set_aside(gate.no);
        let request =
            DecisionRequest { input_hash: Some(gate.input_hash.clone()), ..DecisionRequest::from(decision) };
        match self.context.client.decide(&refs::gate_reference(gate), &request).await {
            Ok(_) => Ok(()),
            Err(ClientError::Problem(problem)) => self.say(&crate::escape::line(&problem.detail)),
            Err(error) => Err(error.into()),
        }
    }

    /// Ctrl-C: the first interrupts the turn, the second leaves.
    async fn interrupt(&mut self) -> Outcome<Option<u8>> {
        let turn = self.track.running_turn();
        if self.interrupted || turn.is_none() {
            return self.leave().map(Some);
        }
        self.interrupted = true;
        self.asking = None;
        self.say("interrupting; Ctrl-C again leaves")?;
        let request = InterruptRequest { turn: turn.map(|turn| turn.to_string()) };
        match self.context.client.interrupt(&self.session.id.clone().into(), &request).await {
            Ok(_) => Ok(None),
            // The turn ended in this moment.
            Err(ClientError::Problem(problem)) => {
                self.say(&crate::escape::line(&problem.detail))?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn leave(&mut self) -> Outcome<u8> {
        let title = refs::title(&self.session);
        self.say(&format!("left {title}; it goes on. back: lk attach {title}, end it: lk stop {title}"))?;
        Ok(exit::INTERRUPTED)
    }

    /// Tells the exit code if somebody leaves meanwhile.
    async fn wait_for_daemon(&mut self, error: &ClientError) -> Outcome<Option<u8>> {
        self.say(&format!("{error}; the agent goes on, waiting for the daemon"))?;
        let mut left = BACK_WITHIN;
        while !left.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                _ = self.interrupts.recv() => return self.leave().map(Some),
            }
            match self.stream.reconnect().await {
                Ok(()) => {
                    self.say("the daemon is back")?;
                    // What was typed meanwhile was no answer to anything.
                    self.ask_again_below()?;
                    return Ok(None);
                }
                Err(error) if error.is_gone() => left = left.saturating_sub(LOOK_AGAIN),
                Err(error) => return Err(error.into()),
            }
        }
        let title = refs::title(&self.session);
        Err(Failure::new(exit::NO_DAEMON, "the daemon did not come back")
            .next(format!("`lk daemon start`, then `lk attach {title}`")))
    }

    fn finish(&mut self, code: u8) -> Outcome<u8> {
        self.clear_working_line()?;
        if self.plan.face == Face::Answer
            && let Some(answer) = self.track.answer()
        {
            // A file gets the bytes, a terminal the escaped text.
            let text = if self.context.out.terminal { crate::escape::block(answer) } else { answer.into() };
            self.context.out.line(text.trim_end())?;
        }
        if let Some(left) = self.track.left_open() {
            let title = refs::title(&self.session);
            self.say(&format!("{title} {left}: lk send {title} PROMPT, lk stop {title}"))?;
        }
        Ok(code)
    }

    /// Something about following, rather than about the session. The text must be escaped already.
    fn say(&mut self, text: &str) -> Outcome<()> {
        let line_end = self.view.break_line();
        self.show(&line_end)?;
        self.leave_line()?;
        let style = self.context.out.note_style;
        self.context.out.note(style.dim(&format!("{} {text}", style.signs().dot)));
        Ok(())
    }

    fn show(&mut self, text: &str) -> Outcome<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.leave_line()?;
        self.quiet_beats = 0;
        match self.plan.face {
            Face::Output => self.context.out.raw(text.as_bytes())?,
            Face::Answer => self.context.out.note(text.trim_end_matches('\n')),
        }
        Ok(())
    }

    fn beat(&mut self) -> Outcome<()> {
        self.quiet_beats = self.quiet_beats.saturating_add(1);
        if self.quiet_beats < 2 || self.asking.is_some() || !self.view.at_line_start() {
            return Ok(());
        }
        let Some(word) = self.track.at_work() else { return self.clear_working_line() };
        let line = format!("{word} {}s {} Ctrl-C interrupts", self.quiet_beats, self.style.signs().dot);
        let line = self.style.dim(&format!("{} {line}", self.style.signs().dot));
        self.context.out.raw(format!("{CLEAR_LINE}{line}").as_bytes())?;
        self.working_line = Shows::Working;
        Ok(())
    }

    /// Makes room on the line that the cursor stands on.
    fn leave_line(&mut self) -> Outcome<()> {
        if self.prompt_line == PromptLine::Shown {
            self.prompt_line = PromptLine::Absent;
            self.context.out.raw(b"\n")?;
        }
        self.clear_working_line()
    }

    fn clear_working_line(&mut self) -> Outcome<()> {
        if self.working_line == Shows::Working {
            self.context.out.raw(CLEAR_LINE.as_bytes())?;
            self.working_line = Shows::Nothing;
        }
        Ok(())
    }
}

async fn next_line(terminal: &mut Option<Terminal>) -> Option<String> {
    match terminal {
        Some(terminal) => terminal.line().await,
        None => None,
    }
}
