//! The two images in the account's ECR: repositories made where there are none, pushes left out where the registry has the image.

use super::{DeployError, Deployer};
use crate::call::Account;
use crate::image::Image;
use crate::registry::ecr::Repository;
use crate::registry::{ImageReference, PushEvent, Pushed, Registry};
use crate::stack::{MADE_BY, StackName, TAG_MADE_BY, TAG_STACK};

/// Digits of an image's digest that make its tag. The stack names images by their digest; the tag is for people.
const TAG_DIGITS: usize = 12;

/// One of the two programs of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The agent, for AgentCore.
    Agent,
    /// The proxy, for Lambda.
    Proxy,
}

impl Part {
    /// Its name in repositories and in what is printed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Part::Agent => "agent",
            Part::Proxy => "proxy",
        }
    }
}

/// The image's name for ever, before it is there: a plan needs it.
#[must_use]
pub fn planned_uri(account: &Account, region: &str, stack: &StackName, part: Part, image: &Image) -> String {
    let domain = if account.partition() == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("{}.dkr.ecr.{region}.{domain}/{}@{}", account.id, stack.repository(part.name()), image.manifest.digest)
}

/// What became of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// `repository@digest` in ECR.
    pub uri: String,
    /// What was sent; `None` when ECR had the image.
    pub pushed: Option<Pushed>,
}

impl Deployer<'_> {
    /// Puts `image` into the part's repository. `registry` is another host for the push, where ECR's own is played by something else.
    ///
    /// # Errors
    /// [`DeployError::NotOurs`] for a repository that was made otherwise; [`DeployError::Registry`], [`DeployError::Call`].
    pub async fn store_image(
        &self,
        stack: &StackName,
        part: Part,
        image: &Image,
        registry: Option<&str>,
        told: &(dyn Fn(PushEvent) + Sync),
    ) -> Result<Stored, DeployError> {
        let repository = self.repository(stack, part).await?;
        let digest = &image.manifest.digest;
        let uri = format!("{}@{digest}", repository.uri);
        let is_there = registry.is_none() && self.aws.ecr_images(&repository.name).await?.iter().any(|found| found.digest == *digest);
        if is_there {
            return Ok(Stored { uri, pushed: None });
        }
        let hexadecimal = digest.split_once(':').map_or(digest.as_str(), |(_, hexadecimal)| hexadecimal);
        let tag = hexadecimal.get(..TAG_DIGITS).unwrap_or(hexadecimal);
        let place = match registry {
            Some(host) => format!("{host}/{}:{tag}", repository.name),
            None => format!("{}:{tag}", repository.uri),
        };
        let reference: ImageReference = place.parse()?;
        let login = self.aws.ecr_login().await?;
        let pushed = Registry::new(&reference, login)?.push(image, told).await?;
        Ok(Stored { uri, pushed: Some(pushed) })
    }

    async fn repository(&self, stack: &StackName, part: Part) -> Result<Repository, DeployError> {
        let name = stack.repository(part.name());
        match self.aws.ecr_repository(&name).await? {
            None => Ok(self.aws.create_ecr_repository(&name, &[(TAG_MADE_BY, MADE_BY), (TAG_STACK, stack.as_str())]).await?),
            Some(repository) if self.is_ours(&repository).await? => Ok(repository),
            Some(_) => Err(DeployError::NotOurs { what: format!("image repository {name}") }),
        }
    }

    async fn is_ours(&self, repository: &Repository) -> Result<bool, DeployError> {
        let tags = self.aws.ecr_repository_tags(repository).await?;
        Ok(tags.iter().any(|(key, value)| key == TAG_MADE_BY && value == MADE_BY))
    }

    /// Removes the stack's repositories with their images, but for those that were made otherwise. Gives what was removed, in words.
    ///
    /// # Errors
    /// [`DeployError::Call`].
    pub async fn remove_images(&self, stack: &StackName) -> Result<Vec<String>, DeployError> {
        let mut removed = Vec::new();
        for part in [Part::Agent, Part::Proxy] {
            let name = stack.repository(part.name());
            let Some(repository) = self.aws.ecr_repository(&name).await? else { continue };
            if !self.is_ours(&repository).await? {
                continue;
            }
            let images = self.aws.ecr_images(&name).await?.len();
            if self.aws.delete_ecr_repository(&name, true).await? {
                removed.push(format!("image repository {name} ({images} images)"));
            }
        }
        Ok(removed)
    }
}
