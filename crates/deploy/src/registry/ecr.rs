//! Amazon's registry: its repositories and images by its own API, and the login for pushing by the common protocol.
//!
//! Source: the API reference of ECR (<https://docs.aws.amazon.com/AmazonECR/latest/APIReference/Welcome.html>).

use base64::prelude::{BASE64_STANDARD, Engine as _};
use frontdesk_aws::SecretKey;
use serde_json::{Value, json};

use super::Login;
use crate::call::{Answer, Aws, Call, CallError, operation};

/// What IAM asks of whoever pushes by the common protocol, beside the operations in [`operation`]: "Private repository policies" in ECR's user guide
/// (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html>); the two reading actions are for the questions what is there.
pub const PUSH_ACTIONS: &[&str] = &[
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:CompleteLayerUpload",
    "ecr:GetDownloadUrlForLayer",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
];

/// Images that one call may delete.
const IMAGES_PER_CALL_MAX: usize = 100;

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// Host and path, without a tag: `123456789012.dkr.ecr.eu-west-1.amazonaws.com/frontdesk`.
    pub uri: String,
}

/// An image in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcrImage {
    /// `sha256:…`
    pub digest: String,
    /// The tags that name it.
    pub tags: Vec<String>,
    /// What is kept of it, in bytes.
    pub bytes: u64,
}

impl Aws {
    /// A login for pushing and pulling, good for twelve hours.
    ///
    /// # Errors
    /// As [`Aws::send`].
    pub async fn ecr_login(&self) -> Result<Login, CallError> {
        let answer = self.send(Call::new(&operation::GET_AUTHORIZATION_TOKEN, "the account's registry")).await?;
        let document = answer.json()?;
        let token = document.pointer("/authorizationData/0/authorizationToken").and_then(Value::as_str);
        let token = token.and_then(|token| String::from_utf8(BASE64_STANDARD.decode(token).ok()?).ok());
        let (user, password) =
            token.as_deref().and_then(|token| token.split_once(':')).ok_or_else(|| answer.lacks("authorizationToken"))?;
        Ok(Login::Password { user: user.to_owned(), password: SecretKey::new(password) })
    }

    /// The repository `name`, if there is one.
    ///
    /// # Errors
    /// As [`Aws::send`].
    pub async fn ecr_repository(&self, name: &str) -> Result<Option<Repository>, CallError> {
        let resource = resource(name);
        let call = Call::new(&operation::DESCRIBE_REPOSITORIES, &resource).json(&json!({ "repositoryNames": [name] }));
        match self.send(call).await {
            Ok(answer) => repository(&answer, "/repositories/0").map(Some),
            Err(error) if error.has_code("RepositoryNotFoundException") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the repository `name`, tagged.
    ///
    /// # Errors
    /// As [`Aws::send`]; `RepositoryAlreadyExistsException` when there is one.
    pub async fn create_ecr_repository(&self, name: &str, tags: &[(&str, &str)]) -> Result<Repository, CallError> {
        let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
        let (resource, document) = (resource(name), json!({ "repositoryName": name, "tags": tags }));
        let answer = self.send(Call::new(&operation::CREATE_REPOSITORY, &resource).json(&document)).await?;
        repository(&answer, "/repository")
    }

    /// The tags of a repository, by which its maker is known.
    ///
    /// # Errors
    /// As [`Aws::send`].
    pub async fn ecr_repository_tags(&self, repository: &Repository) -> Result<Vec<(String, String)>, CallError> {
        let (resource, document) = (resource(&repository.name), json!({ "resourceArn": repository.arn }));
        let answer = self.send(Call::new(&operation::LIST_TAGS_FOR_RESOURCE, &resource).json(&document)).await?.json()?;
        let text = |tag: &Value, field: &str| tag.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(items(&answer, "tags").map(|tag| (text(tag, "Key"), text(tag, "Value"))).collect())
    }

    /// All images of the repository `name`.
    ///
    /// # Errors
    /// As [`Aws::send`].
    pub async fn ecr_images(&self, name: &str) -> Result<Vec<EcrImage>, CallError> {
        let (resource, mut images, mut next) = (resource(name), Vec::new(), Value::Null);
        loop {
            let mut document = json!({ "repositoryName": name });
            if !next.is_null() {
                document["nextToken"] = next;
            }
            let answer = self.send(Call::new(&operation::DESCRIBE_IMAGES, &resource).json(&document)).await?;
            let mut page = answer.json()?;
            for image in items(&page, "imageDetails") {
                let digest = image.get("imageDigest").and_then(Value::as_str).ok_or_else(|| answer.lacks("imageDigest"))?.to_owned();
                let tags = items(image, "imageTags").filter_map(Value::as_str).map(str::to_owned).collect();
                let bytes = image.get("imageSizeInBytes").and_then(Value::as_u64).unwrap_or(0);
                images.push(EcrImage { digest, tags, bytes });
            }
            next = page.get_mut("nextToken").map(Value::take).unwrap_or_default();
            if next.is_null() {
                return Ok(images);
            }
        }
    }

    /// Deletes images by their digests. What is gone already is no error.
    ///
    /// # Errors
    /// As [`Aws::send`]; [`CallError::Malformed`] with ECR's reason for an image that it keeps.
    pub async fn delete_ecr_images(&self, name: &str, digests: &[String]) -> Result<(), CallError> {
        let resource = resource(name);
        for digests in digests.chunks(IMAGES_PER_CALL_MAX) {
            let ids: Vec<Value> = digests.iter().map(|digest| json!({ "imageDigest": digest })).collect();
            let document = json!({ "repositoryName": name, "imageIds": ids });
            let answer = self.send(Call::new(&operation::BATCH_DELETE_IMAGE, &resource).json(&document)).await?;
            let page = answer.json()?;
            let text = |failure: &Value, field: &str| failure.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            let kept = items(&page, "failures").find(|failure| text(failure, "failureCode") != "ImageNotFound");
            if let Some(failure) = kept {
                return Err(answer.says(&format!("{}: {}", text(failure, "failureCode"), text(failure, "failureReason"))));
            }
        }
        Ok(())
    }

    /// Deletes the repository `name`, with its images when `with_images`. `false` when there is none.
    ///
    /// # Errors
    /// As [`Aws::send`]; `RepositoryNotEmptyException` when it has images.
    pub async fn delete_ecr_repository(&self, name: &str, with_images: bool) -> Result<bool, CallError> {
        let (resource, document) = (resource(name), json!({ "repositoryName": name, "force": with_images }));
        match self.send(Call::new(&operation::DELETE_REPOSITORY, &resource).json(&document)).await {
            Ok(_) => Ok(true),
            Err(error) if error.has_code("RepositoryNotFoundException") => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn resource(name: &str) -> String {
    format!("the repository `{name}`")
}

fn items<'a>(document: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    document.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn repository(answer: &Answer, pointer: &str) -> Result<Repository, CallError> {
    let document = answer.json()?;
    let text = |field: &str| {
        let found = document.pointer(&format!("{pointer}/{field}")).and_then(Value::as_str);
        found.map(str::to_owned).ok_or_else(|| answer.lacks(field))
    };
    Ok(Repository { arn: text("repositoryArn")?, name: text("repositoryName")?, uri: text("repositoryUri")? })
}
