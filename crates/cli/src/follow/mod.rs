//! Follows a session: shows what happens, asks at gates, interrupts on Ctrl-C, and leaves on a second one or on `Ctrl-\`.

pub(crate) mod asking;
mod gates;
mod screen;
mod track;

use lockkeeper_api::client::{ClientError, EventStream};
use lockkeeper_api::id::{GateNo, TurnNo};
use lockkeeper_api::{Cursor, EventQuery, Frame, InterruptRequest, Item, Reference, Session};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::away;
use crate::context::Context;
use crate::exit;
use crate::failure::Outcome;
use crate::held;
use crate::refs;
use crate::terminal::Terminal;
use crate::view::{Messages, Prompts, View};
use asking::Asking;
use screen::{BEAT, Screen};
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

/// Begins to wait for what a session does, after a cursor or from now on. It is refused to a program of an agent where
/// sessions would wait for each other for ever; whoever asks for something and waits for it does this first.
pub(crate) async fn listen(
    context: &Context,
    session: &Reference,
    after: Option<&Cursor>,
) -> Outcome<EventStream> {
    let query =
        EventQuery { after: after.map(Cursor::to_string), waits: Some(true), ..EventQuery::default() };
    Ok(context.client.subscribe(Some(session), &query).await?)
}

/// Follows a session until its goal is reached or somebody leaves. Shows what was there before it began first.
pub(crate) async fn follow(context: &Context, session: Session, plan: Plan, begin: &[Item]) -> Outcome {
    let stream = listen(context, &session.id.clone().into(), Some(&plan.after)).await?;
    follow_on(context, session, plan, begin, stream).await
}

/// The same with a stream of the session that begins where the plan does.
pub(crate) async fn follow_on(
    context: &Context,
    session: Session,
    plan: Plan,
    begin: &[Item],
    stream: EventStream,
) -> Outcome {
    let terminal = (plan.at_gate == AtGate::Ask).then(Terminal::open).flatten();
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let screen = Screen::new(&context.out, plan.face);
    let messages = match plan.face {
        Face::Answer => Messages::Hidden,
        Face::Output if screen.is_terminal() => Messages::Streamed,
        Face::Output => Messages::Whole,
    };
    let mut view = View::new(&session, screen.style, context.out.width, messages, plan.prompts);
    if let Some(turn) = &session.turn
        && !plan.after.is_start()
    {
        view.join(turn);
    }
    let mut follower = Follower {
        context,
        track: Track::new(plan.goal, &session),
        view,
        screen,
        plan,
        session,
        stream,
        terminal,
        asking: None,
        closed: None,
        interrupts: signal(SignalKind::interrupt())?,
        quits: signal(SignalKind::quit())?,
        beat,
        interrupted: None,
    };
    for item in begin {
        let text = follower.view.item(item);
        follower.screen.show(&text)?;
    }
    let ended = follower.run().await;
    // What was being typed at a gate that closed meanwhile is nothing for whoever reads this terminal next.
    if follower.asking.is_some() || follower.closed.is_some() {
        follower.terminal.iter_mut().for_each(Terminal::forget_typed);
    }
    ended
}

struct Follower<'a> {
    context: &'a Context,
    session: Session,
    plan: Plan,
    track: Track,
    view: View,
    screen: Screen<'a>,
    stream: EventStream,
    terminal: Option<Terminal>,
    /// The question on the screen.
    asking: Option<Asking>,
    /// A gate that closed while it was asked about, until the next one is.
    closed: Option<GateNo>,
    interrupts: Signal,
    quits: Signal,
    beat: Interval,
    /// The turn that Ctrl-C has interrupted.
    interrupted: Option<TurnNo>,
}

impl Follower<'_> {
    async fn run(&mut self) -> Outcome {
        loop {
            // Once nobody is at the terminal, nobody types.
            let listens = self.terminal.is_some() && (self.asking.is_some() || self.track.has_skipped());
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
                _ = self.quits.recv() => return self.leave(),
                line = next_line(&mut self.terminal), if listens => self.typed(line).await?,
                _ = self.beat.tick(), if self.screen.is_live() => self.beat()?,
            }
        }
    }

    async fn frame(&mut self, frame: &Frame) -> Outcome<Option<u8>> {
        self.view.resize(self.context.out.width_now());
        let opened = match frame {
            Frame::Event(event) => self.track.event(event),
            Frame::Ready(ready) => self.track.snapshot(&ready.snapshot),
            Frame::Live(_) | Frame::Heartbeat(_) | Frame::Gap(_) => Vec::new(),
        };
        let opened = self.open_now(opened).await?;
        for gate in &opened {
            let text = self.view.gate(gate, &held::by_file_of(gate));
            self.screen.show(&text)?;
        }
        let text = self.view.frame(frame);
        self.screen.show(&text)?;
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

    /// Ctrl-C: the first in a turn interrupts it, the next one leaves.
    async fn interrupt(&mut self) -> Outcome<Option<u8>> {
        let Some(turn) = self.track.running_turn().filter(|turn| self.interrupted != Some(*turn)) else {
            return self.leave().map(Some);
        };
        self.interrupted = Some(turn);
        self.asking = None;
        self.say("interrupting; Ctrl-C again leaves")?;
        let request = InterruptRequest { turn: Some(turn.to_string()) };
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
        let goes_on = match self.track.running_turn() {
            Some(turn) if self.interrupted == Some(turn) => format!("; {turn} is being interrupted"),
            Some(_) => "; it goes on".to_owned(),
            None => String::new(),
        };
        self.say(&format!("left {title}{goes_on}. back: lk attach {title}, end it: lk stop {title}"))?;
        Ok(exit::INTERRUPTED)
    }

    /// Tells the exit code if somebody leaves meanwhile.
    async fn wait_for_daemon(&mut self, error: &ClientError) -> Outcome<Option<u8>> {
        self.say(&format!("{error}; the agent goes on, waiting for the daemon"))?;
        let back = tokio::select! {
            back = away::until_back(async || self.stream.reconnect().await) => back,
            _ = self.interrupts.recv() => return self.leave().map(Some),
            _ = self.quits.recv() => return self.leave().map(Some),
        };
        let Some(back) = back else {
            let title = refs::title(&self.session);
            return Err(away::lost().next(format!("`lk daemon start`, then `lk attach {title}`")));
        };
        back?;
        self.say("the daemon is back")?;
        // What was typed meanwhile was no answer to anything.
        self.ask_again_below()?;
        Ok(None)
    }

    fn finish(&mut self, code: u8) -> Outcome<u8> {
        self.screen.clear_line()?;
        if let Some(answer) = self.track.answer() {
            // A file gets the bytes, a terminal the escaped text.
            let text = if self.context.out.terminal { crate::escape::block(answer) } else { answer.into() };
            self.screen.data_alone(text.trim_end())?;
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
        self.screen.show(&line_end)?;
        self.screen.say(text)
    }

    fn beat(&mut self) -> Outcome<()> {
        if !self.view.at_line_start() {
            return Ok(());
        }
        let interrupts = self.track.running_turn().is_some_and(|turn| self.interrupted != Some(turn));
        let hint = if interrupts { "Ctrl-C interrupts, Ctrl-\\ leaves" } else { "Ctrl-C leaves" };
        let width = self.context.out.width_now();
        self.screen.beat(self.track.under_way().map(|what| (what, hint)), width)
    }
}

async fn next_line(terminal: &mut Option<Terminal>) -> Option<String> {
    match terminal {
        Some(terminal) => terminal.line().await,
        None => None,
    }
}
