//! The stand-in for a language model's endpoint as a program, for benchmarks and for trying things.
//!
//! `llm_double --listen 127.0.0.1:9000 --mode instant`; `curl -X PUT -d slow:300 …/mode` changes it.

use std::net::SocketAddr;

use clap::Parser;
use frontdesk_tests::llm_double::{LlmDouble, Mode};

/// A stand-in for an OpenAI-compatible endpoint
#[derive(Parser)]
struct Arguments {
    /// Address to listen on; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// instant, status:CODE, status:CODE:TIMES, status:CODE:TIMES:RETRY_AFTER_S, slow:MS, hang, close, bad-json,
    /// loop, unknown-tool, every-tool, bad-arguments, silent
    #[arg(long, default_value = "instant")]
    mode: Mode,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let double = LlmDouble::start(arguments.listen, arguments.mode).await?;
    println!("listening on http://{}", double.address());
    double.forever().await;
    Ok(())
}
