//! The proof that a stack works: a real question, as a third party asks it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{DeployError, Deployer, Listener, Progress};

/// How long one attempt may take: API Gateway's 29 s, and the way there and back.
const ATTEMPT: Duration = Duration::from_secs(35);
/// Attempts. A new key takes up to a minute to be known everywhere, and a first session its time to start.
const ATTEMPTS_MAX: u32 = 12;
/// How much of an answer is quoted, in characters.
const QUOTED_CHARS_MAX: usize = 400;

/// Host and port of a URL.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(host, _)| host)
}

impl Deployer<'_> {
    /// Asks `question` at `endpoint` until it is answered. Gives the answer's text.
    ///
    /// # Errors
    /// [`DeployError::Question`] with the last answer; at once where asking again cannot help.
    pub async fn ask(&self, endpoint: &str, key: &str, question: &str, listener: &mut Listener<'_>) -> Result<String, DeployError> {
        let http = crate::http_client::http_client(crate::http_client::is_local(host_of(endpoint))).map_err(DeployError::Client)?;
        let mut said = String::new();
        for attempt in 1..=ATTEMPTS_MAX {
            let body = json!({ "prompt": question, "actor_id": "frontdesk-deploy" }).to_string();
            let request =
                http.post(endpoint).header("content-type", "application/json").header("x-api-key", key).timeout(ATTEMPT).body(body);
            let answered = async {
                let response = request.send().await?;
                Ok::<_, reqwest::Error>((response.status(), response.text().await?))
            };
            let may_pass;
            (said, may_pass) = match answered.await {
                Ok((status, text)) => {
                    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
                    if let Some(result) = answer["result"].as_str().filter(|_| status.is_success()) {
                        return Ok(result.to_owned());
                    }
                    let text: String = text.chars().take(QUOTED_CHARS_MAX).collect();
                    // 403: the key is not known everywhere yet. 424 and 429: the first session is still starting.
                    (format!("{endpoint} answers {}: {text}", status.as_u16()), matches!(status.as_u16(), 403 | 404 | 424 | 429 | 500..))
                }
                Err(error) => (format!("{endpoint} cannot be reached: {}", error.without_url()), true),
            };
            if !may_pass || attempt == ATTEMPTS_MAX {
                break;
            }
            listener(Progress::NotYet(&said));
            tokio::time::sleep(self.pause).await;
        }
        Err(DeployError::Question(said))
    }
}
