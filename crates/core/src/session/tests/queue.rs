//! Prompts that wait.

use super::world::*;
use crate::id::PromptNo;
use crate::limits;
use crate::prompt::{Class, Parked};
use crate::session::*;
use crate::turn::Ending;

fn edit(prompt: PromptNo, text: &str) -> Command {
    Command::EditPrompt { prompt, text: Some(text.into()), class: None, to: None }
}

fn order(w: &World) -> Vec<&str> {
    w.state.queue.iter().map(|prompt| &*prompt.text).collect()
}

#[test]
fn o37_urgent_goes_before_normal_before_background_and_first_come_first_served_within() {
    let mut w = World::running();
    w.prompt_as(Class::Background, "b1");
    w.prompt_as(Class::Urgent, "u1");
    w.prompt_as(Class::Normal, "n1");
    w.prompt_as(Class::Urgent, "u2");
    w.prompt_as(Class::Background, "b2");
    assert_eq!(order(&w), ["u1", "u2", "n1", "b1", "b2"]);
    for next in ["u1", "u2", "n1", "b1", "b2"] {
        w.ends(Ending::Completed);
        assert_eq!(w.state.turn.as_ref().map(|turn| &*turn.prompt.text), Some(next));
        assert_eq!(w.status(), Status::Running);
        w.works();
    }
}

#[test]
fn a_prompt_has_the_rank_of_its_event_and_whoever_is_moved_first_goes_before_all() {
    let mut w = World::running();
    for text in ["a", "b", "c", "d"] {
        w.prompt(text);
        let Event::PromptAccepted { prompt } = &w.last[0].event else { panic!() };
        assert_eq!(u64::try_from(prompt.rank).unwrap(), w.last[0].seq);
    }
    let to =
        |prompt, to| Command::EditPrompt { prompt: PromptNo(prompt), text: None, class: None, to: Some(to) };
    w.asks(to(4, Move::First));
    w.asks(to(5, Move::First));
    w.asks(to(2, Move::Last));
    assert_eq!(order(&w), ["d", "c", "b", "a"]);
}

#[test]
fn a_prompt_that_is_given_another_class_moves_and_one_that_is_given_its_own_does_not() {
    let mut w = World::running();
    w.prompt("a");
    w.prompt("b");
    let to = |class| Command::EditPrompt { prompt: PromptNo(3), text: None, class: Some(class), to: None };
    w.asks(to(Class::Normal));
    assert_eq!((w.kinds(), order(&w)), (NOTHING, vec!["a", "b"]));
    w.asks(to(Class::Urgent));
    assert_eq!((w.kinds(), order(&w)), (vec!["prompt.moved"], vec!["b", "a"]));
}

#[test]
fn what_goes_before_a_prompt_is_counted_wherever_it_stands() {
    let mut w = World::running();
    for class in Class::ALL.repeat(7) {
        w.prompt_as(class, "x");
    }
    let mut queue = w.state.queue.clone();
    for no in w.state.queue.iter().map(|prompt| prompt.no) {
        queue.change(no, |prompt| {
            prompt.parked = (no.0 % 5 < 2).then_some(Parked::ByChoice);
            prompt.rank *= if no.0.is_multiple_of(2) { -1 } else { 1 };
        });
    }
    for (position, prompt) in queue.iter().enumerate() {
        assert_eq!(queue.before(prompt.no), Some(position), "{prompt:?}");
    }
    assert_eq!(queue.before(PromptNo(1000)), None);
}

#[test]
fn one_prompt_at_a_time_is_in_flight() {
    let mut w = World::running();
    w.prompt("second");
    assert_eq!(w.kinds(), ["prompt.accepted"]);
    assert_eq!(w.todo(), Vec::<String>::new());
}

#[test]
fn a_waiting_prompt_can_be_edited_and_dropped_and_one_that_had_its_turn_cannot() {
    let mut w = World::running();
    w.prompt("second");
    w.asks(edit(PromptNo(2), "better"));
    assert_eq!(order(&w), ["better"]);
    w.asks(Command::DropPrompt { prompt: PromptNo(2) });
    assert!(w.state.queue.is_empty());
    for prompt in [PromptNo(1), PromptNo(2), PromptNo(9)] {
        let refused = w.refused(Command::DropPrompt { prompt });
        assert_eq!(refused, Rejection::UnknownPrompt { prompt });
        assert_eq!(w.refused(edit(prompt, "x")), refused);
        assert_eq!((refused.code(), refused.is_bad_input()), ("prompt_not_waiting", false));
    }
}

fn about(topic: &str, keep: Keep, text: &str, class: Class) -> Command {
    let coalesce = Some(Coalesce { topic: topic.into(), keep });
    Command::Prompt(NewPrompt { coalesce, ..new_prompt(text, class) })
}

#[test]
fn o40_a_burst_about_the_same_becomes_one_prompt_as_long_as_it_waits() {
    let mut w = World::running();
    w.asks(about("pr 7", Keep::Last, "first push", Class::Normal));
    w.asks(about("pr 8", Keep::All, "a comment", Class::Normal));
    w.asks(about("pr 7", Keep::Last, "second push", Class::Normal));
    assert_eq!(w.kinds(), ["prompt.edited"]);
    w.asks(about("pr 8", Keep::All, "another", Class::Normal));
    assert_eq!(order(&w), ["second push", "a comment\n\nanother"], "each has the place of its first");
    // Another caller, another class and a prompt of no topic stand for themselves.
    w.command("bob", about("pr 7", Keep::Last, "bob's", Class::Normal)).unwrap();
    w.asks(about("pr 7", Keep::Last, "hurry", Class::Urgent));
    w.prompt("plain");
    assert_eq!(order(&w), ["hurry", "second push", "a comment\n\nanother", "bob's", "plain"]);
    // The last one about it is the one that the next is taken into.
    w.asks(Command::DropPrompt { prompt: PromptNo(5) });
    w.asks(about("pr 7", Keep::Last, "third push", Class::Normal));
    assert_eq!(order(&w), ["third push", "a comment\n\nanother", "bob's", "plain"]);
    // What the agent has seen is not changed: the next one is a turn of its own.
    w.ends(Ending::Completed);
    w.works();
    w.asks(about("pr 7", Keep::Last, "fourth push", Class::Normal));
    assert_eq!(order(&w), ["a comment\n\nanother", "bob's", "plain", "fourth push"]);
}

#[test]
fn o40_texts_that_would_be_too_long_together_stay_apart_and_none_is_refused() {
    let mut w = World::running();
    let most = "x".repeat(limits::MERGED_BYTES);
    w.asks(about("pr 8", Keep::All, &most, Class::Normal));
    w.asks(about("pr 8", Keep::All, "more", Class::Normal));
    w.asks(about("pr 8", Keep::All, "and more", Class::Normal));
    w.asks(about("pr 9", Keep::All, &most[4..], Class::Normal));
    w.asks(about("pr 9", Keep::All, "fits", Class::Normal));
    let fits = format!("{}\n\nfits", &most[4..]);
    assert_eq!(order(&w), [most.as_str(), "more\n\nand more", &fits]);
}

#[test]
fn o40_a_full_queue_takes_in_what_needs_no_place() {
    let mut w = World::running();
    w.asks(about("pr 7", Keep::Last, "first push", Class::Normal));
    let (state, env) = (&mut w.state, w.env.clone());
    let input = |command| Input::Command(Request { by: "ann".to_owned(), command });
    for _ in 1..limits::QUEUE_PROMPTS {
        step(state, input(Command::Prompt(new_prompt("x", Class::Normal))), &env).unwrap();
    }
    step(state, input(about("pr 7", Keep::Last, "second push", Class::Normal)), &env).unwrap();
    let other = step(state, input(about("pr 8", Keep::Last, "x", Class::Normal)), &env);
    assert_eq!(other, Err(Rejection::QueueFull { limit: limits::QUEUE_PROMPTS }));
}

#[test]
fn o46_a_prompt_that_is_empty_or_too_long_is_refused() {
    let mut w = World::running();
    w.prompt("second");
    for text in ["", " \n\t"] {
        assert_eq!(w.refused(Command::Prompt(new_prompt(text, Class::Normal))), Rejection::EmptyPrompt);
        let edit = edit(PromptNo(2), text);
        assert_eq!(w.refused(edit), Rejection::EmptyPrompt);
    }
    let fits = "x".repeat(limits::PROMPT_BYTES);
    w.prompt(&fits);
    let long = Command::Prompt(new_prompt(&format!("{fits}x"), Class::Normal));
    let bytes = limits::PROMPT_BYTES + 1;
    assert_eq!(w.refused(long), Rejection::PromptTooLong { bytes, limit: limits::PROMPT_BYTES });
}

#[test]
fn an_edit_does_not_go_around_the_limit_of_bytes() {
    let mut w = World::running();
    let count = limits::QUEUE_BYTES / limits::PROMPT_BYTES;
    for _ in 0..=count {
        w.prompt("small");
    }
    let env = w.env.clone();
    let large = "x".repeat(limits::PROMPT_BYTES);
    let mut edited = |prompt: usize| {
        let command = edit(PromptNo(u32::try_from(prompt).unwrap()), &large);
        step(&mut w.state, Input::Command(Request { by: "ann".to_owned(), command }), &env)
    };
    for prompt in 2..2 + count {
        edited(prompt).unwrap();
    }
    assert_eq!(edited(2 + count), Err(Rejection::QueueFull { limit: limits::QUEUE_PROMPTS }));
    edited(2).unwrap();
}

#[test]
fn a_queue_takes_as_many_bytes_as_its_limit_says() {
    let mut w = World::running();
    let env = w.env.clone();
    let mut asks =
        |command| step(&mut w.state, Input::Command(Request { by: "ann".to_owned(), command }), &env);
    let large = "x".repeat(limits::PROMPT_BYTES);
    let count = limits::QUEUE_BYTES / limits::PROMPT_BYTES;
    for _ in 0..count {
        asks(Command::Prompt(new_prompt(&large, Class::Normal))).unwrap();
    }
    let rest = &large[..limits::QUEUE_BYTES % limits::PROMPT_BYTES];
    asks(Command::Prompt(new_prompt(rest, Class::Normal))).unwrap();
    let full = Err(Rejection::QueueFull { limit: limits::QUEUE_PROMPTS });
    assert_eq!(asks(Command::Prompt(new_prompt("x", Class::Normal))), full);
    let last = PromptNo(u32::try_from(count).unwrap() + 2);
    asks(edit(last, &rest.replace('x', "y"))).unwrap();
    assert_eq!(asks(edit(last, &large[..=rest.len()])), full);
}

#[test]
fn the_queue_has_a_limit() {
    let mut w = World::running();
    let state = &mut w.state;
    let env = w.env.clone();
    let prompt = |text: &str| {
        let command = Command::Prompt(new_prompt(text, Class::Normal));
        Input::Command(Request { by: "ann".to_owned(), command })
    };
    for _ in 0..limits::QUEUE_PROMPTS {
        step(state, prompt("x"), &env).unwrap();
    }
    assert_eq!(step(state, prompt("x"), &env), Err(Rejection::QueueFull { limit: limits::QUEUE_PROMPTS }));
}

#[test]
fn a_hold_ends_by_a_prompt_of_its_holder_or_of_the_user_whose_program_that_is() {
    let held_by = |holder: &str| {
        let mut w = World::running();
        w.command(holder, Command::Interrupt { turn: None }).unwrap();
        w.writes();
        w.ends(Ending::Aborted);
        w
    };
    let prompts = |w: &mut World, by: &str| {
        w.command(by, Command::Prompt(new_prompt("go on", Class::Urgent))).unwrap();
        w.state.held.is_none()
    };
    for (holder, ends) in [
        ("ann", ["ann"].as_slice()),
        ("ann/ops", &["ann/ops", "ann"]),
        ("ann/session:700000000000", &["ann"]),
        ("ann/session:700000000000/ci", &["ann", "ann/session:700000000000"]),
    ] {
        for by in ends {
            assert!(prompts(&mut held_by(holder), by), "{by} ends what {holder} holds");
        }
        for by in ["bob", "an", "ann/o", "ann/session:70000000000", "webhook:ci"] {
            assert!(!prompts(&mut held_by(holder), by), "{by} does not end what {holder} holds");
        }
    }
    assert!(!prompts(&mut held_by("ann"), "ann/ops"), "a program does not speak for its user");
}

#[test]
fn a_held_queue_waits_until_a_prompt_or_a_resume() {
    for resume in [true, false] {
        let mut w = World::running();
        w.prompt("second");
        w.interrupt();
        w.writes();
        w.ends(Ending::Aborted);
        assert_eq!((w.status(), w.due(), w.todo()), (Status::Queued, None, vec![]));
        if resume {
            w.resume();
            assert_eq!(w.kinds(), ["session.released", "turn.started", "outbox.intended"]);
        } else {
            w.prompt_as(Class::Urgent, "third");
        }
        let next = if resume { "second" } else { "third" };
        assert_eq!((w.status(), w.todo()), (Status::Running, vec![format!("prompt {next}")]));
    }
}
