//! What becomes of a session whose task ended before its time.

use lockkeeper_core::id::SessionId;

use crate::making::tests::{host, made};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::test]
async fn fido_6_a_sessions_task_that_ends_by_a_defect_is_started_again() -> Outcome {
    let (_home, host) = host()?;
    made(&host, 1).await?;
    let id = SessionId::from_random(1);
    host.sessions.forget(&id);
    assert_eq!(host.awake(), []);
    let dead = host.tasks.spawn(async { std::panic::resume_unwind(Box::new("a defect")) });
    host.clone().mourn(id.clone(), dead).await;
    assert!(host.awake().contains(&id));
    assert_eq!(host.look(&id).await.map(|state| state.id.clone()).ok(), Some(id), "it answers");
    host.ending.cancel();
    Ok(())
}
