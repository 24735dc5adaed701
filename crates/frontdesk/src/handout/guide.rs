//! The guide for whoever writes the calls: where, what, what comes back, how much, how.

use super::document::{Block, Document};
use super::{Offer, examples};

/// The page.
pub(super) fn page(offer: &Offer) -> Document {
    let mut blocks = Vec::new();
    blocks.extend(endpoint(offer));
    blocks.extend(request());
    blocks.extend(answer(offer));
    blocks.push(Block::Heading("Limits"));
    blocks.push(Block::Text("For each key:".to_owned()));
    blocks.push(Block::List(offer.limits()));
    blocks.push(Block::Text("A `429` says in `Retry-After` how many seconds to wait.".to_owned()));
    blocks.push(Block::Heading("Examples"));
    blocks.push(Block::Text(match offer.key {
        Some(_) => "They hold your key, and run as they are: keep these files where only you can read them.".to_owned(),
        None => "They run as they are, with your key in the variable `API_KEY`. Put it there from a secret store, never into a file that is shared.".to_owned(),
    }));
    for example in examples::all(offer).into_iter().filter(|example| !example.language.is_empty()) {
        blocks.push(Block::Text(format!("{} (`{}`):", example.title, example.file)));
        blocks.push(Block::Code(example.language, example.text));
    }
    blocks.extend(practices(offer));
    Document { title: format!("Calling the agent: {}", offer.name), blocks }
}

fn endpoint(offer: &Offer) -> Vec<Block> {
    let (base, path) = offer.parts();
    let cell = |text: &str| format!("`{text}`");
    let mut rows = vec![
        vec!["Base URL".to_owned(), cell(base)],
        vec!["Endpoint".to_owned(), cell(path)],
        vec!["Method".to_owned(), cell("POST")],
        vec!["Content type".to_owned(), cell("application/json")],
        vec!["Authentication".to_owned(), "your API key, in the header `x-api-key`".to_owned()],
        vec!["Description".to_owned(), "`openapi.json`, OpenAPI 3.1".to_owned()],
    ];
    if let Some(stream) = &offer.stream {
        let path = stream.strip_prefix(base).unwrap_or(stream);
        rows.insert(2, vec!["Streamed".to_owned(), format!("`{path}`: the same request, and the answer while it is written")]);
    }
    vec![Block::Heading("Endpoint"), Block::Table(vec!["what", "value"], rows)]
}

fn request() -> Vec<Block> {
    let row = |name: &str, kind: &str, said: &str| vec![format!("`{name}`"), kind.to_owned(), said.to_owned()];
    let fields = vec![
        row("prompt", "text", "the question; required"),
        row("actor_id", "text", "who asks, in your own terms; may be left out"),
        row("thread_id", "text", "the conversation. Calls of one actor and thread know what was said before; may be left out"),
    ];
    let body = "{\n  \"prompt\": \"How do I activate roaming?\",\n  \"actor_id\": \"user-123\",\n  \"thread_id\": \"session-456\"\n}";
    vec![Block::Heading("Request"), Block::Code("json", body.to_owned()), Block::Table(vec!["field", "type", "meaning"], fields)]
}

fn answer(offer: &Offer) -> Vec<Block> {
    let row = |status: &str, body: &str, said: &str| vec![status.to_owned(), format!("`{body}`"), said.to_owned()];
    let late = format!("no answer within {} seconds", offer.timeout_ms / 1000);
    let failures = vec![
        row("400", r#"{"error":"Missing required field: prompt"}"#, "no prompt, or a body that is no JSON object; `error` says which"),
        row("403", r#"{"message":"Forbidden"}"#, "no key, or one that does not open this endpoint"),
        row("413", r#"{"message":"Request Too Long"}"#, "the body is larger than 10 MB"),
        row("424", r#"{"error":"AgentCore error: 424","details":"…"}"#, "the agent failed; `details` holds its last words"),
        row("429", r#"{"message":"Too Many Requests"}"#, "faster than the limit: wait, then again"),
        row("429", r#"{"message":"Limit Exceeded"}"#, "the allowance is spent until the period ends"),
        row("500", r#"{"error":"Internal server error","details":"…"}"#, "a fault on our side"),
        row("504", r#"{"message":"Endpoint request timed out"}"#, &late),
    ];
    let body = "{\n  \"result\": \"The agent's answer\",\n  \"actor_id\": \"user-123\",\n  \"thread_id\": \"session-456\"\n}";
    let mut blocks = vec![Block::Heading("Answer"), Block::Text("`200`:".to_owned()), Block::Code("json", body.to_owned())];
    if offer.stream.is_some() {
        let said = "The streamed answer is `text/event-stream`: each event is `data:` and a JSON object, `{\"delta\":\"…\"}` for the next piece of the text, \
                    and in the end the whole answer as above, or `{\"error\":\"…\"}`.";
        blocks.push(Block::Text(said.to_owned()));
    }
    blocks.push(Block::Heading("Errors"));
    blocks.push(Block::Table(vec!["status", "body", "meaning"], failures));
    blocks.push(Block::Text("Every answer has an `x-amzn-RequestId`: name it when you report a problem.".to_owned()));
    blocks
}

fn practices(offer: &Offer) -> Vec<Block> {
    let wait = offer.timeout_ms / 1000 + 1;
    let items = [
        "Keep the key in a secret store or the environment, not in code; ask for a new one when somebody else may have seen it.".to_owned(),
        "Call from your server, not from a page: whoever reads the page reads the key.".to_owned(),
        "On `429` and `5xx` wait and try again, longer each time and with some chance in it, as the examples do; on other `4xx` do not."
            .to_owned(),
        format!("Wait {wait} seconds for an answer; it usually takes a few."),
        "Give each user an `actor_id` and each conversation a `thread_id` of its own.".to_owned(),
    ];
    vec![Block::Heading("Good practice"), Block::List(items.to_vec())]
}

#[cfg(test)]
mod tests {
    use super::super::an_offer;
    use super::*;

    #[test]
    fn what_is_not_served_is_not_offered() {
        let with = page(&an_offer()).to_markdown();
        assert!(with.contains("`/stream`") && with.contains("2.5 requests a second"), "{with}");
        let without = page(&Offer { stream: None, ..an_offer() }).to_markdown();
        assert!(!without.contains("/stream") && !without.contains("event-stream"), "{without}");
    }
}
