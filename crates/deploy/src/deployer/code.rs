//! An agent's code in S3: a bucket of the stack's own, and in it each package under its digest, so that an unchanged one is not sent again and a changed one is
//! another object: the stack can roll back to the former.

use super::{DeployError, Deployer, Kept, Removed};
use crate::call::{Account, Bucket};
use crate::python_package::PythonPackage;
use crate::stack::{MADE_BY, StackName, TAG_MADE_BY, TAG_STACK};

/// What the packages' keys begin with.
const PREFIX: &str = "agent";

/// Why a bucket may stay.
const NOT_LOOKED_AT: &str = "the permission s3:GetBucketTagging is missing";

/// Where a package is, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCode {
    /// The bucket.
    pub bucket: String,
    /// The object's key in it.
    pub key: String,
    /// Whether it was sent now.
    pub is_new: bool,
}

/// The package's place for ever, before it is there: a plan needs it.
#[must_use]
pub fn planned(account: &Account, region: &str, stack: &StackName, package: &PythonPackage) -> StoredCode {
    StoredCode { bucket: stack.code_bucket(&account.id, region), key: format!("{PREFIX}/{}.zip", package.sha256), is_new: false }
}

impl Deployer<'_> {
    /// Puts `package` into the stack's bucket, which is made where there is none.
    ///
    /// # Errors
    /// [`DeployError::NotOurs`] for a bucket that was made otherwise; [`DeployError::Call`].
    pub async fn store_code(&self, account: &Account, stack: &StackName, package: &PythonPackage) -> Result<StoredCode, DeployError> {
        let planned = planned(account, self.aws.region(), stack, package);
        let bucket = Bucket { name: &planned.bucket, owner: &account.id };
        let tags = match self.aws.bucket_tags(&bucket).await? {
            Some(tags) => tags,
            None => {
                self.make_bucket(&bucket).await?;
                Vec::new()
            }
        };
        let versions = self.aws.object_versions(&bucket, PREFIX).await?;
        if !is_ours(&tags) {
            // Untagged and empty is one that was made a moment ago, or by a deployment that was cut off there.
            if !(tags.is_empty() && versions.is_empty()) {
                return Err(DeployError::NotOurs { what: format!("bucket {}", bucket.name) });
            }
            self.aws.tag_bucket(&bucket, &[(TAG_MADE_BY, MADE_BY), (TAG_STACK, stack.as_str())]).await?;
        }
        if versions.iter().any(|version| version.is_current && version.key == planned.key) {
            return Ok(planned);
        }
        package.upload(self.aws, &bucket, &planned.key).await?;
        Ok(StoredCode { is_new: true, ..planned })
    }

    async fn make_bucket(&self, bucket: &Bucket<'_>) -> Result<(), DeployError> {
        match self.aws.create_bucket(bucket).await {
            // Ours already, made by a call whose answer was lost.
            Err(error) if error.has_code("BucketAlreadyOwnedByYou") => Ok(()),
            Err(error) if error.has_code("BucketAlreadyExists") => {
                Err(DeployError::NotOurs { what: format!("bucket {} (another account's)", bucket.name) })
            }
            made => Ok(made?),
        }
    }

    /// Removes the stack's bucket with every version of the code in it, where there is one and it was not made otherwise, and says so in `done`.
    ///
    /// # Errors
    /// [`DeployError::Call`].
    pub(super) async fn remove_code(&self, account: &Account, stack: &StackName, done: &mut Removed) -> Result<(), DeployError> {
        let name = stack.code_bucket(&account.id, self.aws.region());
        let bucket = Bucket { name: &name, owner: &account.id };
        let tags = match self.aws.bucket_tags(&bucket).await {
            // Who deploys images may have no permission for buckets, and most stacks have none.
            Err(error) if error.has_code("AccessDenied") => {
                done.kept.push(Kept { what: format!("bucket {name}, if there is one"), why: NOT_LOOKED_AT });
                return Ok(());
            }
            tags => tags?,
        };
        if !tags.is_some_and(|tags| is_ours(&tags)) {
            return Ok(());
        }
        let versions = self.aws.object_versions(&bucket, "").await?;
        for version in &versions {
            self.aws.delete_object_version(&bucket, version).await?;
        }
        self.aws.delete_bucket(&bucket).await?;
        done.removed.push(format!("bucket {name} ({} objects)", versions.len()));
        Ok(())
    }
}

fn is_ours(tags: &[(String, String)]) -> bool {
    tags.iter().any(|(key, value)| key == TAG_MADE_BY && value == MADE_BY)
}
