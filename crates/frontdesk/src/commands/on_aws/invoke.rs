//! `frontdesk invoke --aws`: a call of the agent past API Gateway and the proxy, signed with the caller's own credentials.

use anyhow::Context as _;
use frontdesk_deploy::running::agent;
use frontdesk_deploy::stack::outputs;

use super::AwsArguments;
use crate::settings::Settings;

/// Calls and prints.
pub(in crate::commands) fn run(place: &AwsArguments, payload: &[u8], session: Option<&str>, settings: &Settings) -> anyhow::Result<()> {
    let payload = std::str::from_utf8(payload).context("the payload is no text")?;
    crate::commands::block_on(async {
        let (aws, _, stack) = place.stack(settings).await?;
        let (answer, session) = agent::invoke(&aws, stack.output(outputs::AGENT_ARN)?, payload, session).await?;
        if let Some(session) = session {
            eprintln!("Session: {session}");
        }
        println!("{answer}");
        Ok(())
    })
}
