//! The OpenAPI 3.1 description of an offer (<https://spec.openapis.org/oas/v3.1.1.html>).

use serde_json::{Map, Value, json};

use super::Offer;

/// The description.
pub(super) fn description(offer: &Offer) -> Value {
    let (base, path) = offer.parts();
    let mut paths = Map::new();
    paths.insert(path.to_owned(), json!({ "post": operation("ask", "Ask a question", answered(), offer) }));
    if let Some(stream) = &offer.stream {
        let events = json!({
            "description": "Events while the answer is written: each `data:` holds one JSON object, the last one the whole answer or an error.",
            "headers": request_id(),
            "content": { "text/event-stream": { "schema": { "type": "string" } } },
        });
        let path = stream.strip_prefix(base).unwrap_or(stream);
        paths.insert(
            path.to_owned(),
            json!({ "post": operation("askStreaming", "Ask, and read the answer while it is written", events, offer) }),
        );
    }
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": format!("Agent API for {}", offer.name),
            "version": "1.0.0",
            "description": format!("Questions to an agent, answered in words. Limits of each key: {}.", offer.limits().join("; ")),
        },
        "servers": [{ "url": base }],
        "security": [{ "apiKey": [] }],
        "paths": paths,
        "components": { "securitySchemes": { "apiKey": { "type": "apiKey", "in": "header", "name": "x-api-key" } }, "schemas": schemas() },
    })
}

fn operation(id: &str, summary: &str, answered: Value, offer: &Offer) -> Value {
    let late = format!("No answer within {} seconds.", offer.timeout_ms / 1000);
    let mut responses = Map::from_iter([("200".to_owned(), answered)]);
    let failures = [
        ("400", "The prompt is missing, or the body is no JSON object.", "Error"),
        ("403", "No key, or one that does not open this endpoint.", "Refusal"),
        ("413", "The body is larger than 10 MB.", "Refusal"),
        ("424", "The agent failed; `details` holds its last words.", "Error"),
        ("500", "A fault on the server's side.", "Error"),
        ("502", "The answer is too large, or cannot be read.", "Fault"),
        ("503", "More requests at once than the server is set to serve.", "Refusal"),
        ("504", late.as_str(), "Refusal"),
    ];
    for (status, said, schema) in failures {
        responses.insert(status.to_owned(), refused(said, schema, request_id()));
    }
    let mut headers = request_id();
    headers["Retry-After"] = json!({ "description": "How many seconds to wait.", "schema": { "type": "integer" } });
    let too_many = "Faster than the limit (`Too Many Requests`), or the allowance is spent (`Limit Exceeded`).";
    responses.insert("429".to_owned(), refused(too_many, "Fault", headers));
    json!({
        "operationId": id,
        "summary": summary,
        "requestBody": { "required": true, "content": json_of("Question") },
        "responses": responses,
    })
}

fn answered() -> Value {
    json!({ "description": "The answer.", "headers": request_id(), "content": json_of("Answer") })
}

fn refused(said: &str, schema: &str, headers: Value) -> Value {
    json!({ "description": said, "headers": headers, "content": json_of(schema) })
}

fn json_of(schema: &str) -> Value {
    json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{schema}") } } })
}

fn request_id() -> Value {
    json!({ "x-amzn-RequestId": { "description": "Name it when you report a problem.", "schema": { "type": "string" } } })
}

fn schemas() -> Value {
    let text = |said: &str| json!({ "type": "string", "description": said });
    let optional = |said: &str| json!({ "type": ["string", "null"], "maxLength": 1024, "description": said });
    json!({
        "Question": {
            "type": "object",
            "required": ["prompt"],
            "properties": {
                "prompt": { "type": "string", "minLength": 1, "description": "The question.", "examples": ["How do I activate roaming?"] },
                "actor_id": optional("Who asks, in the caller's own terms."),
                "thread_id": optional("The conversation: calls of one actor and thread know what was said before."),
            },
        },
        "Answer": {
            "type": "object",
            "required": ["result"],
            "properties": { "result": text("The answer."), "actor_id": text("As asked."), "thread_id": text("As asked.") },
        },
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": { "error": text("What is wrong."), "details": text("More of it.") },
        },
        "Refusal": { "type": "object", "required": ["message"], "properties": { "message": text("Why.") } },
        "Fault": { "anyOf": [{ "$ref": "#/components/schemas/Error" }, { "$ref": "#/components/schemas/Refusal" }] },
    })
}

#[cfg(test)]
mod tests {
    use super::super::an_offer;
    use super::*;

    #[test]
    fn the_description_has_what_is_offered() {
        let with = description(&an_offer());
        assert_eq!(with["servers"][0]["url"], "https://faq.example.com/prod");
        assert!(with["paths"]["/invoke"]["post"].is_object() && with["paths"]["/stream"]["post"].is_object());
        assert!(with["info"]["description"].as_str().unwrap().contains("2.5 requests a second"));
        let without = description(&Offer { stream: None, ..an_offer() });
        assert_eq!(without["paths"].as_object().unwrap().len(), 1);
    }
}
