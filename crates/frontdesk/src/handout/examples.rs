//! Clients to begin with: each is whole, waits as it is told and tries again where that helps. The tests run them as they are written.

use super::Offer;

/// An example.
pub(super) struct Example {
    pub(super) title: &'static str,
    /// Its place in the hand-out.
    pub(super) file: &'static str,
    /// As Markdown names it; empty for what only belongs to another example.
    pub(super) language: &'static str,
    pub(super) text: String,
}

/// All examples.
pub(super) fn all(offer: &Offer) -> Vec<Example> {
    let of = |title, file, language, text: &str| {
        let literal = if language == "sh" { shell_literal } else { string_literal };
        Example { title, file, language, text: filled(text, offer, literal) }
    };
    let mut examples = vec![
        of("curl", "examples/ask.sh", "sh", CURL),
        of("Python, with `requests`", "examples/ask.py", "python", PYTHON),
        of("Node.js, with `axios`", "examples/ask.cjs", "javascript", NODE),
        of("Java, with its own `HttpClient`", "examples/Ask.java", "java", JAVA),
        of("C#, with `HttpClient`", "examples/csharp/Ask.cs", "csharp", CSHARP),
        of("", "examples/csharp/Ask.csproj", "", CSHARP_PROJECT),
    ];
    if offer.stream.is_some() {
        examples.insert(1, of("curl, streamed", "examples/stream.sh", "sh", CURL_STREAM));
    }
    examples
}

/// Values become literals of the language: a key may be any text, and a text in the wrong quotes is code. The key goes last, since nothing in it is to be filled in.
fn filled(text: &str, offer: &Offer, literal: fn(&str) -> String) -> String {
    let wait_s = (offer.timeout_ms / 1000 + 1).to_string();
    let text = text.replace("{{WAIT_S}}", &wait_s).replace("{{ENDPOINT}}", &literal(&offer.endpoint));
    text.replace("{{STREAM}}", &literal(offer.stream.as_deref().unwrap_or_default())).replace("{{KEY}}", &literal(offer.key()))
}

/// Nothing means anything within a shell's single quotes.
fn shell_literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// JSON's strings are strings of Python, JavaScript, Java and C# too.
fn string_literal(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

const CURL: &str = r#"#!/usr/bin/env bash
# Asks the agent one question: ask.sh "How do I activate roaming?"
set -euo pipefail
API_KEY=${API_KEY:-{{KEY}}}
PROMPT=${1:-How do I activate roaming?}

# The question becomes JSON whatever characters are in it.
BODY=$(python3 -c 'import json, sys; print(json.dumps({"prompt": sys.argv[1]}))' "$PROMPT")
curl --fail-with-body --silent --show-error --max-time {{WAIT_S}} --retry 3 --retry-max-time 60 \
  -X POST {{ENDPOINT}} \
  -H 'Content-Type: application/json' \
  -H "x-api-key: $API_KEY" \
  -d "$BODY"
"#;

const CURL_STREAM: &str = r#"#!/usr/bin/env bash
# Prints the events of an answer while it is written: stream.sh "How do I activate roaming?"
set -euo pipefail
API_KEY=${API_KEY:-{{KEY}}}
PROMPT=${1:-How do I activate roaming?}

BODY=$(python3 -c 'import json, sys; print(json.dumps({"prompt": sys.argv[1]}))' "$PROMPT")
curl --fail-with-body --silent --show-error --no-buffer \
  -X POST {{STREAM}} \
  -H 'Content-Type: application/json' \
  -H "x-api-key: $API_KEY" \
  -d "$BODY"
"#;

const PYTHON: &str = r#""""Asks the agent one question: ask.py "How do I activate roaming?" (pip install requests)"""

import os
import random
import sys
import time

import requests

ENDPOINT = {{ENDPOINT}}
API_KEY = os.environ.get("API_KEY", {{KEY}})
ATTEMPTS = 4


def ask(prompt, actor_id=None, thread_id=None):
    """Returns the answer's text. Raises requests.HTTPError for a refusal that waiting does not help."""
    body = {"prompt": prompt, "actor_id": actor_id, "thread_id": thread_id}
    body = {name: value for name, value in body.items() if value is not None}
    for attempt in range(ATTEMPTS):
        answer = requests.post(ENDPOINT, json=body, headers={"x-api-key": API_KEY}, timeout={{WAIT_S}})
        may_pass = answer.status_code == 429 or answer.status_code >= 500
        if not may_pass or attempt == ATTEMPTS - 1:
            break
        told = answer.headers.get("Retry-After", "")
        pause = int(told) if told.isdigit() else 2**attempt
        if pause > 60:
            break  # The allowance is spent: nobody waits until tomorrow.
        time.sleep(pause + random.random())
    if not answer.ok:
        print(f"{answer.status_code}: {answer.text} (request {answer.headers.get('x-amzn-RequestId')})", file=sys.stderr)
    answer.raise_for_status()
    return answer.json()["result"]


if __name__ == "__main__":
    print(ask(sys.argv[1] if len(sys.argv) > 1 else "How do I activate roaming?", "user-123", "session-456"))
"#;

const NODE: &str = r#"// Asks the agent one question: node ask.cjs "How do I activate roaming?" (npm install axios)
const axios = require("axios");

const ENDPOINT = {{ENDPOINT}};
const API_KEY = process.env.API_KEY || {{KEY}};
const ATTEMPTS = 4;

// Resolves to the answer's text; rejects with axios's error for a refusal that waiting does not help.
async function ask(prompt, actorId, threadId) {
  const body = { prompt, actor_id: actorId, thread_id: threadId };
  const options = { headers: { "x-api-key": API_KEY }, timeout: {{WAIT_S}} * 1000 };
  for (let attempt = 1; ; attempt += 1) {
    try {
      const answer = await axios.post(ENDPOINT, body, options);
      return answer.data.result;
    } catch (error) {
      const status = error.response?.status;
      const mayPass = status === 429 || status >= 500;
      const told = Number(error.response?.headers["retry-after"]);
      const pause = Number.isFinite(told) ? told : 2 ** (attempt - 1);
      // When the allowance is spent nobody waits until tomorrow.
      if (!mayPass || attempt === ATTEMPTS || pause > 60) throw error;
      await new Promise((resume) => setTimeout(resume, (pause + Math.random()) * 1000));
    }
  }
}

if (require.main === module) {
  ask(process.argv[2] || "How do I activate roaming?", "user-123", "session-456").then(
    (result) => console.log(result),
    (error) => {
      const answer = error.response;
      console.error(answer ? `${answer.status}: ${JSON.stringify(answer.data)} (request ${answer.headers["x-amzn-requestid"]})` : error.message);
      process.exitCode = 1;
    },
  );
}

module.exports = { ask };
"#;

// In the C# of 2018 (7.3), which every .NET compiles, Mono's compiler among them: the tests have that one.
const CSHARP: &str = r#"// Asks the agent one question: dotnet run "How do I activate roaming?"
using System;
using System.Net;
using System.Net.Http;
using System.Text;
using System.Text.Json;
using System.Threading.Tasks;

public static class Program
{
    public static int Main(string[] args)
    {
        var prompt = args.Length > 0 ? args[0] : "How do I activate roaming?";
        try
        {
            Console.WriteLine(new Agent().AskAsync(prompt, "user-123", "session-456").GetAwaiter().GetResult());
            return 0;
        }
        catch (HttpRequestException error)
        {
            Console.Error.WriteLine(error.Message);
            return 1;
        }
    }
}

public sealed class Agent
{
    private const string Endpoint = {{ENDPOINT}};
    private const int Attempts = 4;
    private static readonly HttpClient Client = new HttpClient { Timeout = TimeSpan.FromSeconds({{WAIT_S}}) };
    private static readonly Random Chance = new Random();
    private readonly string apiKey = Environment.GetEnvironmentVariable("API_KEY") ?? {{KEY}};

    /// <summary>Returns the answer's text; throws HttpRequestException for a refusal that waiting does not help.</summary>
    public async Task<string> AskAsync(string prompt, string actorId = null, string threadId = null)
    {
        var body = JsonSerializer.Serialize(new { prompt = prompt, actor_id = actorId, thread_id = threadId });
        for (var attempt = 1; ; attempt++)
        {
            using (var request = new HttpRequestMessage(HttpMethod.Post, Endpoint))
            {
                request.Headers.Add("x-api-key", apiKey);
                request.Content = new StringContent(body, Encoding.UTF8, "application/json");
                using (var answer = await Client.SendAsync(request))
                {
                    var text = await answer.Content.ReadAsStringAsync();
                    if (answer.IsSuccessStatusCode)
                    {
                        using (var document = JsonDocument.Parse(text))
                        {
                            return document.RootElement.GetProperty("result").GetString();
                        }
                    }
                    var mayPass = answer.StatusCode == HttpStatusCode.TooManyRequests || (int)answer.StatusCode >= 500;
                    var pause = answer.Headers.RetryAfter?.Delta ?? TimeSpan.FromSeconds(Math.Pow(2, attempt - 1));
                    // When the allowance is spent nobody waits until tomorrow.
                    if (!mayPass || attempt == Attempts || pause > TimeSpan.FromMinutes(1))
                    {
                        throw new HttpRequestException($"{(int)answer.StatusCode}: {text}");
                    }
                    await Task.Delay(pause + TimeSpan.FromSeconds(Chance.NextDouble()));
                }
            }
        }
    }
}
"#;

const CSHARP_PROJECT: &str = r#"<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup>
    <OutputType>Exe</OutputType>
    <TargetFramework>net8.0</TargetFramework>
    <RollForward>LatestMajor</RollForward>
  </PropertyGroup>
</Project>
"#;

const JAVA: &str = r#"// Asks the agent one question: java Ask.java "How do I activate roaming?" (Java 11 or later)
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;

class Ask {
    static final String ENDPOINT = {{ENDPOINT}};
    static final String API_KEY = System.getenv().getOrDefault("API_KEY", {{KEY}});
    static final int ATTEMPTS = 4;
    static final HttpClient CLIENT = HttpClient.newHttpClient();

    /** Returns the answer's JSON, which any JSON library reads; throws for a refusal that waiting does not help. */
    static String ask(String prompt, String actorId, String threadId) throws Exception {
        String body = "{\"prompt\": " + quote(prompt) + ", \"actor_id\": " + quote(actorId) + ", \"thread_id\": " + quote(threadId) + "}";
        HttpRequest request = HttpRequest.newBuilder(URI.create(ENDPOINT))
            .timeout(Duration.ofSeconds({{WAIT_S}}))
            .header("Content-Type", "application/json")
            .header("x-api-key", API_KEY)
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
        for (int attempt = 1; ; attempt++) {
            HttpResponse<String> answer = CLIENT.send(request, HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() == 200) {
                return answer.body();
            }
            boolean mayPass = answer.statusCode() == 429 || answer.statusCode() >= 500;
            long pauseSeconds = answer.headers().firstValueAsLong("Retry-After").orElse(1L << (attempt - 1));
            // When the allowance is spent nobody waits until tomorrow.
            if (!mayPass || attempt == ATTEMPTS || pauseSeconds > 60) {
                throw new IllegalStateException(answer.statusCode() + ": " + answer.body());
            }
            Thread.sleep(pauseSeconds * 1000 + (long) (Math.random() * 1000));
        }
    }

    /** A text as JSON has it. */
    static String quote(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char character : text.toCharArray()) {
            if (character == '"' || character == '\\') {
                quoted.append('\\').append(character);
            } else if (character < ' ') {
                quoted.append(String.format("\\u%04x", (int) character));
            } else {
                quoted.append(character);
            }
        }
        return quoted.append('"').toString();
    }

    public static void main(String[] arguments) throws Exception {
        System.out.println(ask(arguments.length > 0 ? arguments[0] : "How do I activate roaming?", "user-123", "session-456"));
    }
}
"#;

#[cfg(test)]
mod tests {
    use super::super::an_offer;
    use super::*;

    #[test]
    fn nothing_is_left_to_be_filled_in() {
        let examples = all(&an_offer());
        assert_eq!(examples.len(), 7);
        for example in &examples {
            assert!(!example.text.contains("{{"), "{}", example.file);
        }
        assert_eq!(all(&Offer { stream: None, ..an_offer() }).len(), 6);
    }

    #[test]
    fn a_key_is_a_value_and_never_code() {
        let key = super::super::ApiKeyText(r#"a"b\'$(c)`d`{{WAIT_S}}"#.to_owned());
        let examples = all(&Offer { key: Some(key), ..an_offer() });
        let check = |file: &str, line: &str| {
            let example = examples.iter().find(|example| example.file == file).unwrap();
            assert!(example.text.lines().any(|found| found.trim() == line), "{line}: {}", example.text);
        };
        check("examples/ask.sh", r#"API_KEY=${API_KEY:-'a"b\'\''$(c)`d`{{WAIT_S}}'}"#);
        check("examples/ask.sh", r"-X POST 'https://faq.example.com/prod/invoke' \");
        check("examples/ask.py", r#"API_KEY = os.environ.get("API_KEY", "a\"b\\'$(c)`d`{{WAIT_S}}")"#);
        check("examples/ask.cjs", r#"const API_KEY = process.env.API_KEY || "a\"b\\'$(c)`d`{{WAIT_S}}";"#);
        check("examples/csharp/Ask.cs", r#"private const string Endpoint = "https://faq.example.com/prod/invoke";"#);
    }
}
