//! What a daemon that was killed at the wrong moment leaves.

use lockkeeper_core::id::AttemptNo;
use lockkeeper_core::session::{Command, Env, Input, Observation, Request, SpawnError, create, step};
use lockkeeper_store::{Append, Appended};

use super::*;
use crate::making::tests::{host, new};
use crate::session::attach::attempt_dir;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::test]
async fn a_launch_that_was_given_up_before_the_daemon_was_killed_never_comes_to_life() -> Outcome {
    let (_home, host) = host()?;
    let manner = lockkeeper_agents::registry::find("demo").ok_or("no demo")?.manner();
    let env = Env {
        at_launch: Arc::default(),
        notices: Arc::default(),
        policy: Arc::default(),
        now: host.clock.now(),
        manner: Arc::new(manner),
        name_taken: false,
        paused: false,
        admits: true,
    };
    let (mut state, mut events) = create(new(7)?, "me", &env)?;
    let resume = Request { by: "me".to_owned(), command: Command::Resume };
    events.extend(step(&mut state, Input::Command(resume), &env)?);
    let error = SpawnError { code: "spawn_timeout".to_owned(), message: "too slow".to_owned() };
    let failed = Observation::SpawnFailed { attempt: AttemptNo(1), error };
    events.extend(step(&mut state, Input::Observation(failed), &env)?);
    let stored = host.append(Append::of(host.epoch, &state, events)).await?;
    assert!(matches!(stored, Appended::Ok { .. }), "{stored:?}");
    let session = host.paths.session_dir(&state.id);
    let (given_up, to_come) = (attempt_dir(&session, AttemptNo(1)), attempt_dir(&session, AttemptNo(2)));
    for dir in [&given_up, &to_come] {
        fs::create_dir_all(dir)?;
    }
    boot(host.clone()).await?;
    host.ending.cancel();
    host.tasks.close();
    host.tasks.wait().await;
    assert_eq!(lockkeeper_holder::probe(&given_up)?, HolderState::Gone, "its holder may still begin");
    assert_eq!(lockkeeper_holder::probe(&to_come)?, HolderState::NeverRan, "the next launch is forbidden");
    Ok(())
}
