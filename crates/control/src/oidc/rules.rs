//! What a runtime asks of a token: `customJWTAuthorizer`
//! (<https://docs.aws.amazon.com/bedrock-agentcore-control/latest/APIReference/API_CustomJWTAuthorizerConfiguration.html>).
//!
//! All rules that are configured must hold.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Refusal;

/// How far a provider's clock may be from this host's, in seconds.
const CLOCK_SKEW_S: f64 = 60.0;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rules {
    pub(super) discovery_url: String,
    #[serde(default)]
    allowed_audience: Vec<String>,
    #[serde(default)]
    allowed_clients: Vec<String>,
    #[serde(default)]
    pub(super) allowed_scopes: Vec<String>,
    #[serde(default)]
    custom_claims: Vec<ClaimRule>,
}

/// A claim that must have a certain value.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimRule {
    inbound_token_claim_name: String,
    inbound_token_claim_value_type: ClaimType,
    authorizing_claim_match_value: Wanted,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ClaimType {
    String,
    StringArray,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    claim_match_value: WantedValue,
    claim_match_operator: Operator,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WantedValue {
    match_value_string: Option<String>,
    #[serde(default)]
    match_value_string_list: Vec<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Operator {
    Equals,
    Contains,
    ContainsAny,
}

impl Rules {
    /// Reads an `authorizerConfiguration`.
    pub(super) fn of(authorizer: &Value) -> Option<Rules> {
        serde_json::from_value(authorizer.get("customJWTAuthorizer")?.clone()).ok()
    }

    /// A token must say when it ends, and must not have ended.
    pub(super) fn check_time(&self, claims: &Map<String, Value>, now_unix: i64) -> Result<(), Refusal> {
        let now = now_unix as f64;
        let moment = |name: &str| claims.get(name).and_then(Value::as_f64);
        match moment("exp") {
            Some(end) if now < end + CLOCK_SKEW_S => {}
            _ => return Err(Refusal::Expired),
        }
        match moment("nbf") {
            Some(begin) if now < begin - CLOCK_SKEW_S => Err(Refusal::NotYetValid),
            _ => Ok(()),
        }
    }

    /// Whether a token of this issuer has the wanted claims.
    pub(super) fn check_claims(&self, claims: &Map<String, Value>, issuer: &str) -> Result<(), Refusal> {
        let mismatch = |name: &str| Refusal::Claim(name.to_owned());
        if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
            return Err(mismatch("iss"));
        }
        let has_one_of = |name: &str, allowed: &[String]| texts(claims.get(name)).iter().any(|text| allowed.iter().any(|one| one == text));
        if !self.allowed_audience.is_empty() && !has_one_of("aud", &self.allowed_audience) {
            return Err(mismatch("aud"));
        }
        if !self.allowed_clients.is_empty() && !has_one_of("client_id", &self.allowed_clients) {
            return Err(mismatch("client_id"));
        }
        for rule in &self.custom_claims {
            if !rule.holds(claims.get(&rule.inbound_token_claim_name)) {
                return Err(mismatch(&rule.inbound_token_claim_name));
            }
        }
        // "At least one scope value of the token must match."
        let scopes = texts(claims.get("scope"));
        let mut scopes = scopes.iter().flat_map(|scopes| scopes.split_ascii_whitespace());
        if !self.allowed_scopes.is_empty() && !scopes.any(|scope| self.allowed_scopes.iter().any(|allowed| allowed == scope)) {
            return Err(Refusal::Scope);
        }
        Ok(())
    }
}

impl ClaimRule {
    fn holds(&self, claim: Option<&Value>) -> bool {
        let WantedValue { match_value_string: one, match_value_string_list: list } = &self.authorizing_claim_match_value.claim_match_value;
        let is_fit = match self.inbound_token_claim_value_type {
            ClaimType::String => claim.is_some_and(Value::is_string),
            ClaimType::StringArray => claim.is_some_and(Value::is_array),
        };
        let found = texts(claim);
        let has = |wanted: &String| found.iter().any(|text| text == wanted);
        is_fit
            && match self.authorizing_claim_match_value.claim_match_operator {
                Operator::Equals => found.len() == 1 && one.as_ref().is_some_and(has),
                Operator::Contains => one.as_ref().is_some_and(has),
                Operator::ContainsAny => list.iter().any(has),
            }
    }
}

/// A claim of one text or of several.
fn texts(claim: Option<&Value>) -> Vec<&str> {
    match claim {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What rules beside a discovery URL say to claims beside the issuer; empty when they hold.
    fn check(rules: Value, claims: Value, expected: &str) {
        let merged = |mut base: Value, more: &Value| {
            base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            base
        };
        let authorizer = json!({ "customJWTAuthorizer": merged(json!({ "discoveryUrl": "https://x/" }), &rules) });
        let rules = Rules::of(&authorizer).expect("rules");
        let claims = merged(json!({ "iss": "https://x", "exp": 2000 }), &claims);
        let claims = claims.as_object().unwrap();
        let checked = rules.check_time(claims, 1000).and_then(|()| rules.check_claims(claims, "https://x"));
        let seen = checked.err().map(|refusal| refusal.to_string()).unwrap_or_default();
        assert!(if expected.is_empty() { seen.is_empty() } else { seen.contains(expected) }, "{claims:?}: {seen}");
    }

    #[test]
    fn times_and_issuers() {
        check(json!({}), json!({}), "");
        check(json!({}), json!({ "iss": "https://y" }), "Claim 'iss'");
        check(json!({}), json!({ "iss": null }), "Claim 'iss'");
        check(json!({}), json!({ "exp": 941 }), "");
        check(json!({}), json!({ "exp": 940 }), "expired");
        check(json!({}), json!({ "exp": "2000" }), "expired");
        check(json!({}), json!({ "exp": null }), "expired");
        check(json!({}), json!({ "nbf": 1060 }), "");
        check(json!({}), json!({ "nbf": 1061 }), "not valid yet");
    }

    #[test]
    fn audiences_clients_and_scopes() {
        check(json!({ "allowedAudience": ["a", "b"] }), json!({ "aud": "b" }), "");
        check(json!({ "allowedAudience": ["a"] }), json!({ "aud": ["x", "a"] }), "");
        check(json!({ "allowedAudience": ["a"] }), json!({ "aud": ["x"] }), "Claim 'aud' value mismatch");
        check(json!({ "allowedAudience": ["a"] }), json!({}), "Claim 'aud'");
        check(json!({ "allowedClients": ["c"] }), json!({ "client_id": "c" }), "");
        check(json!({ "allowedClients": ["c"] }), json!({ "client_id": "d" }), "Claim 'client_id' value mismatch with configuration.");
        check(json!({ "allowedClients": ["c"], "allowedAudience": ["a"] }), json!({ "client_id": "c" }), "Claim 'aud'");
        check(json!({ "allowedScopes": ["read", "write"] }), json!({ "scope": "openid write" }), "");
        check(json!({ "allowedScopes": ["read"] }), json!({ "scope": "reader openid" }), "insufficient_scope");
        check(json!({ "allowedScopes": ["read"] }), json!({}), "insufficient_scope");
    }

    #[test]
    fn claims_of_the_owner_s_own() {
        let rules = |kind: &str, operator: &str, value: Value| {
            json!({ "customClaims": [{
                "inboundTokenClaimName": "group",
                "inboundTokenClaimValueType": kind,
                "authorizingClaimMatchValue": { "claimMatchValue": value, "claimMatchOperator": operator },
            }] })
        };
        let one = json!({ "matchValueString": "a" });
        let list = json!({ "matchValueStringList": ["a", "b"] });
        check(rules("STRING", "EQUALS", one.clone()), json!({ "group": "a" }), "");
        check(rules("STRING", "EQUALS", one.clone()), json!({ "group": "ab" }), "Claim 'group'");
        check(rules("STRING", "EQUALS", one.clone()), json!({ "group": ["a"] }), "Claim 'group'");
        check(rules("STRING", "EQUALS", one.clone()), json!({}), "Claim 'group'");
        check(rules("STRING_ARRAY", "CONTAINS", one.clone()), json!({ "group": ["x", "a"] }), "");
        check(rules("STRING_ARRAY", "CONTAINS", one.clone()), json!({ "group": ["x"] }), "Claim 'group'");
        check(rules("STRING_ARRAY", "CONTAINS", one), json!({ "group": "a" }), "Claim 'group'");
        check(rules("STRING_ARRAY", "CONTAINS_ANY", list.clone()), json!({ "group": ["b"] }), "");
        check(rules("STRING_ARRAY", "CONTAINS_ANY", list), json!({ "group": ["c"] }), "Claim 'group'");
    }
}
