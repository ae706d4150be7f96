use std::fs;

use super::*;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const A: &str = "000000000000";
const B: &str = "111111111111";

fn peer(session: Option<&str>, name: Option<&str>) -> Result<Peer, BadName> {
    Ok(Peer {
        user: "ann".to_owned(),
        own: true,
        standing: match session {
            Some(session) => Standing::Inside(session.parse()?),
            None => Standing::Outside,
        },
        name: name.map(str::parse).transpose()?,
        look: None,
    })
}

#[test]
fn a_caller_is_told_by_user_session_and_name() -> Outcome {
    for (session, name, told) in [
        (None, None, "ann"),
        (None, Some("ci"), "ann/ci"),
        (Some(A), None, "ann/session:000000000000"),
        (Some(A), Some("ci"), "ann/session:000000000000/ci"),
    ] {
        assert_eq!(peer(session, name)?.to_string(), told);
    }
    Ok(())
}

#[test]
fn o46_a_name_that_is_none_is_refused() -> Outcome {
    let head = |values: &[&[u8]]| -> Result<HeaderMap, Box<dyn std::error::Error>> {
        let mut head = HeaderMap::new();
        for value in values {
            head.append(headers::CALLER, axum::http::HeaderValue::from_bytes(value)?);
        }
        Ok(head)
    };
    assert!(name(&head(&[])?).is_ok_and(|name| name.is_none()));
    assert!(name(&head(&[b"ci"])?).is_ok_and(|name| name.is_some_and(|name| name.as_str() == "ci")));
    let long = "a".repeat(65);
    let forged = format!("session:{A}");
    for bad in [b"".as_slice(), b"a b", b"a/b", forged.as_bytes(), b"\xff", long.as_bytes()] {
        let failure = name(&head(&[bad])?).err().ok_or("it was taken")?;
        assert_eq!(failure.0.code, "header_invalid");
        assert!(failure.0.detail.starts_with(headers::CALLER), "{}", failure.0.detail);
    }
    assert!(name(&head(&[b"ci", b"ci"])?).is_err());
    Ok(())
}

#[test]
fn the_lowest_right_of_a_caller_counts() -> Outcome {
    let named = [("ci".parse()?, Class::Background), ("boss".parse()?, Class::Urgent)].into();
    let rights = Rights { named, ..Rights::default() };
    for (session, name, highest) in [
        (None, None, Class::Urgent),
        (None, Some("other"), Class::Urgent),
        (None, Some("ci"), Class::Background),
        (None, Some("boss"), Class::Urgent),
        (Some(A), None, Class::Normal),
        (Some(A), Some("ci"), Class::Background),
        (Some(A), Some("boss"), Class::Normal),
    ] {
        let peer = peer(session, name)?;
        for class in Class::ALL {
            let answer = peer.may_ask(class, &rights);
            assert_eq!(answer.is_ok(), class <= highest, "{peer} {class:?}");
            if let Err(Failure(problem)) = answer {
                assert_eq!((problem.code.as_str(), problem.status), ("class_forbidden", 403));
                for part in [peer.to_string().as_str(), class.word(), highest.word()] {
                    assert!(problem.detail.contains(part), "{}", problem.detail);
                }
            }
        }
        let unlimited = Rights { agents: Class::Urgent, ..Rights::default() };
        assert!(peer.may_ask(Class::Urgent, &unlimited).is_ok());
    }
    Ok(())
}

#[test]
fn a_process_belongs_to_the_outermost_holder_of_this_daemon_else_to_its_marker_and_to_none_if_all_was_seen()
-> Outcome {
    let home = tempfile::tempdir()?;
    let sessions = home.path().join("sessions");
    let attempt = |id: &str| sessions.join(id).join("a1");
    for dir in [attempt(A), attempt(B), home.path().join("other").join(A).join("a1")] {
        fs::create_dir_all(dir)?;
    }
    let alias = home.path().join("alias");
    std::os::unix::fs::symlink(&sessions, &alias)?;
    let foreign = home.path().join("other").join(A).join("a1");
    let gone = sessions.join(A).join("a2");
    let marked = |id: &str| Some(format!("{id}.a1"));
    for (holders, marker, expected) in [
        (vec![], None, None),
        (vec![attempt(A)], None, Some(A)),
        (vec![alias.join(A).join("a1")], None, Some(A)),
        (vec![attempt(B), attempt(A)], marked(B), Some(A)),
        (vec![attempt(A), foreign.clone()], None, Some(A)),
        (vec![foreign.clone()], None, None),
        (vec![foreign], marked(B), Some(B)),
        (vec![gone.clone()], None, None),
        (vec![PathBuf::from("/")], None, None),
        (vec![], marked(B), Some(B)),
        (vec![], Some(format!("{A}.a2")), None),
        (vec![], Some("../../..".to_owned()), None),
        (vec![], Some(String::new()), None),
    ] {
        for sight in [Sight::Whole, Sight::Cut] {
            let traces = Traces { holders: holders.clone(), marker: marker.clone(), sight };
            let is_gone = holders.contains(&gone);
            let expected = match (expected, sight) {
                (Some(id), _) => Standing::Inside(id.parse()?),
                (None, Sight::Whole) if !is_gone => Standing::Outside,
                (None, Sight::Whole | Sight::Cut) => Standing::Unknown,
            };
            assert_eq!(standing(&traces, &sessions), expected, "{traces:?}");
        }
    }
    Ok(())
}

#[test]
fn what_may_be_an_agents_sets_nothing_and_asks_for_no_less() -> Outcome {
    let of = |standing| Peer { user: "ann".to_owned(), own: true, standing, name: None, look: None };
    assert!(of(Standing::Outside).may_decide().is_ok());
    for (standing, part, next) in [
        (Standing::Inside(A.parse()?), A, "outside of the agent"),
        (Standing::Unknown, "is not known", "a plain shell"),
    ] {
        let Failure(problem) = of(standing).may_set("that is why").err().ok_or("it may")?;
        assert_eq!((problem.code.as_str(), problem.status), ("decision_forbidden", 403));
        assert!(problem.detail.contains(part) && problem.detail.ends_with("and that is why"), "{problem}");
        assert!(problem.next.is_some_and(|told| told.contains(next)));
    }
    let unknown = of(Standing::Unknown);
    assert_eq!(unknown.to_string(), "ann");
    assert!(unknown.may_ask(Class::Urgent, &Rights::default()).is_ok());
    Ok(())
}

#[tokio::test]
async fn a_decision_waits_for_a_look_that_takes_its_time() -> Outcome {
    for found in [Standing::Inside(A.parse()?), Standing::Outside, Standing::Unknown] {
        let (tell, look) = watch::channel(None);
        let mut peer = Peer { standing: Standing::Unknown, look: Some(look), ..peer(None, None)? };
        let told = found.clone();
        tokio::join!(peer.settle(), async move { tell.send_replace(Some(told)) });
        assert_eq!(peer.standing, found);
        // A request more of the same connection waits for nothing.
        peer.settle().await;
        assert_eq!(peer.standing, found);
    }
    Ok(())
}
