//! Tests of the writer with an engine that fails as none should.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::mpsc;

use super::*;

struct Panicking;

impl Engine for Panicking {
    fn commit(&mut self, _changes: &[Change]) -> Result<Vec<Appended>, StoreError> {
        resume_unwind(Box::new("on purpose"))
    }

    fn head(&self) -> Cursor {
        Cursor::START
    }

    fn tidy(&mut self, _idle: bool) -> Option<Duration> {
        None
    }

    fn close(&mut self) {}
}

#[test]
fn everybody_is_answered_when_the_engine_panics() {
    let writer = Writer::start(Panicking).unwrap();
    let (tell, told) = mpsc::channel();
    let submit = || {
        let tell = tell.clone();
        let done: Done = Box::new(move |answer| tell.send(answer).unwrap());
        writer.submit(vec![Change::ForgetKeys { before_wall_ms: 0 }], done);
        told.recv().unwrap()
    };
    assert_eq!(submit(), Ok(vec![Appended::Unknown]));
    assert_eq!(submit(), Err(StoreError::Closed));
}
