//! The agent with a language model: over real HTTP, against a stand-in that misbehaves in every way it can.

mod asking;

use std::net::SocketAddr;
use std::time::Duration;

use frontdesk_agent::AgentSettings;
use frontdesk_agent::graph::Events;
use frontdesk_agent::llm::provider::ProviderAccess;
use frontdesk_agent::llm::{ModelRequest, Provider};
use frontdesk_agent::message::Message;
use frontdesk_tests::llm_double::{LlmDouble, Mode, Recorded};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::Instant;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

const FAQ: &str = "question,answer\n\
    How do I activate roaming?,Dial *123# and choose Roaming.\n\
    How much does roaming cost?,One euro a day.\n\
    How do I pay my bill?,By card or by bank transfer.\n";

/// Asks an agent whose model is behind `base_url`. Returns the status and the body.
async fn ask_agent(base_url: String, deadline: Duration) -> (u16, Value) {
    let settings = AgentSettings {
        model: "openai:test-model".parse().unwrap(),
        base_url: Some(base_url),
        deadline_ms: u64::try_from(deadline.as_millis()).unwrap(),
        ..AgentSettings::default()
    };
    asking::ask(FAQ, &json!({ "prompt": "How do I activate roaming?" }), settings).await
}

/// More than every attempt takes, also on a machine that stands still for seconds.
const LONG: Duration = Duration::from_secs(60);
/// What is meant to pass.
const SHORT: Duration = Duration::from_millis(900);

/// One question while the model behaves as `mode`. The answer must have `status` and hold every one of `parts`; none within [`LONG`] of
/// the deadline fails. Returns what the model was sent.
async fn check(mode: Mode, deadline: Duration, status: u16, parts: &[&str]) -> Vec<Recorded> {
    let double = LlmDouble::start(ANY_PORT, mode.clone()).await.unwrap();
    let asked = ask_agent(double.base_url(), deadline);
    let (answered, body) = tokio::time::timeout(deadline + LONG, asked).await.expect("an answer, never a hang");
    let key = if status == 200 { "result" } else { "error" };
    let text = body[key].as_str().unwrap_or_else(|| panic!("{mode:?}: {body}"));
    for part in parts {
        assert!(text.contains(part), "{mode:?}: {part:?} is not in {text:?}");
    }
    assert_eq!(answered, status, "{mode:?}: {text}");
    double.recorded()
}

fn failing(status: u16, times: Option<u32>, retry_after_s: Option<u32>) -> Mode {
    Mode::Status { status, times, retry_after_s }
}

#[tokio::test]
async fn a_tool_is_called_and_its_result_answered() {
    let requests = check(Mode::Instant, LONG, 200, &["Dial *123# and choose Roaming."]).await;
    let [first, second] = requests.as_slice() else { panic!("two requests, not {requests:?}") };
    assert_eq!((first.path.as_str(), &first.body["model"]), ("/v1/chat/completions", &json!("test-model")));
    assert_eq!(first.body["temperature"], json!(0.0));
    assert_eq!(first.body["messages"][0]["role"], "system");
    assert_eq!(first.body["messages"][1], json!({ "role": "user", "content": "How do I activate roaming?" }));
    let detailed = &first.body["tools"][1]["function"];
    assert_eq!(detailed["name"], "search_detailed_faq");
    assert_eq!(detailed["description"], "Search the FAQ knowledge base with more comprehensive results.");
    let properties = json!({
        "query": { "type": "string", "description": "The search query" },
        "num_results": { "type": "integer", "description": "Number of results to return", "default": 5 },
    });
    assert_eq!(detailed["parameters"]["properties"], properties);
    assert_eq!(detailed["parameters"]["required"], json!(["query"]));

    let result = second.body["messages"].as_array().unwrap().last().unwrap();
    assert_eq!((&result["role"], &result["tool_call_id"]), (&json!("tool"), &json!("call_1")));
    let content = result["content"].as_str().unwrap();
    let expected = "question: How do I activate roaming?\nanswer: Dial *123# and choose Roaming.\n\nquestion: ";
    assert!(content.starts_with(expected), "{content:?}");
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    for status in [429, 500, 503] {
        let requests = check(failing(status, Some(1), Some(0)), LONG, 200, &["Dial *123#"]).await;
        assert_eq!(requests.len(), 3, "one failure and two turns");
    }
}

#[tokio::test]
async fn what_does_not_pass_is_told() {
    let requests = check(failing(500, None, None), LONG, 502, &["openai:test-model is not available: 500", "the double answers"]).await;
    assert!((2..=5).contains(&requests.len()), "{} attempts", requests.len());
    let requests = check(failing(401, None, None), LONG, 502, &["refused the request: 401"]).await;
    assert_eq!(requests.len(), 1);
    let requests = check(failing(429, None, Some(60)), LONG, 503, &["it asks to wait 60 s"]).await;
    assert_eq!(requests.len(), 1, "a wait beyond the deadline is not waited for");
}

#[tokio::test]
async fn a_slow_or_broken_endpoint_is_told_before_the_deadline() {
    check(Mode::Hang, SHORT, 504, &["did not answer within"]).await;
    check(Mode::Slow(LONG), SHORT, 504, &["did not answer within"]).await;
    check(Mode::Close, LONG, 502, &["is not available"]).await;
    check(Mode::BadJson, LONG, 502, &["gave an answer that cannot be read"]).await;
    check(Mode::Silent, LONG, 502, &["neither text nor a tool call"]).await;
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_told() {
    // The port was free a moment ago and nobody listens on it.
    let nobody = TcpListener::bind(ANY_PORT).await.unwrap().local_addr().unwrap();
    let (status, body) = ask_agent(format!("http://{nobody}/v1"), LONG).await;
    assert_eq!(status, 502);
    assert!(body["error"].as_str().unwrap().contains("is not available"), "{body}");
}

#[tokio::test]
async fn a_model_that_loops_meets_the_step_limit() {
    let requests = check(Mode::Loop, LONG, 200, &["could not settle on an answer"]).await;
    assert_eq!(requests.len(), 13, "25 steps are 13 turns of the model and 12 of the tools");
}

#[tokio::test]
async fn a_mistaken_call_is_told_to_the_model() {
    let tools = "delete_everything is not a valid tool, try one of search_faq, search_detailed_faq, reformulate_query";
    check(Mode::UnknownTool, LONG, 200, &[tools]).await;
    let requests =
        check(Mode::BadArguments, LONG, 200, &["not a JSON object: {\"query\": ", "invalid type: integer `7`, expected a string"]).await;
    assert_eq!(requests.len(), 3);
}

/// Sends one question by a provider that is set up with `key` in `variable`.
async fn complete(double: &LlmDouble, provider: &str, variable: &'static str, key: &'static str) -> Result<(), String> {
    let access = ProviderAccess { base_url: Some(double.base_url()), api_key_variable: None, api_key: None, timeout: LONG };
    let provider = Provider::new(provider, "openai/gpt-oss-20b", access, |name| (name == variable).then(|| key.to_owned())).await;
    let messages = [Message::Human("hi".to_owned())];
    let request =
        ModelRequest { system_prompt: "", messages: &messages, tools: &[], deadline: Instant::now() + LONG, span: &Default::default() };
    provider.unwrap().complete(request, &Events::unwatched()).await.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_key_goes_to_the_provider_and_nowhere_else() {
    let double = LlmDouble::start(ANY_PORT, Mode::Instant).await.unwrap();
    complete(&double, "groq", "GROQ_API_KEY", "gsk_secret").await.unwrap();
    let request = double.recorded().pop().unwrap();
    assert_eq!(request.authorization.as_deref(), Some("Bearer gsk_secret"));
    assert_eq!(request.body["model"], "openai/gpt-oss-20b");

    double.set_mode(failing(401, None, None));
    let error = complete(&double, "groq", "GROQ_API_KEY", "gsk_secret").await.unwrap_err();
    assert_eq!(
        error,
        "the language model groq:openai/gpt-oss-20b refused the request: 401 Unauthorized: the double answers 401 Unauthorized to Bearer …"
    );
}

/// A provider with an API of its own, and where its part of the double is.
const OTHER_APIS: [(&str, &str, &str); 3] = [
    ("anthropic:claude-sonnet-4-5", "/v1", "/v1/messages"),
    ("bedrock:amazon.nova-lite-v1:0", "", "/model/amazon.nova-lite-v1%3A0/converse"),
    ("ollama:llama3.2:3b", "", "/api/chat"),
];

fn other_api(double: &LlmDouble, model: &str, base: &str, deadline: Duration) -> AgentSettings {
    AgentSettings {
        model: model.parse().unwrap(),
        base_url: Some(format!("http://{}{base}", double.address())),
        deadline_ms: u64::try_from(deadline.as_millis()).unwrap(),
        ..AgentSettings::default()
    }
}

#[tokio::test]
async fn each_provider_is_spoken_to_in_its_own_words() {
    let question = json!({ "prompt": "How do I activate roaming?" });
    for (model, base, path) in OTHER_APIS {
        let double = LlmDouble::start(ANY_PORT, Mode::EveryTool).await.unwrap();
        let (status, body) = asking::ask(FAQ, &question, other_api(&double, model, base, LONG)).await;
        assert_eq!((status, &body["result"]), (200, &json!("Dial *123# and choose Roaming.")), "{model}: {body}");
        let requests = double.recorded();
        assert_eq!(requests.len(), 4, "{model}: three tools and the answer");
        assert_eq!(requests[0].path, path, "{model}");
        let sent = requests[0].body.to_string();
        for tool in ["search_faq", "search_detailed_faq", "reformulate_query"] {
            assert!(sent.contains(tool), "{model}: {sent}");
        }

        let streamed = json!({ "prompt": "How do I activate roaming?", "stream": true });
        let agent = asking::Agent::start(FAQ, other_api(&double, model, base, LONG)).await;
        let events = frontdesk_tests::events(&agent.send(&streamed, "").await.1);
        let words: Vec<&str> = events.iter().filter_map(|event| event["delta"].as_str()).collect();
        assert_eq!(words, ["Dial ", "*123# ", "and ", "choose ", "Roaming."], "{model}: {events:?}");
        let calls: Vec<_> = events.iter().filter_map(|event| event["tool_call"]["name"].as_str()).collect();
        assert_eq!(calls, ["search_faq", "search_detailed_faq", "reformulate_query"], "{model}");
        assert_eq!(events[0]["tool_call"]["arguments"], json!({ "query": "How do I activate roaming?" }), "{model}");
    }
}

#[tokio::test]
async fn each_provider_s_failures_are_told() {
    let question = json!({ "prompt": "How do I activate roaming?" });
    for (model, base, _) in OTHER_APIS {
        let double = LlmDouble::start(ANY_PORT, Mode::Instant).await.unwrap();
        for is_streamed in [false, true] {
            let check = async |mode: Mode, deadline: Duration, expected: &str| {
                double.set_mode(mode.clone());
                let settings = other_api(&double, model, base, deadline);
                let text = if is_streamed {
                    let agent = asking::Agent::start(FAQ, settings).await;
                    let streamed = json!({ "prompt": "How do I activate roaming?", "stream": true });
                    agent.send(&streamed, "").await.1
                } else {
                    asking::ask(FAQ, &question, settings).await.1.to_string()
                };
                assert!(text.contains(expected), "{model}, streamed: {is_streamed}, {mode:?}: {expected:?} is not in {text}");
            };
            check(failing(503, Some(1), Some(0)), LONG, "Dial *123#").await;
            check(failing(429, Some(1), Some(0)), LONG, "Dial *123#").await;
            check(failing(401, None, None), LONG, "refused the request: 401 Unauthorized: the double answers 401").await;
            check(Mode::Hang, SHORT, "did not answer within").await;
            check(Mode::Silent, LONG, "neither text nor a tool call").await;
            check(Mode::UnknownTool, LONG, "delete_everything is not a valid tool").await;
            check(Mode::BadArguments, LONG, "expected a string").await;
        }
        double.set_mode(Mode::Close);
        let agent = asking::Agent::start(FAQ, other_api(&double, model, base, LONG)).await;
        let streamed = json!({ "prompt": "How do I activate roaming?", "stream": true });
        let text = agent.send(&streamed, "").await.1;
        assert!(text.contains("I was going to") && text.contains("the stream broke off"), "{model}: {text}");
    }
}

async fn check_setup(provider: &str, base_url: Option<&str>, expected: &str) {
    let access = ProviderAccess { base_url: base_url.map(str::to_owned), api_key_variable: None, api_key: None, timeout: LONG };
    let error = Provider::new(provider, "some-model", access, |_| None).await.unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
}

#[tokio::test]
async fn a_model_that_cannot_be_set_up_says_why() {
    check_setup("grok", None, "there is no model provider `grok`").await;
    check_setup("groq", None, "set the variable GROQ_API_KEY").await;
    check_setup("anthropic", None, "set the variable ANTHROPIC_API_KEY").await;
    check_setup("bedrock", None, "set the variable AWS_BEARER_TOKEN_BEDROCK").await;
    check_setup("openai", Some("localhost"), "the base URL `localhost` is not a URL").await;
}

/// The events of one streamed question while the model behaves as `mode`.
async fn stream(mode: Mode, deadline: Duration) -> Vec<Value> {
    let double = LlmDouble::start(ANY_PORT, mode).await.unwrap();
    let settings = AgentSettings {
        model: "openai:test-model".parse().unwrap(),
        base_url: Some(double.base_url()),
        deadline_ms: u64::try_from(deadline.as_millis()).unwrap(),
        ..AgentSettings::default()
    };
    let agent = asking::Agent::start(FAQ, settings).await;
    let (status, body) = agent.send(&json!({ "prompt": "How do I activate roaming?", "stream": true }), "").await;
    assert_eq!(status, 200);
    frontdesk_tests::events(&body)
}

#[tokio::test]
async fn a_streamed_answer_comes_word_by_word() {
    let events = stream(Mode::Instant, LONG).await;
    assert_eq!(events[0]["tool_call"]["name"], "search_faq");
    assert_eq!(events[0]["tool_call"]["arguments"], json!({ "query": "How do I activate roaming?" }), "put together from its pieces");
    assert_eq!(events[1]["tool_result"], json!({ "id": "call_1", "ok": true }));
    let words: Vec<&str> = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(words, ["Dial ", "*123# ", "and ", "choose ", "Roaming."]);
    assert_eq!(events.last().unwrap()["result"], "Dial *123# and choose Roaming.");
}

#[tokio::test]
async fn a_mistake_in_a_streamed_call_is_told_to_the_model() {
    let events = stream(Mode::BadArguments, LONG).await;
    let outcomes: Vec<_> = events.iter().filter_map(|event| event["tool_result"]["ok"].as_bool()).collect();
    assert_eq!(outcomes, [false, false]);
    let result = events.last().unwrap()["result"].as_str().unwrap();
    assert!(result.contains("not a JSON object") && result.contains("expected a string"), "{result}");
}

#[tokio::test]
async fn a_stream_that_fails_ends_with_its_reason() {
    let check = async |mode: Mode, deadline: Duration, expected: &str| {
        let events = stream(mode.clone(), deadline).await;
        let error = events.last().unwrap()["error"].as_str().unwrap_or_else(|| panic!("{mode:?}: {events:?}"));
        assert!(error.contains(expected), "{mode:?}: {error}");
        events
    };
    let events = check(Mode::Close, LONG, "the stream broke off").await;
    assert_eq!(events[0]["delta"], "I was going to", "what was told is not told again by another attempt");
    assert_eq!(events.len(), 2);
    check(Mode::Endless, LONG, "is longer than").await;
    check(Mode::Hang, SHORT, "did not answer within").await;
    check(failing(401, None, None), LONG, "refused the request: 401").await;
    check(Mode::Silent, LONG, "neither text nor a tool call").await;
}

#[tokio::test]
async fn a_thread_is_told_to_the_model() {
    let double = LlmDouble::start(ANY_PORT, Mode::Instant).await.unwrap();
    let settings =
        AgentSettings { model: "openai:test-model".parse().unwrap(), base_url: Some(double.base_url()), ..AgentSettings::default() };
    let agent = asking::Agent::start(FAQ, settings).await;
    for prompt in ["How do I activate roaming?", "How much?"] {
        let (status, body) = agent.ask(&json!({ "prompt": prompt, "thread_id": "trip" })).await;
        assert_eq!(status, 200, "{body}");
    }
    let last = double.recorded().pop().unwrap().body;
    let said: Vec<_> = last["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(said, ["system", "user", "assistant", "user", "assistant", "tool"]);
    assert_eq!(last["messages"][2]["content"], "Dial *123# and choose Roaming.");
}

#[tokio::test]
async fn questions_of_one_thread_wait_for_each_other() {
    let double = LlmDouble::start(ANY_PORT, Mode::Slow(Duration::from_millis(50))).await.unwrap();
    let settings =
        AgentSettings { model: "openai:test-model".parse().unwrap(), base_url: Some(double.base_url()), ..AgentSettings::default() };
    let agent = asking::Agent::start(FAQ, settings).await;
    let (first, second) = (
        json!({ "prompt": "How do I activate roaming?", "thread_id": "trip" }),
        json!({ "prompt": "How do I pay my bill?", "thread_id": "trip" }),
    );
    let ((first, _), (second, _)) = tokio::join!(agent.ask(&first), agent.ask(&second));
    assert_eq!((first, second), (200, 200));
    let turns: Vec<usize> = double.recorded().iter().map(|request| request.body["messages"].as_array().unwrap().len()).collect();
    assert_eq!(turns, [2, 4, 4, 6], "the second question knows of the first and its answer");
}
