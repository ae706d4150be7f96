//! Where answers lead: which requests can be made with the names in them.

use utoipa::openapi::RefOr;
use utoipa::openapi::link::LinkBuilder;
use utoipa::openapi::path::Operation;

/// The names in an answer, and the requests that take them.
struct Leads {
    /// The request that is answered.
    from: &'static str,
    /// The status of the answer.
    status: &'static str,
    /// Parameters, and where their values are in it.
    with: &'static [(&'static str, &'static str)],
    /// The requests.
    to: &'static [&'static str],
}

const SESSION: &str = "session";

/// All of them.
const LEADS: &[Leads] = &[
    Leads {
        from: "create_session",
        status: "201",
        with: &[(SESSION, "$response.body#/session/id")],
        to: &[
            "get_session",
            "patch_session",
            "delete_session",
            "full",
            "why",
            "turns",
            "items",
            "attempts",
            "journal",
            "queue",
            "session_events",
            "interrupt",
            "stop",
            "kill",
            "resume",
            "bypass",
            "end_bypass",
            "settings",
            "prompt",
            "claims",
            "claim",
            "gates",
            "rules",
            "add_rule",
        ],
    },
    Leads {
        from: "create_session",
        status: "201",
        with: &[("prompt", "$response.body#/prompt/prompt")],
        to: &["get_prompt", "edit_prompt", "drop_prompt"],
    },
    Leads {
        from: "stop",
        status: "200",
        with: &[(SESSION, "$request.path.session")],
        to: &["get_session", "resume", "delete_session"],
    },
    Leads {
        from: "kill",
        status: "200",
        with: &[(SESSION, "$request.path.session")],
        to: &["get_session", "attempts", "delete_session"],
    },
    Leads {
        from: "interrupt",
        status: "200",
        with: &[(SESSION, "$request.path.session")],
        to: &["turns", "resume"],
    },
    Leads {
        from: "prompt",
        status: "202",
        with: &[("prompt", "$response.body#/prompt")],
        to: &["get_prompt", "edit_prompt", "drop_prompt", "release_prompt"],
    },
    Leads {
        from: "queue",
        status: "200",
        with: &[("prompt", "$response.body#/items/0/id")],
        to: &["get_prompt", "edit_prompt", "drop_prompt", "release_prompt"],
    },
    Leads {
        from: "claim",
        status: "201",
        with: &[(SESSION, "$response.body#/session"), ("claim", "$response.body#/id")],
        to: &["get_claim", "renew_claim", "end_claim"],
    },
    Leads {
        from: "gates",
        status: "200",
        with: &[("gate", "$response.body#/items/0/id")],
        to: &["gate_rules", "decide"],
    },
    Leads { from: "add_rule", status: "201", with: &[("rule", "$response.body#/id")], to: &["remove_rule"] },
    Leads {
        from: "webhooks",
        status: "200",
        with: &[("webhook", "$response.body#/items/0/name")],
        to: &["test_webhook", "deliver"],
    },
    Leads { from: "events", status: "200", with: &[("after", "$response.body#/cursor")], to: &["events"] },
];

/// Adds the links of an operation's answers.
pub(super) fn add(operation: &mut Operation) {
    let Some(from) = operation.operation_id.clone() else { return };
    for leads in LEADS.iter().filter(|leads| leads.from == from) {
        let Some(RefOr::T(response)) = operation.responses.responses.get_mut(leads.status) else { continue };
        for to in leads.to {
            let mut link = LinkBuilder::new().operation_id(*to);
            for (name, place) in leads.with {
                link = link.parameter(*name, *place);
            }
            response.links.insert((*to).to_owned(), RefOr::T(link.build()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_leads_from_an_answer_to_a_request_that_takes_what_it_gives()
    -> Result<(), Box<dyn std::error::Error>> {
        let document: serde_json::Value = serde_json::from_str(&super::super::openapi_json()?)?;
        let operations: Vec<&serde_json::Value> = document["paths"]
            .as_object()
            .into_iter()
            .flat_map(|paths| paths.values())
            .filter_map(serde_json::Value::as_object)
            .flat_map(|path| path.values())
            .collect();
        let find = |id: &str| operations.iter().find(|operation| operation["operationId"] == id).copied();
        for Leads { from, status, with, to } in LEADS {
            let answer = find(from).map(|operation| &operation["responses"][*status]["links"]);
            for target in *to {
                assert!(answer.is_some_and(|links| links[*target].is_object()), "{from} to {target}");
                let parameters = find(target).and_then(|operation| operation["parameters"].as_array());
                for (name, _) in *with {
                    let takes =
                        parameters.is_some_and(|all| all.iter().any(|parameter| parameter["name"] == *name));
                    assert!(takes, "{target} does not take {name}");
                }
            }
        }
        Ok(())
    }
}
