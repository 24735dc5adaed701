//! `frontdesk share`: writes what a third party is handed for a key; or the clean-up guide for what this installation has made.

mod inventory;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::control_client::ControlClient;
use crate::diagnosis::{Facts, KeyFacts, PlanFacts, gather};
use crate::handout::{self, ApiKeyText, Offer};
use crate::settings::Settings;

/// The flags of `share`.
#[derive(Debug, Args)]
pub(crate) struct ShareArguments {
    /// Whom it is for: a key's id or name
    #[arg(long, value_name = "KEY", required_unless_present = "clean_up")]
    key: Option<String>,
    /// The folder to write into [default: share-KEY; for the clean-up guide, this one]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the key's value into the examples; otherwise a placeholder stands there
    #[arg(long, conflicts_with = "clean_up")]
    with_key: bool,
    /// The endpoint as third parties reach it [default: the host's own address]
    #[arg(long, value_name = "URL", conflicts_with = "clean_up")]
    endpoint: Option<String>,
    /// Another API than the agent's own: its id
    #[arg(long, value_name = "ID", conflicts_with = "clean_up")]
    api: Option<String>,
    /// Instead of a hand-out, write CLEAN-UP.md: what this installation has made, and the commands that take it away
    #[arg(long)]
    clean_up: bool,
}

/// Writes.
///
/// # Errors
/// Without a host, or for a key that there is not.
pub(crate) fn run(arguments: &ShareArguments, settings: &Settings) -> anyhow::Result<()> {
    let client = ControlClient::new(settings)?;
    if arguments.clean_up {
        let inventory = super::block_on(inventory::take(&client, settings))?;
        let path = arguments.out.clone().unwrap_or_default().join("CLEAN-UP.md");
        handout::write_file(&path, &inventory.guide(), false)?;
        println!("{}", path.display());
        return Ok(());
    }
    let key = arguments.key.as_deref().context("--key names the key that the hand-out is for")?;
    let offer = super::block_on(offer(&client, key, arguments))?;
    let folder = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("share-{}", file_name(&offer.name))));
    for file in handout::write(&offer, &folder)? {
        println!("{}", file.display());
    }
    if is_of_this_machine(&offer.endpoint) {
        eprintln!("frontdesk: {} is reached from this machine alone: --endpoint names the address that third parties use", offer.endpoint);
    }
    Ok(())
}

async fn offer(client: &ControlClient, key: &str, arguments: &ShareArguments) -> anyhow::Result<Offer> {
    let status = client.status().await?;
    let wanted = super::of_host::wanted(&status, arguments.api.as_deref(), None, None);
    let facts = gather(&client.aws()?, &wanted).await?;
    let known = named(&facts.keys, key)?;
    if !known.enabled {
        bail!("the key {} is disabled, so its holder would get 403: `frontdesk keys enable {}` opens it again", known.name, known.id);
    }
    let opening = |plan: &&PlanFacts| plan.key_ids.contains(&known.id) && facts.opens(plan);
    let Some(plan) = facts.plans.iter().find(opening) else {
        bail!("the key {} does not open {}: `frontdesk doctor --key {}` says why", known.name, facts.api_id, known.id);
    };
    let (path, timeout_ms) = path_of(&facts, false).context("the API has no POST method that answers questions")?;
    let endpoint = match (&arguments.endpoint, &arguments.api) {
        (Some(endpoint), _) => reachable(endpoint)?,
        (None, Some(api)) => format!("{}/restapis/{api}/{}/_user_request_{path}", status.gateway, facts.stage),
        (None, None) => status.endpoint.clone(),
    };
    let base = endpoint.strip_suffix(&path).unwrap_or_default().to_owned();
    let stream = path_of(&facts, true).filter(|_| !base.is_empty()).map(|(path, _)| format!("{base}{path}"));
    let key = match arguments.with_key {
        true => Some(ApiKeyText(client.key_value(&known.id).await?.value)),
        false => None,
    };
    let (throttle, quota) = (plan.throttle, plan.quota.clone());
    Ok(Offer { name: known.name.clone(), endpoint, stream, throttle, quota, timeout_ms, key })
}

/// The key of that id, or else the one of that name: names may be given twice.
fn named<'a>(keys: &'a [KeyFacts], key: &str) -> anyhow::Result<&'a KeyFacts> {
    if let Some(known) = keys.iter().find(|known| known.id == key) {
        return Ok(known);
    }
    let fitting: Vec<&KeyFacts> = keys.iter().filter(|known| known.name == key).collect();
    match fitting.as_slice() {
        [known] => Ok(known),
        [] => bail!("there is no key {key}: `frontdesk keys list` shows all"),
        several => {
            let ids: Vec<&str> = several.iter().map(|known| known.id.as_str()).collect();
            bail!("several keys are called {key}: --key names one of them by its id, {}", ids.join(" or "))
        }
    }
}

/// An address that third parties can post to.
fn reachable(endpoint: &str) -> anyhow::Result<String> {
    let endpoint = endpoint.trim_end_matches('/');
    let is_one = endpoint.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.path().len() > 1 && uri.query().is_none()
    });
    if !is_one {
        bail!("--endpoint {endpoint} is no address to post to: write it with scheme and path, as in https://faq.example.com/prod/invoke");
    }
    Ok(endpoint.to_owned())
}

/// The path of the method that answers, whole or streamed, and how long it may take.
fn path_of(facts: &Facts, is_streaming: bool) -> Option<(String, u64)> {
    let methods = facts.methods.iter().filter(|method| method.verb == "POST");
    let mut fitting: Vec<(String, u64)> = methods
        .filter_map(|method| Some((method, method.integration.as_ref()?)))
        .filter(|(_, integration)| integration.is_streaming == is_streaming && integration.kind != "MOCK")
        .map(|(method, integration)| (method.path.clone(), integration.timeout_ms))
        .collect();
    // The guide's own path goes first.
    fitting.sort_by_key(|(path, _)| path != "/invoke");
    fitting.into_iter().next()
}

/// A name that any file system takes.
fn file_name(name: &str) -> String {
    name.chars().map(|char| if char.is_ascii_alphanumeric() || "-_.".contains(char) { char } else { '-' }).collect()
}

fn is_of_this_machine(endpoint: &str) -> bool {
    let host = endpoint.parse::<http::Uri>().ok().and_then(|url| url.host().map(str::to_owned)).unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_folders_and_addresses_are_told_apart() {
        assert_eq!(file_name("Partner A/../x"), "Partner-A-..-x");
        assert!(is_of_this_machine("http://127.0.0.1:8000/prod/invoke") && is_of_this_machine("http://[::1]:8000/x"));
        assert!(is_of_this_machine("http://0.0.0.0:8000/prod/invoke") && is_of_this_machine("http://[::]:8000/x"));
        assert!(!is_of_this_machine("https://faq.example.com/prod/invoke"));
    }

    #[test]
    fn a_key_is_found_by_its_id_before_its_name() {
        let of = |id: &str, name: &str| KeyFacts { id: id.to_owned(), name: name.to_owned(), ..KeyFacts::default() };
        let keys = [of("k1", "k2"), of("k2", "twice"), of("k3", "twice")];
        assert_eq!(named(&keys, "k2").unwrap().id, "k2");
        let both = named(&keys, "twice").unwrap_err().to_string();
        assert!(both.contains("k2 or k3"), "{both}");
        assert!(named(&keys, "nobody").unwrap_err().to_string().contains("there is no key nobody"));
    }

    #[test]
    fn an_endpoint_is_an_address_to_post_to() {
        assert_eq!(reachable("https://faq.example.com/prod/invoke/").unwrap(), "https://faq.example.com/prod/invoke");
        for wrong in
            ["faq.example.com/prod/invoke", "ftp://x/prod", "https://x", "https://x/", "https://x/a b", "https://x/a?b=c", "/invoke", ""]
        {
            assert!(reachable(wrong).is_err(), "{wrong}");
        }
    }
}
