//! `frontdesk image`: a container image of the agent or of the Lambda function, without Docker, in a folder and in a registry.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table};
use frontdesk_agent::retrieval::model::ModelFiles;
use frontdesk_aws::SecretKey;
use frontdesk_deploy::call::{Aws, AwsOptions};
use frontdesk_deploy::image::{self, Image, ImageSpec, Platform};
use frontdesk_deploy::registry::{ImageReference, Login, Pushed, Registry};
use serde_json::json;

use super::image_progress::ImageProgress;
use crate::settings::Settings;

/// Holds the registry's password, for a flag would show it to every user of the machine.
const PASSWORD_VARIABLE: &str = "REGISTRY_PASSWORD";

/// The flags of `image`.
#[derive(Debug, Args)]
pub(crate) struct ImageArguments {
    /// Which image
    #[arg(value_enum)]
    kind: ImageKind,
    /// Folder of the image, an OCI layout; what it holds from an earlier build is not made again
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// The Linux executable inside [default: this one]
    #[arg(long, value_name = "FILE")]
    agent_binary: Option<PathBuf>,
    /// What the image is for; AgentCore runs linux/arm64 only
    #[arg(long, value_enum, default_value = "linux/arm64")]
    platform: PlatformName,
    /// Push it too: registry.example.com/frontdesk:agent. ECR is logged in to with the AWS credentials at hand
    #[arg(long, value_name = "REFERENCE")]
    push: Option<ImageReference>,
    /// User at the registry; the password is in REGISTRY_PASSWORD
    #[arg(long, value_name = "USER")]
    registry_user: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which image.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ImageKind {
    /// For AgentCore Runtime: the agent with its FAQ and model, on port 8080
    Agent,
    /// For the Lambda function: the program alone
    Lambda,
}

/// A platform as Docker writes it.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum PlatformName {
    #[value(name = "linux/arm64")]
    Arm64,
    #[value(name = "linux/amd64")]
    Amd64,
}

/// Builds the image, and pushes it.
pub(crate) fn run(arguments: &ImageArguments, settings: &Settings) -> anyhow::Result<()> {
    let spec = spec(arguments, settings)?;
    let (began, progress) = (now(), ImageProgress::new(!arguments.json));
    let image = image::build(&spec, &arguments.into, &|event| progress.built(event))?;
    let built_in = began.elapsed();
    progress.clear();
    if !arguments.json {
        print_image(&image, built_in);
    }
    let mut document = image_document(&image, built_in);
    if let Some(reference) = &arguments.push {
        let (began, progress) = (now(), ImageProgress::new(!arguments.json));
        let pushed = super::block_on(async {
            let registry = Registry::new(reference, login(arguments, reference).await?)?;
            Ok(registry.push(&image, &|event| progress.pushed(event)).await?)
        })?;
        progress.clear();
        document["push"] = pushed_document(&pushed, began.elapsed());
        if !arguments.json {
            print_pushed(&pushed, began.elapsed());
        }
    }
    if arguments.json {
        println!("{document}");
    }
    Ok(())
}

fn spec(arguments: &ImageArguments, settings: &Settings) -> anyhow::Result<ImageSpec> {
    let program = match &arguments.agent_binary {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("failed to find this executable: name one with --agent-binary")?,
    };
    let platform = match arguments.platform {
        PlatformName::Arm64 => Platform::LinuxArm64,
        PlatformName::Amd64 => Platform::LinuxAmd64,
    };
    match arguments.kind {
        ImageKind::Lambda => Ok(ImageSpec::lambda(&program, platform)),
        ImageKind::Agent => {
            let model = ModelFiles::locate(&settings.agent.model_dir)?;
            let model = model.map(|files| vec![files.weights().to_owned(), files.tokenizer().to_owned()]);
            let model = model.unwrap_or_else(|| {
                eprintln!("The embedding model is not here, so the image will search by keywords: `frontdesk model pull` fetches it.");
                Vec::new()
            });
            Ok(ImageSpec::agent(&program, platform, &model, &settings.agent.faq))
        }
    }
}

/// ECR's own login for ECR, else the user's, else nobody's.
async fn login(arguments: &ImageArguments, reference: &ImageReference) -> anyhow::Result<Login> {
    if let Some(user) = &arguments.registry_user {
        let password = std::env::var(PASSWORD_VARIABLE).with_context(|| format!("{user}'s password is not in {PASSWORD_VARIABLE}"))?;
        return Ok(Login::Password { user: user.clone(), password: SecretKey::new(password) });
    }
    let Some(region) = reference.ecr_region() else { return Ok(Login::Anonymous) };
    let aws = Aws::from_environment(&AwsOptions { region: Some(region.to_owned()), ..AwsOptions::default() }).await?;
    let account = aws.account().await?;
    if !reference.host.starts_with(&account.id) {
        bail!("{reference} is in another account than {} ({}): choose its profile with AWS_PROFILE", account.id, account.arn);
    }
    Ok(aws.ecr_login().await?)
}

fn print_image(image: &Image, built_in: Duration) {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(["LAYER", "SIZE", "DIGEST", ""]);
    for layer in &image.layers {
        let note = if layer.is_reused { "as before" } else { "" };
        table.add_row([layer.name, &size(layer.descriptor.size), &layer.descriptor.digest, note]);
    }
    table.column_mut(1).expect("there are four columns").set_cell_alignment(CellAlignment::Right);
    println!("{table}");
    println!("Built {} for {}, {}, in {:.1} s.", image.folder.display(), image.platform, size(image.size()), built_in.as_secs_f64());
    println!("Digest: {}", image.manifest.digest);
}

fn print_pushed(pushed: &Pushed, pushed_in: Duration) {
    if pushed.bytes_sent == 0 {
        println!("The registry has {} already.", pushed.reference);
        return;
    }
    let Pushed { reference, bytes_sent, blobs_sent, blobs_present } = pushed;
    let seconds = pushed_in.as_secs_f64();
    println!("Pushed {reference} in {seconds:.1} s: {} sent, {blobs_sent} blobs new, {blobs_present} there before.", size(*bytes_sent));
}

fn image_document(image: &Image, built_in: Duration) -> serde_json::Value {
    let layers = image.layers.iter().map(|layer| {
        let descriptor = &layer.descriptor;
        json!({ "name": layer.name, "digest": descriptor.digest, "bytes": descriptor.size, "diff_id": layer.diff_id, "reused": layer.is_reused })
    });
    json!({
        "folder": image.folder, "platform": image.platform.to_string(), "digest": image.manifest.digest, "bytes": image.size(),
        "build_ms": milliseconds(built_in), "layers": layers.collect::<Vec<_>>(),
    })
}

fn pushed_document(pushed: &Pushed, pushed_in: Duration) -> serde_json::Value {
    let Pushed { reference, bytes_sent, blobs_sent, blobs_present } = pushed;
    json!({
        "reference": reference, "bytes_sent": bytes_sent, "blobs_sent": blobs_sent, "blobs_present": blobs_present,
        "push_ms": milliseconds(pushed_in),
    })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where a command's duration is measured")]
fn now() -> Instant {
    Instant::now()
}
