//! ECR, S3 and STS as moto plays them: another's reading of the same APIs.

use std::process::Stdio;
use std::time::Duration;

use frontdesk_aws::{Credentials, SecretKey};
use frontdesk_deploy::call::{Aws, Bucket};
use frontdesk_deploy::deployer::{Deployer, undeploy};
use frontdesk_deploy::python_package::{self, PythonPackageSpec};
use frontdesk_deploy::registry::Login;
use frontdesk_deploy::stack::StackName;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// moto's server, on a port that it picked.
struct Moto {
    url: String,
    _process: Child,
}

impl Moto {
    async fn start() -> Moto {
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", "0"]).stderr(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn().expect("moto_server is in the path: `make test-tools` installs it");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, url)) = line.split_once("Running on ") {
                let url = url.trim().to_owned();
                // What it writes from now on is nobody's, but it must be able to write.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Moto { url, _process: process };
            }
        }
        panic!("moto_server ended");
    }

    fn aws(&self) -> Aws {
        Aws::new(Credentials::new("AKIDEXAMPLE", "secret"), "eu-west-1", Some(&self.url)).unwrap()
    }

    /// An image's manifest, put by boto3: pushing is not moto's.
    async fn put_image(&self, repository: &str, tag: &str) {
        let script = "import sys, json, boto3
endpoint, repository, tag = sys.argv[1:]
ecr = boto3.client('ecr', endpoint_url=endpoint, region_name='eu-west-1', aws_access_key_id='a', aws_secret_access_key='b')
manifest = {'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.manifest.v1+json',
            'config': {'mediaType': 'application/vnd.oci.image.config.v1+json', 'size': 2, 'digest': 'sha256:' + tag * 64},
            'layers': [{'mediaType': 'application/vnd.oci.image.layer.v1.tar+gzip', 'size': 77, 'digest': 'sha256:' + 'b' * 64}]}
ecr.put_image(repositoryName=repository, imageTag=tag, imageManifest=json.dumps(manifest))";
        let ran = Command::new("python3").args(["-c", script, &self.url, repository, tag]).output().await.unwrap();
        assert!(ran.status.success(), "{ran:?}");
    }
}

#[tokio::test]
async fn a_repository_lives_and_ends() {
    let moto = Moto::start().await;
    let aws = moto.aws();
    assert_eq!(aws.account().await.unwrap().id, "123456789012");
    assert_eq!(aws.ecr_repository("frontdesk").await.unwrap(), None);
    let made = aws.create_ecr_repository("frontdesk", &[("made-by", "frontdesk")]).await.unwrap();
    assert_eq!(made.uri, "123456789012.dkr.ecr.eu-west-1.amazonaws.com/frontdesk");
    assert_eq!(aws.ecr_repository("frontdesk").await.unwrap(), Some(made.clone()));
    assert_eq!(aws.ecr_repository_tags(&made).await.unwrap(), [("made-by".to_owned(), "frontdesk".to_owned())]);
    let again = aws.create_ecr_repository("frontdesk", &[]).await.unwrap_err();
    assert!(again.has_code("RepositoryAlreadyExistsException"), "{again}");

    for tag in ["a", "c"] {
        moto.put_image("frontdesk", tag).await;
    }
    let images = aws.ecr_images("frontdesk").await.unwrap();
    let mut tags: Vec<_> = images.iter().flat_map(|image| image.tags.clone()).collect();
    tags.sort();
    assert_eq!(tags, ["a", "c"]);
    let full = aws.delete_ecr_repository("frontdesk", false).await.unwrap_err();
    assert!(full.has_code("RepositoryNotEmptyException"), "{full}");
    let digests: Vec<_> = images.into_iter().map(|image| image.digest).collect();
    aws.delete_ecr_images("frontdesk", &digests).await.unwrap();
    // Once more: what is gone is no error.
    aws.delete_ecr_images("frontdesk", &digests).await.unwrap();
    assert_eq!(aws.ecr_images("frontdesk").await.unwrap(), []);
    assert!(aws.delete_ecr_repository("frontdesk", false).await.unwrap());
    assert!(!aws.delete_ecr_repository("frontdesk", false).await.unwrap());
    assert_eq!(aws.calls()["ecr:DeleteRepository"], 3);
}

#[tokio::test]
async fn the_registry_s_login_is_a_user_and_a_password() {
    let moto = Moto::start().await;
    let Login::Password { user, password } = moto.aws().ecr_login().await.unwrap() else { panic!("ECR lets nobody in unknown") };
    assert_eq!((user.as_str(), password), ("AWS", SecretKey::new("123456789012-auth-token")));
}

#[tokio::test]
async fn code_is_stored_once_under_its_digest_and_goes_with_its_bucket() {
    let moto = Moto::start().await;
    let aws = moto.aws();
    let deployer = Deployer { aws: &aws, pause: Duration::ZERO };
    let (account, stack) = (aws.account().await.unwrap(), StackName::new("faq-desk").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let package = async |text: &str| {
        std::fs::write(folder.path().join("agent.py"), text).unwrap();
        let spec = PythonPackageSpec {
            source: folder.path().to_owned(),
            entry_point: "agent.py".to_owned(),
            requirements: None,
            added: Vec::new(),
            left_out: vec![folder.path().join("agent.zip")],
            python_version: "3.13".to_owned(),
            python: "python3".into(),
            pip_arguments: Vec::new(),
        };
        python_package::build(&spec, &folder.path().join("agent.zip")).await.unwrap()
    };
    let (first, second) = (package("1").await, package("2").await);
    let stored = deployer.store_code(&account, &stack, &second).await.unwrap();
    assert!(stored.is_new && stored.key == format!("agent/{}.zip", second.sha256), "{stored:?}");
    assert!(!deployer.store_code(&account, &stack, &second).await.unwrap().is_new);
    assert_eq!(aws.calls()["s3:PutObject"], 1);
    assert_ne!(first.sha256, second.sha256);
    let again = package("1").await;
    assert!(deployer.store_code(&account, &stack, &again).await.unwrap().is_new);
    let bucket = Bucket { name: &stored.bucket, owner: &account.id };
    assert_eq!(aws.object_versions(&bucket, "").await.unwrap().len(), 2);

    // A bucket that somebody made otherwise is neither written to nor removed.
    let theirs = StackName::new("theirs").unwrap();
    let name = theirs.code_bucket(&account.id, aws.region());
    let other = Bucket { name: &name, owner: &account.id };
    aws.create_bucket(&other).await.unwrap();
    aws.tag_bucket(&other, &[("made-by", "somebody")]).await.unwrap();
    let refused = deployer.store_code(&account, &theirs, &again).await.unwrap_err();
    assert!(refused.to_string().contains("was not made by frontdesk"), "{refused}");
    undeploy(&deployer, &account, &theirs, &mut |_| {}).await.unwrap();
    assert!(aws.bucket_tags(&other).await.unwrap().is_some());

    let removed = undeploy(&deployer, &account, &stack, &mut |_| {}).await.unwrap();
    assert_eq!(removed.removed, [format!("bucket {} (2 objects)", stored.bucket)]);
    assert_eq!(aws.bucket_tags(&bucket).await.unwrap(), None);
}
