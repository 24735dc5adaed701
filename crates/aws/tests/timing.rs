//! Temporary.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "temporary")]
use frontdesk_aws::sigv4::*;
use frontdesk_aws::*;
#[test]
fn timing() {
    let c = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    let keys = SigningKeys::new();
    let scope = Scope { region: "us-west-2", service: "bedrock-agentcore" };
    let now = time::macros::datetime!(2026-03-14 15:09:26 UTC);
    let body = br#"{"prompt":"How do I activate my eSIM?","actor_id":"a","thread_id":"t"}"#;
    let make = || {
        http::Request::post("http://127.0.0.1:4566/runtimes/arn%3Aaws%3Abedrock-agentcore%3Aus-west-2%3A123456789012%3Aruntime%2Ffaq_agent-a1B2c3D4e5/invocations?qualifier=DEFAULT")
        .header("content-type", "application/json").header("x-amzn-bedrock-agentcore-runtime-session-id", "0123456789-0123456789-0123456789-0123").body(()).unwrap().into_parts().0
    };
    let n = 20_000;
    let hash = BodyHash::of(body);
    let mut made: Vec<_> = (0..n).map(|_| make()).collect();
    let start = std::time::Instant::now();
    for r in &mut made {
        sign(r, &BodyHash::of(body), &c, scope, &keys, now).unwrap();
    }
    println!("sign {:?}", start.elapsed() / n);
    let start = std::time::Instant::now();
    for r in &made {
        verify(r, &hash, scope, &keys, |_| Some(&c), now).unwrap();
    }
    println!("verify {:?}", start.elapsed() / n);
}
