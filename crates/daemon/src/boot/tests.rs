//! What a daemon that was killed at the wrong moment leaves.

use lockkeeper_core::id::AttemptNo;
use lockkeeper_core::session::{Command, Env, Input, Observation, Request, SpawnError, create, step};
use lockkeeper_store::{Append, Appended};

use super::*;
use crate::making::tests::{host, new};
use crate::session::attach::attempt_dir;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn env(host: &Host) -> Result<Env, Box<dyn std::error::Error>> {
    let manner = lockkeeper_agents::registry::find("demo").ok_or("no demo")?.manner();
    Ok(Env {
        at_launch: Arc::default(),
        notices: Arc::default(),
        policy: Arc::default(),
        now: host.clock.now(),
        manner: Arc::new(manner),
        name_taken: false,
        paused: false,
        admits: true,
    })
}

#[tokio::test]
async fn a_launch_that_was_given_up_before_the_daemon_was_killed_never_comes_to_life() -> Outcome {
    never_comes_to_life(true).await
}

#[tokio::test]
async fn nor_does_one_whose_directory_was_still_to_be_made() -> Outcome {
    never_comes_to_life(false).await
}

async fn never_comes_to_life(has_directory: bool) -> Outcome {
    let (_home, host) = host()?;
    let env = env(&host)?;
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
    fs::create_dir_all(&to_come)?;
    if has_directory {
        fs::create_dir(&given_up)?;
    }
    boot(host.clone()).await?;
    host.ending.cancel();
    host.tasks.close();
    host.tasks.wait().await;
    assert_eq!(lockkeeper_holder::probe(&given_up)?, HolderState::Gone, "its holder may still begin");
    assert_eq!(lockkeeper_holder::probe(&to_come)?, HolderState::NeverRan, "the next launch is forbidden");
    Ok(())
}

#[tokio::test]
async fn an_agent_that_began_while_its_session_was_removed_is_ended() -> Outcome {
    let (_home, host) = host()?;
    let env = env(&host)?;
    let (state, events) = create(new(7)?, "me", &env)?;
    let stored = host.append(Append::of(host.epoch, &state, events)).await?;
    assert!(matches!(stored, Appended::Ok { .. }), "{stored:?}");
    host.remove(&state, "me").await?;
    let session = host.paths.session_dir(&state.id);
    let (begun, sealed) = (attempt_dir(&session, AttemptNo(1)), attempt_dir(&session, AttemptNo(2)));
    fs::create_dir_all(&begun)?;
    fs::create_dir(&sealed)?;
    let holder = fs::File::create(begun.join("lock"))?;
    rustix::fs::flock(&holder, rustix::fs::FlockOperation::LockExclusive)?;
    let sessions = host.paths.sessions();
    assert_eq!(clear(&*host.store, &sessions, directories(&sessions)), [begun]);
    assert!(session.exists(), "nothing is taken away from a holder that runs");
    drop(holder);
    assert!(clear(&*host.store, &sessions, directories(&sessions)).is_empty());
    assert!(!session.exists());
    Ok(())
}
